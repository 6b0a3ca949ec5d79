"""Right answers to tutorial 9, and below each a wrong one that a learner may well write."""

import numpy as np


def penalised_gradient(theta, g, l1, l2):
    return g + l1 * np.sign(theta) + l2 * theta


def penalised_gradient_wrong(theta, g, l1, l2):
    return g + l1 * np.sign(theta) + 2 * l2 * theta


def l1_step(theta, g, eta, lam):
    moved = theta - eta * g
    return np.sign(moved) * np.maximum(np.abs(moved) - eta * lam, 0)


def l1_step_wrong(theta, g, eta, lam):
    moved = theta - eta * g
    return np.sign(moved) * np.maximum(np.abs(moved) - lam, 0)


def smallest_lambda(X, y):
    return np.max(np.abs(2 / len(X) * X.T @ y))


def smallest_lambda_wrong(X, y):
    return np.max(2 / len(X) * X.T @ y)
