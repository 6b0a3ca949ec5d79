"""Exercises of tutorial 1, gradient descent. Replace each NotImplementedError, then:
minigrad check 1"""


def descent_step(X, y, theta, alpha):
    """One step of gradient descent on the mean squared error of X @ theta against y.

    X: (m, n); y: (m,); theta: (n,); alpha > 0. Returns the new theta.
    """
    raise NotImplementedError


def numerical_gradient(J, theta, h):
    """The gradient of J at theta by central differences, without any formula for it.

    J: a function of an array that returns a number; theta: (n,); h > 0.
    Entry i is the slope of J between theta_i - h and theta_i + h, where the other entries of theta
    stay as they are. Returns an array (n,); theta is the same afterwards as before.
    """
    raise NotImplementedError


def steps_needed(theta, steepness, alpha, close):
    """How many steps gradient descent takes on J(theta) = steepness/2 * theta**2.

    theta: a number, where it starts; steepness, alpha and close > 0.
    Returns the least number of steps after which abs(theta) <= close, or None if that never comes.
    """
    raise NotImplementedError
