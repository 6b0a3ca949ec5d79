"""Exercises of tutorial 4, momentum. Replace each NotImplementedError, then: minigrad check 4"""


def momentum_step(theta, v, g, eta, beta):
    """One step of the corrected formula.

    theta, v, g: arrays of one shape; eta > 0; 0 <= beta < 1.
    Returns the new theta and the new v.
    """
    raise NotImplementedError


def largest_rate(steepness, beta):
    """The largest eta at which momentum does not diverge on J(theta) = steepness/2 * theta**2."""
    raise NotImplementedError


def nesterov_step(theta, v, gradient, eta, beta):
    """Like momentum_step, but with the gradient where beta * v is about to lead.

    gradient: a function of theta. Returns the new theta and the new v.
    """
    raise NotImplementedError
