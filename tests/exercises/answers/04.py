"""Right answers to tutorial 4, and below each a wrong one that a learner may well write."""


def momentum_step(theta, v, g, eta, beta):
    v = beta * v - eta * g
    return theta + v, v


def momentum_step_wrong(theta, v, g, eta, beta):
    v = beta * v - eta * g
    return theta - v, v


def largest_rate(steepness, beta):
    return (2 + 2 * beta) / steepness


def largest_rate_wrong(steepness, beta):
    return 2 / steepness


def nesterov_step(theta, v, gradient, eta, beta):
    v = beta * v - eta * gradient(theta + beta * v)
    return theta + v, v


def nesterov_step_wrong(theta, v, gradient, eta, beta):
    v = beta * v - eta * gradient(theta)
    return theta + v, v
