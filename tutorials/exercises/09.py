"""Exercises of tutorial 9, L1 and L2. Replace each NotImplementedError, then: minigrad check 9"""


def penalised_gradient(theta, g, l1, l2):
    """The gradient of J + l1 * sum(|theta|) + l2 / 2 * sum(theta ** 2).

    theta, g: arrays of one shape, g is the gradient of J alone; l1, l2 >= 0.
    At theta = 0 take 0 as the derivative of |theta|.
    """
    raise NotImplementedError


def l1_step(theta, g, eta, lam):
    """One step of gradient descent on J, then the soft threshold for lam * sum(|theta|).

    theta, g: arrays of one shape, g is the gradient of J alone; eta, lam > 0.
    Returns the new theta.
    """
    raise NotImplementedError


def smallest_lambda(X, y):
    """The smallest lam for which theta = 0 has the least value of
    mean((X @ theta - y) ** 2) + lam * sum(|theta|).

    X: (n, k); y: (n, 1). Returns one number.
    """
    raise NotImplementedError
