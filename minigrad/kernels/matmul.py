"""Matrix products while a step is made into a CUDA graph: there CuPy refuses to call cuBLAS."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.backend import Array
from minigrad.errors import InputError
from minigrad.kernels import kernel

__all__ = ["capturing", "for_capture", "matmul", "product"]

# kernels/matmul.cu's
EDGE, DEPTH, BLOCK = 64, 32, 256
_BLOCKS = 256  # about two for each processor of a large GPU
_COLUMNS = 256  # that a block of split_k_sum adds up


class _Mode(threading.local):
    capturing = False


_mode = _Mode()


@contextlib.contextmanager
def for_capture() -> Iterator[None]:
    """Within it, this thread's products on a GPU run by kernels/matmul.cu.

    It holds for the steps before the capture too: they load the kernels, and fill the memory pool
    with the very arrays that the capture asks for.
    """
    before = _mode.capturing
    _mode.capturing = True
    try:
        yield
    finally:
        _mode.capturing = before


def capturing() -> bool:
    """Whether this thread's step becomes a CUDA graph, or is being run for one: then it must not
    read a number back, nor take one from the host that changes from call to call."""
    return _mode.capturing


def product(xp: Any, a: Any, b: Any, out: Array | None = None) -> Any:
    """``xp.matmul(a, b, out=out)``; where a step is captured on a GPU, by :func:`matmul`."""
    if xp is np or not _mode.capturing or not hasattr(xp, "cuda"):  # functions, say, of Tensors
        return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)
    return matmul(xp, a, b, out)


def matmul(xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
    """a·b by kernels/matmul.cu: a (…, k), b (k, n), float32 or float64; the result is (…, n).

    Transposed views, as ``x.T``, are taken as they are. ``out`` gets the result if it is given.
    Raises :class:`InputError` for other shapes and dtypes.
    """
    if a.ndim < 2 or b.ndim != 2 or a.shape[-1] != b.shape[0]:
        raise InputError(
            f"cuda_graph: a product of shapes {a.shape} and {b.shape} cannot be captured, only "
            "(…, k) by (k, n) with two axes or more; reshape the operands, or call the step itself"
        )
    shape = (*a.shape[:-1], b.shape[1])
    k, n = b.shape
    m = math.prod(shape[:-1])
    (a, a_transposed), (b, b_transposed) = _by_rows(xp, a.reshape((m, k))), _by_rows(xp, b)
    if a_transposed and b_transposed:
        b, b_transposed = xp.ascontiguousarray(b.T), False
    form = "_a_transposed" if a_transposed else "_b_transposed" if b_transposed else ""
    multiply = kernel(f"matmul{form}", like=a) if a.dtype == b.dtype else None
    join = kernel("split_k_sum", like=a)
    if multiply is None or join is None:
        raise InputError(
            f"cuda_graph: a product of {a.dtype} and {b.dtype} cannot be captured, only one of "
            "float32 or of float64; convert an operand, or call the step itself"
        )
    c: Any = out
    if out is None or (out.shape, out.dtype) != (shape, a.dtype) or not out.flags.c_contiguous:
        c = xp.empty(shape, a.dtype)
    tiles, pieces = _cut(m, n, k)
    found = c.reshape((1, m, n)) if pieces == 1 else xp.empty((pieces, m, n), a.dtype)
    multiply(a, b, found, tiles * pieces, threads=BLOCK)
    if pieces > 1:
        blocks = -(-m * n // _COLUMNS)
        join(found.reshape((pieces, m * n)), c.reshape(-1), _COLUMNS, blocks, threads=BLOCK)
    if out is None or c is out:
        return c
    out[...] = c
    return out


def _by_rows(xp: Any, x: Array) -> tuple[Array, bool]:
    """A matrix that lies in memory row by row, copied only where neither it nor its transpose does,
    and whether it is the transpose."""
    if not x.flags.c_contiguous and x.flags.f_contiguous:
        return x.T, True
    return xp.ascontiguousarray(x), False


def _cut(m: int, n: int, k: int) -> tuple[int, int]:
    """How many tiles the result has, and how many pieces k: enough to give each processor work,
    but none of less than four tiles' depth."""
    tiles = -(-m // EDGE) * -(-n // EDGE)
    pieces = max(1, min(k // (4 * DEPTH), _BLOCKS // max(1, tiles)))
    depth = -(-k // (DEPTH * pieces)) * DEPTH  # as the kernel computes it
    return tiles, max(1, -(-k // max(1, depth)))
