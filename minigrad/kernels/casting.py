"""float32 to float16 and back, scaled on the way, as mixed precision wants it.

Rounded to nearest, ties to even. What is beyond float16's range (±65504) becomes infinity, as in
NumPy and PyTorch. Source: Micikevicius et al. 2018, "Mixed precision training".
"""

from __future__ import annotations

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.kernels import kernel
from minigrad.kernels.launch import Kernel

__all__ = ["scale_half", "to_float", "to_half"]

_SMALL = 1024  # elements; below, NumPy is as fast on a CPU
_FLOAT32 = np.dtype(np.float32)


def to_half(x: Array, out: Array, scale: float = 1.0) -> Array:
    """``out = scale·x`` with ``x`` of float32 and ``out`` of float16, both of shape ``(n,)``."""
    cast = _kernel("to_half", x)
    if cast is not None:
        cast(x, out, scale)
    else:
        with np.errstate(over="ignore"):
            out[...] = (x * np.float32(scale)).astype(np.float16)
    return out


def to_float(x: Array, out: Array, scale: float = 1.0) -> Array:
    """``out = scale·x`` with ``x`` of float16 and ``out`` of float32, both of shape ``(n,)``."""
    cast = _kernel("to_float", x)
    if cast is not None:
        cast(x, out, scale)
    else:
        out[...] = x.astype(np.float32) * np.float32(scale)
    return out


def scale_half(x: Array, factor: float) -> None:
    """``x = factor·x`` in place, for ``x`` of float16 and shape ``(n,)``, by way of float32."""
    scale = _kernel("scale_half", x)
    if scale is not None:
        scale(x, factor)
    else:
        with np.errstate(over="ignore"):
            x[...] = (x.astype(np.float32) * np.float32(factor)).astype(np.float16)


def _kernel(name: str, x: Array) -> Kernel | None:
    small = array_module(x) is np and x.size < _SMALL
    return None if small else kernel(name, like=x, dtype=_FLOAT32)
