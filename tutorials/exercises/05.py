"""Exercises of tutorial 5, Adam. Replace each NotImplementedError, then: minigrad check 5"""


def moments(m, v, g, beta1, beta2):
    """The two averages after one more gradient.

    m, v, g: arrays of one shape, m of gradients and v of their squares; 0 <= beta1, beta2 < 1.
    Returns the new m and the new v.
    """
    raise NotImplementedError


def first_step(g, eta, beta1, beta2, corrected):
    """By how much Adam moves theta at t = 1, from m = v = 0, with epsilon = 0.

    g: a number, not 0. corrected: True with the hats, False without them.
    Returns the change of theta, a number with its sign.
    """
    raise NotImplementedError


def keras_step(theta, m, v, g, t, eta, beta1, beta2, epsilon):
    """A whole step as Keras has it: epsilon stands beside the root of v, not of v's hat.

    theta, m, v, g: arrays of one shape, m and v from step t - 1; t counts from 1.
    Returns the new theta, m and v.
    """
    raise NotImplementedError
