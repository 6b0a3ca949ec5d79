"""Exercises of tutorial 7, learning-rate decay. Replace each NotImplementedError, then:
minigrad check 7"""


def polynomial(t, eta_0, T, alpha):
    """F5, eta_0 * (1 - t / T) ** alpha, for every step from 0 on; past T the rate stays at 0.

    t: a number or an array of steps; eta_0, T, alpha > 0. Returns the rate, or an array of rates.
    """
    raise NotImplementedError


def next_rate(rate, t, decay):
    """The rate of step t + 1 along F7, eta_0 / (1 + decay * t), where eta_0 is not known.

    rate: the rate of step t; decay > 0.
    """
    raise NotImplementedError


def best_rate(square, steepness, sigma):
    """The eta for which theta squared is least on average after one step of noisy descent.

    The loss is steepness/2 * theta**2. The step is
    theta = theta - eta * (steepness * theta + sigma * xi), where xi is random and independent of
    theta, with mean 0 and variance 1.
    square: the mean of theta**2 before the step; sigma: how large the noise is. All are > 0.
    """
    raise NotImplementedError
