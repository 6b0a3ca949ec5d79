"""Class numbers: whole, from 0, below the number of classes."""

from __future__ import annotations

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.errors import InputError

__all__ = ["class_numbers"]


def class_numbers(name: str, values: Array, classes: int | None = None) -> Array:
    """A new int64 array (n,) of ``values`` in [0, classes), or an error that names the culprit."""
    values = to_numpy(values)
    if values.ndim != 1:
        raise InputError(
            f"{name} have shape {values.shape}, and class numbers of shape (n,) are needed; "
            "of one row a sample (one-hot, scores) take .argmax(axis=1)"
        )
    if values.dtype.kind not in "iub" and values.size:
        raise InputError(
            f"{name} are {values.dtype}, and whole class numbers 0, 1, 2, … are needed"
        )
    if classes is not None:
        outside = np.flatnonzero((values < 0) | (values >= classes))
        if outside.size:
            raise InputError(
                f"{name} contain {values[outside[0]]} at index {outside[0]}, "
                f"and the {classes} classes are numbered 0 to {classes - 1}"
            )
    return np.array(values, np.int64)
