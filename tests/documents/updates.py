"""Optimizers against the articles' formulas: ``from updates import close, updated``."""

import numpy as np

from minigrad import nn


def close(one, other):
    """Equal but for rounding in float64."""
    np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def updated(make, theta, gradients):
    """``theta`` after an update with each of the gradients by the optimizer that ``make`` makes."""
    p = nn.Parameter(theta.copy())
    optimizer = make({"theta": p})
    for g in gradients:
        p.grad = g
        optimizer.step()
    return p.data
