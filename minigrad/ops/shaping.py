"""Reshaping, joining, cutting, indexing: what moves numbers without changing them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from minigrad.autograd import Tensor, op, within
from minigrad.backend import Array, to_device
from minigrad.errors import InputError

__all__ = [
    "astype", "broadcast_to", "concatenate", "expand_dims", "getitem", "pad", "reshape", "scatter",
    "split", "squeeze", "stack", "swapaxes", "to", "transpose",
]  # fmt: skip

Shape = tuple[int, ...]


@op(x=lambda g, x_shape: g.reshape(x_shape))
def reshape(xp: Any, x: Array, shape: int | Shape) -> Array:
    """The same numbers in another shape; one length may be −1.

    >>> ops.reshape(np.arange(6), (2, -1))
    Tensor([[0, 1, 2],
            [3, 4, 5]], dtype=int64)
    """
    return x.reshape(shape)


@op(x=lambda g, x_shape: g.reshape(x_shape))
def expand_dims(xp: Any, x: Array, axis: int | Shape) -> Array:
    """A new axis of length 1 at ``axis``."""
    return xp.expand_dims(x, axis)


@op(x=lambda g, x_shape: g.reshape(x_shape))
def squeeze(xp: Any, x: Array, axis: int | Shape | None = None) -> Array:
    """Without the axes of length 1 (or only those in ``axis``)."""
    return xp.squeeze(x, axis)


def _transpose_gradient(xp: Any, g: Any, axes: Shape | None) -> Any:
    if axes is None:
        return xp.transpose(g)
    places = [axis % len(axes) for axis in axes]
    return xp.transpose(g, tuple(places.index(i) for i in range(len(places))))


@op(x=_transpose_gradient)
def transpose(xp: Any, x: Array, axes: Shape | None = None) -> Array:
    """The axes in another order; reversed where ``axes`` is ``None``.

    >>> ops.transpose([[1.0, 2.0, 3.0]]).shape
    (3, 1)
    """
    return xp.transpose(x, axes)


@op(x=lambda xp, g, a, b: xp.swapaxes(g, a, b))
def swapaxes(xp: Any, x: Array, a: int, b: int) -> Array:
    """Axes a and b exchanged."""
    return xp.swapaxes(x, a, b)


@op(x=lambda g: g)
def broadcast_to(xp: Any, x: Array, shape: Shape) -> Array:
    """x repeated to ``shape``; its gradient is the sum over the repetitions.

    >>> b = Tensor([1.0, 2.0], requires_grad=True)
    >>> ops.broadcast_to(b, (3, 2)).sum().backward()
    >>> b.grad
    array([3., 3.], dtype=float32)
    """
    return xp.broadcast_to(x, shape)


def astype(x: Tensor, dtype: Any) -> Tensor:
    """x in another dtype; the gradient comes back in x's own. Integers pass none on."""
    like = np.empty((), dtype)  # an operand of float64 is what lets a result be float64
    return _astype(x if like.dtype.kind == "f" else x.detach(), like)


@op(x=lambda g: g)
def _astype(xp: Any, x: Array, like: Array) -> Array:
    return x.astype(like.dtype)


def to(x: Tensor, device: str) -> Tensor:
    """x on ``device`` (``"cpu"``, ``"cuda"`` for ``"cuda:0"``, ``"cuda:1"``, …); the gradient comes
    back to x's own device."""
    device = "cuda:0" if device == "cuda" else device
    return x if x.device == device else _to(x, device, x.device)


def _to_gradient(xp: Any, g: Any, device: str, origin: str) -> Any:
    return within(xp, _to, g, origin, device)


@op(x=_to_gradient)
def _to(xp: Any, x: Array, device: str, origin: str) -> Array:
    return to_device(x, device)


def _pad_gradient(g: Any, x_shape: Shape, width: Any) -> Any:
    pairs = np.broadcast_to(width, (len(x_shape), 2)).tolist()
    return g[tuple(slice(before, before + n) for (before, _), n in zip(pairs, x_shape))]


