"""Gradient compression: send the few largest entries, keep the rest for later."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.errors import InputError
from minigrad.kernels import kernel

if TYPE_CHECKING:
    from minigrad.kernels.launch import Kernel

__all__ = ["top_k"]

_BLOCKS, _SHARE = 256, 16384  # at most so many blocks, each with at least so many elements
_SMALL = 4096  # below, NumPy is as fast on a CPU
_DIGIT = 11  # top_k.cu's


def top_k(g: Array, residual: Array, k: int) -> tuple[Array, Array]:
    """The ``k`` entries of largest magnitude of ``residual + g``: their indices and values.

    Indices ascend (int64, shape ``(k,)``); ``residual`` is left with all that was not chosen, the
    error that the next call makes good. Of equal magnitudes the lowest indices are chosen; NaN
    counts as the largest. ``g`` and ``residual`` are 1-D, contiguous, of one dtype.

    Raises :class:`InputError` where ``k`` is not from 0 to their length, or they do not fit each
    other. Source: Seide et al. 2014; Stich, Cordonnier & Jaggi 2018, "Sparsified SGD with memory".
    """
    xp, n = array_module(g, residual, op="top_k"), residual.size
    if g.shape != residual.shape or g.ndim != 1 or g.dtype != residual.dtype:
        raise InputError(
            f"top_k: g ({g.dtype}, shape {g.shape}) and residual ({residual.dtype}, shape "
            f"{residual.shape}) must be 1-D arrays of one dtype and length"
        )
    if not 0 <= k <= n:
        raise InputError(f"top_k: k is {k}, but must be from 0 to the number of entries, {n}")
    small = k == 0 or (xp is np and n < _SMALL)
    count = None if small else kernel("top_k_count", like=residual)
    if count is None:
        return _formula(g, residual, k)
    digit, tally, take = (  # of one library: where there is one, there are all
        cast("Kernel", kernel(name, like=residual))
        for name in ("top_k_digit", "top_k_tally", "top_k_take")
    )
    blocks = min(_BLOCKS, -(-n // _SHARE))
    counts = xp.empty((blocks, 1 << _DIGIT), np.uint32)
    chosen = xp.asarray(np.array([0, k], np.uint64))
    bits, known, added = 8 * residual.itemsize, 0, g
    while bits > 0:
        shift = max(0, bits - _DIGIT)
        count(residual, added, chosen, counts, known, shift)
        digit(counts, chosen, shift, 1)
        bits, added = shift, None
        known = (1 << 8 * residual.itemsize) - (1 << shift)
    above, at = xp.empty(blocks, np.int64), xp.empty(blocks, np.int64)
    indices, values = xp.empty(k, np.int64), xp.empty(k, residual.dtype)
    tally(residual, chosen, above, at)
    take(residual, chosen, above, at, indices, values)
    return indices, values


def _formula(g: Array, residual: Array, k: int) -> tuple[Array, Array]:
    xp = array_module(residual)
    residual += g
    bits = residual.view(f"u{residual.itemsize}") << 1  # in the order of magnitudes
    bits[xp.isnan(residual)] = np.iinfo(bits.dtype).max
    indices = xp.sort(xp.argsort(~bits, kind="stable")[:k]).astype(np.int64, copy=False)
    values = residual[indices]
    residual[indices] = 0
    return indices, values
