"""Right answers to tutorial 7, and below each a wrong one that a learner may well write."""

import numpy as np


def polynomial(t, eta_0, T, alpha):
    return eta_0 * (1 - np.minimum(t, T) / T) ** alpha


def polynomial_wrong(t, eta_0, T, alpha):
    return eta_0 * (1 - t / T) ** alpha


def next_rate(rate, t, decay):
    return rate * (1 + decay * t) / (1 + decay * (t + 1))


def next_rate_wrong(rate, t, decay):
    return rate / (1 + decay * (t + 1))


def best_rate(square, steepness, sigma):
    return steepness * square / (steepness**2 * square + sigma**2)


def best_rate_wrong(square, steepness, sigma):
    return 1 / steepness
