"""Right answers to tutorial 5, and below each a wrong one that a learner may well write."""

import math


def moments(m, v, g, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2


def moments_wrong(m, v, g, beta1, beta2):
    return beta1 * m + g, beta2 * v + g**2


def first_step(g, eta, beta1, beta2, corrected):
    if corrected:
        return -eta * g / abs(g)
    return -eta * (1 - beta1) * g / math.sqrt((1 - beta2) * g * g)


def first_step_wrong(g, eta, beta1, beta2, corrected):
    return -eta if corrected else -eta * (1 - beta1) / math.sqrt(1 - beta2)


def keras_step(theta, m, v, g, t, eta, beta1, beta2, epsilon):
    m, v = moments(m, v, g, beta1, beta2)
    alpha = eta * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - alpha * m / (v**0.5 + epsilon), m, v


def keras_step_wrong(theta, m, v, g, t, eta, beta1, beta2, epsilon):
    m, v = moments(m, v, g, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return theta - eta * m_hat / (v_hat**0.5 + epsilon), m, v
