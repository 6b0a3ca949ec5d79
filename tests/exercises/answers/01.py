"""Right answers to tutorial 1, and below each a wrong one that a learner may well write."""

import math

import numpy as np


def descent_step(X, y, theta, alpha):
    return theta - alpha * 2 / len(y) * X.T @ (X @ theta - y)


def descent_step_wrong(X, y, theta, alpha):
    return theta + alpha * 2 / len(y) * X.T @ (X @ theta - y)


def numerical_gradient(J, theta, h):
    slopes = np.empty(len(theta))
    for i in range(len(theta)):
        up, down = theta.copy(), theta.copy()
        up[i] += h
        down[i] -= h
        slopes[i] = (J(up) - J(down)) / (2 * h)
    return slopes


def numerical_gradient_wrong(J, theta, h):
    slopes = np.empty(len(theta))
    for i in range(len(theta)):
        up = theta.copy()
        up[i] += h
        slopes[i] = (J(up) - J(theta)) / h
    return slopes


def steps_needed(theta, steepness, alpha, close):
    factor = abs(1 - alpha * steepness)
    if abs(theta) <= close:
        return 0
    if factor >= 1:
        return None
    return math.ceil(math.log(close / abs(theta)) / math.log(factor)) if factor else 1


def steps_needed_wrong(theta, steepness, alpha, close):
    if alpha * steepness >= 2:
        return None
    return math.ceil((abs(theta) - close) / (alpha * steepness * abs(theta)))
