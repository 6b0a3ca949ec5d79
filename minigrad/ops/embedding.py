"""Embedding: the rows of a weight that ids name, and the gradient that goes back to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.autograd import Tensor, as_array, functions, op
from minigrad.backend import Array
from minigrad.errors import InputError
from minigrad.kernels import kernel
from minigrad.ops._fused import packed, shares, usable

__all__ = ["embedding"]

_FEW = 1_500  # elements of a gradient, below which NumPy adds them as fast as a kernel is called
_PARALLEL = 65_536  # elements that are work enough for one core


def embedding(weight: Any, ids: Any) -> Tensor:
    """weight[ids]: weight (words, features), integer ids of any shape (…); the result is
    (…, features).

    The gradient is a dense array of the weight's shape: each id's row gets the sum of its
    gradients, added in the order of the ids, so it is the same to the last bit in every run. Ids
    in a Tensor are copied: other ones may be assigned to it before backward. An array is kept as
    it is.

    Raises :class:`InputError` where shapes or dtypes are others, and on a CPU for ids outside
    0 … words − 1. On a GPU a look at them would stall the stream, so nothing is raised: such an id
    takes the row id mod words, as CuPy wraps around, a wrong one that looks like any other, and
    the gradient leaves it out. Where ids may be wrong, look at them before they go to the GPU.

    >>> table = Tensor([[0.0, 1.0], [2.0, 3.0]], requires_grad=True)
    >>> ops.embedding(table, [1, 1, 0]).sum().backward()
    >>> table.grad
    array([[1., 1.],
           [2., 2.]], dtype=float32)
    """
    weight = weight if isinstance(weight, Tensor) else Tensor(weight)
    in_tensor, ids = isinstance(ids, Tensor), as_array(ids)
    if weight.ndim != 2 or ids.dtype.kind not in "iu":
        raise InputError(
            "embedding: a weight of shape (words, features) and integer ids are needed, but a "
            f"weight of shape {weight.shape} and ids of dtype {ids.dtype} were given"
        )
    if type(ids) is np.ndarray and ids.size:
        low, high, words = ids.min(), ids.max(), weight.shape[0]
        if low < 0 or high >= words:
            raise InputError(
                f"embedding: id {low if low < 0 else high} is outside 0 … {words - 1}, the rows of "
                f"a weight of shape {weight.shape}"
            )
    return _embedding(weight, ids.astype(np.int64, copy=in_tensor and isinstance(ids, np.ndarray)))


def _embedding_gradient(
    xp: Any, g: Any, weight_shape: tuple[int, int], ids: Array, out: Any
) -> Any:
    if xp is functions:
        return xp.scatter(g, weight_shape, ids)
    on_cpu = isinstance(g, np.ndarray)
    fused = None
    if g.size > on_cpu * _FEW and usable(g):
        fused = kernel("embedding_gradient", like=g)
    # what is given is all zeros, so rows that no id names need no writing
    dW = xp.zeros(weight_shape, g.dtype) if out is None or not out.flags.c_contiguous else out
    if fused is None:
        xp.add.at(dW, ids, g)
        return dW
    n, features = ids.size, weight_shape[1]
    ids = packed(xp, ids).reshape(n)
    length = -(-n // min(n, shares(g.size, _PARALLEL))) if on_cpu else 1
    fused(
        packed(xp, g).reshape((n, features)), ids, xp.argsort(ids, kind="stable"), dW,
        length, -(-n // length), threads=min(256, -(-features // 32) * 32),
    )  # fmt: skip
    return dW


@op(weight=_embedding_gradient)
def _embedding(xp: Any, weight: Array, ids: Array) -> Array:
    return xp.take(weight, ids, axis=0)
