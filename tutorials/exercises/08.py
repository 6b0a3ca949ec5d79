"""Exercises of tutorial 8, accumulation.

Replace each NotImplementedError, then: minigrad check 8
"""


def from_means(means, counts):
    """The gradient of the mean loss over the whole batch.

    means: a list of arrays of one shape, for each micro-batch the gradient of its mean loss;
    counts: a list of as many integers, the rows in each.
    Returns an array of that shape.
    """
    raise NotImplementedError


def accumulate(gradient, theta, x, y, most):
    """The gradient of the mean loss over all rows, from at most ``most`` rows at a time.

    gradient: a function of theta, some rows of x and the same rows of y (one row at least), which
    returns the gradient of their mean loss; theta: an array; x, y: arrays of N rows; most >= 1.
    Returns an array of the shape of theta.
    """
    raise NotImplementedError


def fewest_pieces(rows, per_row, fixed, memory):
    """The smallest number of micro-batches, as equal as can be, with which a step fits.

    A micro-batch of n rows takes fixed + n * per_row bytes; memory: the bytes there are. All are
    integers, and one row fits.
    Returns an integer.
    """
    raise NotImplementedError