@op(x=_pad_gradient)
def pad(xp: Any, x: Array, width: int | Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    """x with ``value`` around it: ``width`` elements on every side, or (before, after) per axis.

    >>> ops.pad([1.0, 2.0], 1)
    Tensor([0., 1., 2., 0.])
    """
    return xp.pad(x, width, constant_values=value)


def _along(axis: int, index: Any) -> tuple[Any, ...]:
    """The index tuple that applies ``index`` on ``axis``, counted from the end if negative."""
    if axis < 0:
        return (..., index, *(slice(None),) * (-axis - 1))
    return (*(slice(None),) * axis, index)


def _concatenate_gradients(g: Any, tensors_shape: Sequence[Shape], axis: int) -> list[Any]:
    ends = list(accumulate(shape[axis] for shape in tensors_shape))
    return [g[_along(axis, slice(a, b))] for a, b in zip([0, *ends], ends)]


@op(joint=(("tensors",), _concatenate_gradients))
def concatenate(xp: Any, *tensors: Array, axis: int = 0) -> Array:
    """Tensors joined along an existing ``axis``; called with a sequence of them.

    >>> ops.concatenate([Tensor([1.0]), Tensor([2.0, 3.0])])
    Tensor([1., 2., 3.])
    """
    return xp.concatenate(tensors, axis=axis)


@op(
    joint=(
        ("tensors",),
        lambda g, axis, wants: [g[_along(axis, i)] for i in range(g.shape[axis])],
    )
)
def stack(xp: Any, *tensors: Array, axis: int = 0) -> Array:
    """Tensors of one shape joined along a new ``axis``; called with a sequence of them.

    >>> ops.stack([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])])
    Tensor([[1., 2.],
            [3., 4.]])
    """
    return xp.stack(tensors, axis=axis)


def split(x: Tensor, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """x cut along ``axis`` into ``sections`` equal parts, or before each of the given indices.

    >>> ops.split(Tensor([1.0, 2.0, 3.0, 4.0]), 2)
    [Tensor([1., 2.]), Tensor([3., 4.])]
    """
    n = x.shape[axis]
    if isinstance(sections, int):
        if sections < 1 or n % sections:
            raise InputError(f"split: an axis of length {n} does not divide into {sections} parts")
        sections = range(n // sections, n, n // sections) if n else [0] * (sections - 1)
    bounds = [0, *sections, n]
    return [x[_along(axis, slice(a, b))] for a, b in pairwise(bounds)]


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(isinstance(p, int | slice | type(None) | type(...)) for p in parts)


def _getitem_gradient(xp: Any, g: Any, x_shape: Shape, index: Any) -> Any:
    return within(xp, scatter, g, x_shape, index)


@op(x=_getitem_gradient)
def getitem(xp: Any, x: Array, index: Any) -> Array:
    """x[index]: integers, slices, boolean and integer arrays. A repeated element gets the sum of
    its gradients.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> x[[0, 0, 2]].sum().backward()
    >>> x.grad
    array([2., 0., 1.], dtype=float32)
    """
    return x[index]


@op(x=lambda g, index: g[index])
def scatter(xp: Any, x: Array, shape: Shape, index: Any) -> Array:
    """Zeros of ``shape`` with x added at ``index``, repeated places adding up.

    >>> ops.scatter([1.0, 2.0, 3.0], (4,), np.array([0, 0, 2]))
    Tensor([3., 0., 3., 0.])
    """
    y = xp.zeros(shape, x.dtype)
    if _is_basic(index):
        y[index] = x
    else:
        xp.add.at(y, index, x)
    return y


def _raw(index: Any) -> Any:
    """An index with Tensors in it as one with arrays."""
    if isinstance(index, tuple):
        return tuple(_raw(part) for part in index)
    return index.data if isinstance(index, Tensor) else index


def index(x: Tensor, place: Any) -> Tensor:
    """``x[place]``, the place holding Tensors or arrays."""
    return getitem(x, _raw(place))
