"""How arrays are told: small ones whole, large ones by shape, mean, norm and range."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array, to_numpy

__all__ = ["SMALL", "Numbers", "numbers"]

SMALL = 16  # elements that are shown one by one


class Numbers(NamedTuple):
    """What is told of an array. ``values`` are all its elements, as nested lists, where there are
    at most :data:`SMALL`; ``mean`` and ``norm`` (the Euclidean length) are taken in float64."""

    shape: tuple[int, ...]
    dtype: str
    values: Any
    mean: float
    norm: float
    low: float
    high: float


def numbers(array: Array) -> Numbers:
    """The numbers of ``array``, from whichever device it is on."""
    a = to_numpy(array)
    values = a.tolist() if a.size <= SMALL else None
    if not a.size:
        return Numbers(a.shape, str(a.dtype), values, 0.0, 0.0, 0.0, 0.0)
    wide = a.astype(np.float64)
    with np.errstate(all="ignore"):
        return Numbers(
            a.shape, str(a.dtype), values, float(wide.mean()), float(np.sqrt((wide * wide).sum())),
            float(wide.min()), float(wide.max()),
        )  # fmt: skip
