"""Exercises of tutorial 13, data parallelism.

Replace each NotImplementedError, then: minigrad check 13
"""


def rows_of(n, rank, size):
    """The rows of a rank, where n rows are dealt out in order to size ranks.

    No rank has more than one row more than another, and the first ranks have the larger shares.
    Returns the number of the first row and the number after the last: (first, stop).
    """
    raise NotImplementedError


def mean_of_all(means, counts):
    """The mean over all rows, from the ranks' means.

    means: a list of arrays of one shape, one for each rank; counts: how many rows each rank has.
    A rank without rows has the count 0, and its mean is not a number. Returns an array.
    """
    raise NotImplementedError


def ring_seconds(nbytes, ranks, latency, bandwidth):
    """The time of an all-reduce of nbytes along a ring.

    The array is cut into as many pieces as there are ranks. In each round every rank sends one
    piece to the next: ranks - 1 rounds add up, as many more hand the sums on. A message takes
    latency seconds and 1 / bandwidth seconds for each byte.
    """
    raise NotImplementedError
