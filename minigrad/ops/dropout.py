"""Dropout whose mask is a function of a key and a counter: drawn again, never kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.autograd import Tensor, op, within
from minigrad.backend import Array, device_of, to_device
from minigrad.errors import InputError
from minigrad.kernels import kernel
from minigrad.kernels.matmul import capturing
from minigrad.ops._fused import packed, shares, usable

__all__ = ["dropout"]

_WORD = 2**64
_PARALLEL = 8192  # blocks of Philox that are work enough for one core


def dropout(x: Any, rate: float, key: Sequence[int], counter: int = 0) -> Tensor:
    """x with each element zeroed with probability ``rate``, 0 ≤ rate < 1, and the rest divided by
    1 − rate (Srivastava et al. 2014); any number of axes.

    The mask is a pure function of ``key``, two integers of 64 bits, and ``counter``, one of 256
    (Philox4x64-10, Salmon et al. 2011). Row i of x, its first axis, of ``width`` elements each,
    takes the ⌈width/8⌉ blocks that begin at counter + i·⌈width/8⌉, eight numbers of 32 bits each,
    those of ``np.random.Philox``; an element is kept where its number, times 2⁻³², is at least
    ``rate``. Backward draws them again, so no mask is kept.

    Raises :class:`InputError` where rate, key or counter are not in these ranges, and in a step
    that is captured into a CUDA graph, which would replay one mask.

    >>> ops.dropout(np.ones((2, 4), "float32"), rate=0.5, key=(1, 2))
    Tensor([[2., 0., 0., 0.],
            [0., 0., 2., 0.]])
    """
    if not 0 <= rate < 1:
        raise InputError(f"dropout: rate must be in [0, 1), {rate} was given")
    if len(key) != 2 or not all(0 <= word < _WORD for word in key) or not 0 <= counter < _WORD**4:
        raise InputError(
            f"dropout: key must be two integers of 64 bits and counter one of 256, none below 0; "
            f"{key} and {counter} were given"
        )
    if capturing() and isinstance(x, Tensor) and x.device != "cpu":
        raise InputError(
            "dropout cannot be captured: each replay would drop the same elements; leave it out "
            "of the step, or call the step itself"
        )
    if rate == 0:
        return x if isinstance(x, Tensor) else Tensor(x)
    return _dropout(x, rate, (int(key[0]), int(key[1])), int(counter))


def _again(xp: Any, g: Any, rate: float, key: tuple[int, int], counter: int) -> Any:
    return within(xp, _dropout, g, rate, key, counter)


@op(x=_again)
def _dropout(xp: Any, x: Array, rate: float, key: tuple[int, int], counter: int) -> Array:
    rows = x.shape[0] if x.ndim else 1
    width, scale = math.prod(x.shape[1:]), 1 / (1 - rate)
    limit = math.ceil(rate * 2**32) - 1  # of integers, those above it are at least rate·2³²
    parts = -(-width // 8)
    fused = kernel("dropout", like=x) if x.size and usable(x) else None
    if fused is not None:
        y = xp.empty(x.shape, x.dtype)
        on_cpu, every = isinstance(x, np.ndarray), rows * parts
        length = -(-every // shares(every, _PARALLEL)) if on_cpu else 256
        words = [(counter >> shift) & (_WORD - 1) for shift in (0, 64, 128, 192)]
        table = (rows, width)
        fused(
            packed(xp, x).reshape(table), y.reshape(table), *key, *words, limit,
            scale, length, -(-every // length),
        )  # fmt: skip
        return y
    whole = np.array(key, np.uint64)  # of a list of integers NumPy might make floats
    bits = np.random.Philox(key=whole, counter=counter).random_raw(4 * rows * parts)
    numbers = bits.view(np.uint32).reshape(rows, 8 * parts)[:, :width].reshape(x.shape)
    dtype = x.dtype if x.dtype.kind == "f" else np.float32
    return x * to_device(np.where(numbers > limit, scale, 0).astype(dtype), device_of(x))
