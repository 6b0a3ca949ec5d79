"""Exercises of tutorial 6, clipping. Replace each NotImplementedError, then: minigrad check 6"""


def clip_by_norm(g, c):
    """The gradient, scaled so that it is no longer than c, in the direction it had.

    g: an array of any shape, which may be all zeros; c > 0.
    Returns a new array.
    """
    raise NotImplementedError


def clip_all(gradients, c):
    """Clip several arrays by the global norm of all of them together.

    gradients: a list of arrays of any shapes; c > 0.
    Returns a list of new arrays, and the norm before clipping. Where that norm is NaN or infinite,
    the arrays have the numbers that they had.
    """
    raise NotImplementedError


def clip_my_part(mine, c, comm):
    """Clip one long gradient, of which each rank holds some numbers that no other rank has.

    mine: this rank's numbers, (n,); n may differ by rank; c > 0.
    comm: comm.all_reduce(array) replaces an array by its sum over all ranks, in place.
    Returns this rank's numbers of the clipped gradient, (n,).
    """
    raise NotImplementedError
