"""Exercises of tutorial 12, data and metrics. Replace each NotImplementedError, then:
minigrad check 12
"""


def standardise(train, test):
    """Shift and scale the columns, without leakage.

    train: (n, features); test: (m, features); no value is missing.
    Returns two new arrays of these shapes. In the first, each column has mean 0 and standard
    deviation 1; a column that is constant there is only shifted.
    """
    raise NotImplementedError


def threshold_for(wanted, y, scores):
    """The highest threshold at which the recall is at least wanted.

    wanted: above 0, at most 1; y: (n,) of 0 and 1, with a 1 at least; scores: (n,).
    A row is predicted to be positive where its score >= threshold. Returns one of the scores.
    """
    raise NotImplementedError


def f1_of_all(y, predicted, comm):
    """F1 over the rows of all ranks; 0.0 where no row of any rank is positive or predicted so.

    y, predicted: this rank's rows, (n,) each, of 0 and 1; n differs by rank and may be 0.
    comm: comm.all_reduce(array) replaces an array by its sum over all ranks, in place.
    Returns one number, the same on each rank.
    """
    raise NotImplementedError
