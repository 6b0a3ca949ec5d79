"""Initialisers: ``f(rng, shape, dtype) -> array`` for a weight of shape (fan_in, fan_out).

Weights that are too small let signals die out with depth, too large ones let them explode; these
keep their variance (article D4 §6.5). Each raises :class:`InputError` for other shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from minigrad.backend import Array
from minigrad.errors import InputError

__all__ = [
    "INITIALISERS", "Initialiser", "he_normal", "he_uniform", "xavier_normal", "xavier_uniform",
]  # fmt: skip

Initialiser: TypeAlias = Callable[[np.random.Generator, tuple[int, ...], Any], Array]
"""(generator, (fan_in, fan_out), dtype) -> the first weights, an array of that shape."""


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"an initialiser needs a shape (fan_in, fan_out), {shape} was given")
    return shape[0], shape[1]


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float, dtype: Any) -> Array:
    return rng.uniform(-bound, bound, shape).astype(dtype)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], std: float, dtype: Any) -> Array:
    return (std * rng.standard_normal(shape)).astype(dtype)


def xavier_uniform(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """U(−b, b), b = √(6/(fan_in + fan_out)): Glorot & Bengio 2010; article D4 §6.5.

    >>> w = nn.init.xavier_uniform(np.random.default_rng(0), (100, 50), "float32")
    >>> float(abs(w).max()) <= (6 / 150) ** 0.5
    True
    """
    return _uniform(rng, shape, math.sqrt(6 / sum(_fans(shape))), dtype)


def xavier_normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """N(0, σ²), σ = √(2/(fan_in + fan_out)): Glorot & Bengio 2010; article D4 §6.5.

    >>> w = nn.init.xavier_normal(np.random.default_rng(0), (300, 100), "float64")
    >>> round(float(w.std()), 3), round((2 / 400) ** 0.5, 3)
    (0.071, 0.071)
    """
    return _normal(rng, shape, math.sqrt(2 / sum(_fans(shape))), dtype)


def he_uniform(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """U(−b, b), b = √(6/fan_in), for ReLU: He et al. 2015.

    >>> w = nn.init.he_uniform(np.random.default_rng(0), (150, 50), "float32")
    >>> float(abs(w).max()) <= (6 / 150) ** 0.5
    True
    """
    return _uniform(rng, shape, math.sqrt(6 / _fans(shape)[0]), dtype)


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """N(0, σ²), σ = √(2/fan_in), for ReLU: He et al. 2015.

    >>> w = nn.init.he_normal(np.random.default_rng(0), (200, 100), "float64")
    >>> round(float(w.std()), 2), (2 / 200) ** 0.5
    (0.1, 0.1)
    """
    return _normal(rng, shape, math.sqrt(2 / _fans(shape)[0]), dtype)


INITIALISERS: dict[str, Initialiser] = {
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "xavier_normal": xavier_normal,
    "xavier_uniform": xavier_uniform,
}
"""Initialisers by the name that :class:`~minigrad.nn.Dense` takes."""
