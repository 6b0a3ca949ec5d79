"""Exercises of tutorial 10, initialisation. Replace each NotImplementedError, then:
minigrad check 10"""


def mean_square_ratio(n, sigma, depth):
    """By how much depth layers of ReLU multiply the mean square, on average.

    n: the units of each layer, the input's too; sigma: the standard deviation of the weights.
    """
    raise NotImplementedError


def he_uniform(rng, n_in, n_out):
    """Weights with He's variance, drawn uniformly from -b to b.

    rng: a NumPy generator; use rng.uniform once. Returns an array of shape (n_in, n_out).
    """
    raise NotImplementedError


def leaky_sigma(n_in, slope):
    """The sigma with which a layer keeps the mean square, where negative z become slope * z.

    slope: 0 <= slope <= 1. As on the page, positive and negative z are equally likely.
    """
    raise NotImplementedError
