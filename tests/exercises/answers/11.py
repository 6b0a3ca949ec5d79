"""Right answers to tutorial 11, and below each a wrong one that a learner may well write."""

import numpy as np


def dead_units(x, W, b):
    return (x @ W + b <= 0).all(axis=0)


def dead_units_wrong(x, W, b):
    return (x @ W + b <= 0).any(axis=0)


def prelu_backward(x, slope, g):
    return np.where(x > 0, g, slope * g), (g * x)[x <= 0].sum()


def prelu_backward_wrong(x, slope, g):
    return np.where(x > 0, g, slope * g), (g * x).sum()


def dead_in_box(low, high, W, b):
    return np.maximum(low[:, None] * W, high[:, None] * W).sum(axis=0) + b <= 0


def dead_in_box_wrong(low, high, W, b):
    return np.maximum(low @ W, high @ W) + b <= 0
