"""Right answers to tutorial 8, and below each a wrong one that a learner may well write."""

import numpy as np


def from_means(means, counts):
    return sum(n * g for n, g in zip(counts, means)) / sum(counts)


def from_means_wrong(means, counts):
    return np.mean(means, axis=0)


def accumulate(gradient, theta, x, y, most):
    total = np.zeros_like(theta)
    for i in range(0, len(x), most):
        part = x[i : i + most]
        total += len(part) * gradient(theta, part, y[i : i + most])
    return total / len(x)


def accumulate_wrong(gradient, theta, x, y, most):
    starts = range(0, len(x), most)
    return sum(gradient(theta, x[i : i + most], y[i : i + most]) for i in starts) / len(starts)


def fewest_pieces(rows, per_row, fixed, memory):
    most = (memory - fixed) // per_row
    return -(-rows // most)


def fewest_pieces_wrong(rows, per_row, fixed, memory):
    return int(np.ceil(rows * per_row / (memory - fixed)))
