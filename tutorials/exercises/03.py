"""Exercises of tutorial 3, mini-batches.

Replace each NotImplementedError, then: minigrad check 3
"""


def epoch(count, batch_size, rng):
    """The batches of one epoch: every row once, in random order.

    count: how many rows there are; rng: a numpy.random.Generator.
    Returns a list of integer arrays of batch_size row numbers each; the last may be shorter.
    """
    raise NotImplementedError


def batch_gradient(X, y, theta, rows):
    """The gradient of the mean squared error of X @ theta against y, over some rows.

    X: (m, n); y: (m,); theta: (n,); rows: an array of row numbers. Returns an array (n,).
    """
    raise NotImplementedError


def rows_needed(error_of_one, error):
    """The smallest batch size whose gradient is off by at most error, on average.

    error_of_one: by how much a batch of one row is off. Both are above 0. Returns a whole number.
    """
    raise NotImplementedError
