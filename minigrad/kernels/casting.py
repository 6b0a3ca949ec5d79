"""float32 to float16 and back, scaled on the way, as mixed precision wants it.

Rounded to nearest, ties to even. What is beyond float16's range (±65504) becomes infinity, as in
NumPy and PyTorch. Source: Micikevicius et al. 2018, "Mixed precision training".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.errors import InputError
from minigrad.kernels import kernel
from minigrad.kernels.launch import Kernel

__all__ = ["scale_half", "to_float", "to_half"]

_SMALL = 1024  # elements; below, NumPy is as fast on a CPU
_FLOAT16, _FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)


def to_half(x: Array, out: Array, scale: float = 1.0) -> Array:
    """``out = scale·x`` with ``x`` of float32 and ``out`` of float16, both of shape ``(n,)``.

    Raises :class:`InputError` for other dtypes and shapes.
    """
    cast = _kernel("to_half", (x, _FLOAT32), (out, _FLOAT16))
    if cast is not None:
        cast(x, out, scale)
    else:
        with np.errstate(over="ignore"):
            out[...] = (x * np.float32(scale)).astype(np.float16)
    return out


def to_float(x: Array, out: Array, scale: float = 1.0) -> Array:
    """``out = scale·x`` with ``x`` of float16 and ``out`` of float32, both of shape ``(n,)``.

    Raises :class:`InputError` for other dtypes and shapes.
    """
    cast = _kernel("to_float", (x, _FLOAT16), (out, _FLOAT32))
    if cast is not None:
        cast(x, out, scale)
    else:
        out[...] = x.astype(np.float32) * np.float32(scale)
    return out


def scale_half(x: Array, factor: float) -> None:
    """``x = factor·x`` in place, for ``x`` of float16 and shape ``(n,)``, by way of float32.

    Raises :class:`InputError` for other dtypes and shapes.
    """
    scale = _kernel("scale_half", (x, _FLOAT16))
    if scale is not None:
        scale(x, factor)
    else:
        with np.errstate(over="ignore"):
            x[...] = (x.astype(np.float32) * np.float32(factor)).astype(np.float16)


def _kernel(name: str, *pairs: tuple[Array, np.dtype[Any]]) -> Kernel | None:
    """The kernel, or ``None`` for small arrays and those with gaps, for arrays each with the dtype
    that it must have."""
    x = pairs[0][0]
    for array, dtype in pairs:
        if array.dtype != dtype or array.ndim != 1 or array.size != x.size:
            wanted = " and ".join(f"{d} (n,)" for _, d in pairs)
            given = " and ".join(f"{a.dtype} {a.shape}" for a, _ in pairs)
            raise InputError(f"{name} takes {wanted}, but {given} came; see .astype and .reshape")
    if array_module(x) is np and x.size < _SMALL:
        return None
    simple = all(a.flags.c_contiguous and getattr(a.flags, "aligned", True) for a, _ in pairs)
    return kernel(name, like=x, dtype=_FLOAT32) if simple else None
