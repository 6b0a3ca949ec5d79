"""Right answers to tutorial 12, and below each a wrong one that a learner may well write."""

import numpy as np


def standardise(train, test):
    mean, sigma = train.mean(axis=0), train.std(axis=0)
    sigma[train.min(axis=0) == train.max(axis=0)] = 1
    return (train - mean) / sigma, (test - mean) / sigma


def standardise_wrong(train, test):
    both = np.concatenate([train, test])
    mean, sigma = both.mean(axis=0), both.std(axis=0)
    return (train - mean) / sigma, (test - mean) / sigma


def threshold_for(wanted, y, scores):
    positive = np.sort(scores[y == 1])[::-1]
    return positive[int(np.ceil(wanted * len(positive))) - 1]


def threshold_for_wrong(wanted, y, scores):
    return np.quantile(scores[y == 1], 1 - wanted)


def f1_of_all(y, predicted, comm):
    counts = np.array([np.sum(y * predicted), np.sum(y) + np.sum(predicted)], dtype=float)
    comm.all_reduce(counts)
    return 2 * counts[0] / counts[1] if counts[1] else 0.0


def f1_of_all_wrong(y, predicted, comm):
    whole = np.sum(y) + np.sum(predicted)
    mean = np.array([2 * np.sum(y * predicted) / whole if whole else 0.0])
    comm.all_reduce(mean)
    return mean[0] / comm.size
