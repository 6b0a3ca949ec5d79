"""What ops ask before they hand arrays to a kernel, and how they cut the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.backend import Array
from minigrad.kernels import kernel

if TYPE_CHECKING:
    from minigrad.kernels.launch import Kernel

__all__ = ["SMALL", "block_of", "packed", "row_kernel", "shares", "usable"]

SMALL = 512  # elements; below it NumPy's calls take no longer than a kernel's checks
_REAL = (np.dtype(np.float32), np.dtype(np.float64))


def usable(x: Array) -> bool:
    """Whether kernels can read x's numbers where they lie: float32 or float64 in this machine's
    order of bytes, each at an address that is a multiple of its size. :func:`packed` does the
    rest."""
    return not isinstance(x, np.ndarray) or (x.dtype in _REAL and x.flags.aligned)


def packed(xp: Any, x: Array, dtype: Any = None) -> Array:
    """x as kernels take it, without gaps, in C order and aligned; a copy only where it is not."""
    x = xp.ascontiguousarray(x, dtype=dtype)
    return x if type(x) is not np.ndarray or x.flags.aligned else x.copy()


def row_kernel(name: str, x: Array) -> Kernel | None:
    """The kernel for the rows of ``x``, or ``None`` where NumPy's formula is to be used."""
    if isinstance(x, np.ndarray) and (x.size < SMALL or not usable(x)):
        return None
    return kernel(name, like=x)


def block_of(width: int) -> int:
    """The threads of a GPU block that has a row of this width to itself: for 8 elements each, but
    not so many that a processor has room for one block only."""
    return 512 if width >= 4096 else 32 * (width // 256 + 1)


def shares(work: int, unit: int) -> int:
    """Into how many parts a CPU's cores cut some work, each of at least one ``unit`` of it."""
    return max(1, min(64, work // unit))
