"""Right answers to tutorial 3, and below each a wrong one that a learner may well write."""

import math


def epoch(count, batch_size, rng):
    rows = rng.permutation(count)
    return [rows[i : i + batch_size] for i in range(0, count, batch_size)]


def epoch_wrong(count, batch_size, rng):
    return [rng.choice(count, batch_size) for _ in range(-(-count // batch_size))]


def batch_gradient(X, y, theta, rows):
    return 2 / len(rows) * X[rows].T @ (X[rows] @ theta - y[rows])


def batch_gradient_wrong(X, y, theta, rows):
    return 2 / len(X) * X[rows].T @ (X[rows] @ theta - y[rows])


def rows_needed(error_of_one, error):
    return max(1, math.ceil((error_of_one / error) ** 2))


def rows_needed_wrong(error_of_one, error):
    return max(1, math.ceil(error_of_one / error))
