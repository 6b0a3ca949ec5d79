"""Right answers to tutorial 10, and below each a wrong one that a learner may well write."""


def mean_square_ratio(n, sigma, depth):
    return (n * sigma**2 / 2) ** depth


def mean_square_ratio_wrong(n, sigma, depth):
    return (n * sigma**2) ** depth / 2


def he_uniform(rng, n_in, n_out):
    b = (6 / n_in) ** 0.5
    return rng.uniform(-b, b, (n_in, n_out))


def he_uniform_wrong(rng, n_in, n_out):
    b = (2 / n_in) ** 0.5
    return rng.uniform(-b, b, (n_in, n_out))


def leaky_sigma(n_in, slope):
    return (2 / ((1 + slope**2) * n_in)) ** 0.5


def leaky_sigma_wrong(n_in, slope):
    return (2 / ((1 + slope) * n_in)) ** 0.5
