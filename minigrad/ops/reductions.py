"""Reductions over axes, and the functions made of them: softmax, norms, cumulative sums.

``axis`` is ``None`` (all axes), an integer or a tuple; ``keepdims`` keeps reduced axes with
length 1. Both mean what they mean in NumPy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from minigrad.autograd import Tensor, functions, op
from minigrad.backend import Array, array_module
from minigrad.errors import InputError
from minigrad.ops._fused import block_of, packed, row_kernel

if TYPE_CHECKING:
    from minigrad.kernels.launch import Kernel

__all__ = [
    "cumsum", "flip", "isfinite", "layer_norm", "log_softmax", "logsumexp", "max", "mean", "min",
    "norm", "prod", "softmax", "std", "sum", "var",
]  # fmt: skip

Axis: TypeAlias = int | tuple[int, ...] | None


def _axes(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(len(shape)))
    return tuple(a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,)))


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[a] for a in _axes(shape, axis))


def _kept(value: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """A reduced value with its lost axes back, of length 1, so that it broadcasts to ``shape``."""
    if axis is None:
        return value.reshape((1,) * len(shape))
    axes = _axes(shape, axis)
    return value.reshape(tuple(1 if a in axes else n for a, n in enumerate(shape)))


def _spread(xp: Any, g: Any, x_shape: tuple[int, ...], axis: Axis) -> Any:
    """The gradient of a sum: the same number for all that was summed."""
    g = _kept(g, x_shape, axis)
    if isinstance(g, Tensor):
        return xp.broadcast_to(g, x_shape)
    y = xp.empty(x_shape, g.dtype)  # a fifth of the time of broadcast_to where x is small
    y[...] = g
    return y


@op(x=_spread)
def sum(xp: Any, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum over ``axis``.

    >>> ops.sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    Tensor([4., 6.])
    """
    return x.sum(axis=axis, keepdims=keepdims)


@op(x=lambda xp, g, x_shape, axis: _spread(xp, g / _count(x_shape, axis), x_shape, axis))
def mean(xp: Any, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The arithmetic mean over ``axis``.

    >>> ops.mean([[1.0, 2.0], [3.0, 4.0]], axis=1, keepdims=True)
    Tensor([[1.5],
            [3.5]])
    """
    if x.dtype.char == "e":  # a sum of float16 would overflow at 65504
        return x.mean(axis=axis, keepdims=keepdims)
    return x.sum(axis=axis, keepdims=keepdims) / _count(x.shape, axis)


def _freedom(shape: tuple[int, ...], axis: Axis, ddof: int) -> int:
    """n − ddof, by which a variance divides."""
    n = _count(shape, axis)
    if n <= ddof:
        raise InputError(
            f"a variance divides by n - ddof, which is {n} - {ddof} for shape {shape} and axis "
            f"{axis}: give more than {ddof} elements, or a smaller ddof"
        )
    return n - ddof


def _var_gradient(xp: Any, g: Any, x: Any, axis: Axis, ddof: int) -> Any:
    scale = 2 / _freedom(x.shape, axis, ddof)
    return _kept(g, x.shape, axis) * scale * (x - x.mean(axis=axis, keepdims=True))


@op(x=_var_gradient)
def var(xp: Any, x: Array, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Array:
    """The variance over ``axis``: the mean squared distance from the mean, with n − ddof for n.

    >>> ops.var([1.0, 3.0]).item(), ops.var([1.0, 3.0], ddof=1).item()
    (1.0, 2.0)
    """
    _freedom(x.shape, axis, ddof)
    return x.var(axis=axis, keepdims=keepdims, ddof=ddof)


def _std_gradient(xp: Any, g: Any, x: Any, y: Any, axis: Axis, ddof: int) -> Any:
    y = _kept(y, x.shape, axis)
    scale = 1 / _freedom(x.shape, axis, ddof)
    centred = x - x.mean(axis=axis, keepdims=True)
    return _kept(g, x.shape, axis) * scale * centred / xp.where(y == 0, 1.0, y)


@op(x=_std_gradient)
def std(xp: Any, x: Array, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Array:
    """The standard deviation over ``axis``; its gradient at equal values is 0."""
    _freedom(x.shape, axis, ddof)
    return x.std(axis=axis, keepdims=keepdims, ddof=ddof)


def _norm_gradient(xp: Any, g: Any, x: Any, y: Any, axis: Axis) -> Any:
    y = _kept(y, x.shape, axis)
    return _kept(g, x.shape, axis) * x / xp.where(y == 0, 1.0, y)


@op(x=_norm_gradient)
def norm(xp: Any, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The Euclidean length √Σx² over ``axis``; its gradient at 0 is 0, not NaN.

    >>> ops.norm([3.0, 4.0])
    Tensor(5.)
    """
    return xp.sqrt(xp.square(x).sum(axis=axis, keepdims=keepdims))


def _extreme_gradient(xp: Any, g: Any, x: Any, y: Any, axis: Axis) -> Any:
    hit = 1.0 * (x == _kept(y, x.shape, axis))
    return _kept(g, x.shape, axis) * hit / hit.sum(axis=axis, keepdims=True)


@op(x=_extreme_gradient)
def max(xp: Any, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The maximum over ``axis``; equal maxima share the gradient evenly.

    >>> x = Tensor([1.0, 5.0, 5.0], requires_grad=True)
    >>> ops.max(x).backward()
    >>> x.grad
    array([0. , 0.5, 0.5], dtype=float32)
    """
    return x.max(axis=axis, keepdims=keepdims)


@op(x=_extreme_gradient)
def min(xp: Any, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The minimum over ``axis``; equal minima share the gradient evenly."""
    return x.min(axis=axis, keepdims=keepdims)


def _prod_gradient(xp: Any, g: Any, x: Any, y: Any, axis: Axis) -> Any:
    g = _kept(g, x.shape, axis)
    if isinstance(x, Tensor):
        return g * (_others(xp, x, axis) if (x.data == 0).any() else _kept(y, x.shape, axis) / x)
    # the product of the others: 0 if a zero is among them, else the product of all but x and zeros
    zero = x == 0
    rest = xp.where(zero, 1.0, x)
    whole = rest.prod(axis=axis, keepdims=True)
    return g * xp.where(zero.sum(axis=axis, keepdims=True) == zero, whole / rest, 0.0)


def _others(xp: Any, x: Tensor, axis: Axis) -> Any:
    """For each element the product of the others over ``axis``, one row of n others for each: the
    derivatives of this one are right at zeros too."""
    axes = _axes(x.shape, axis)
    order = tuple(a for a in range(x.ndim) if a not in axes) + axes
    moved = xp.transpose(x, order)
    n = _count(x.shape, axis)
    rows = moved.reshape((*moved.shape[: len(order) - len(axes)], 1, n))
    diagonal = array_module(x.data).eye(n, dtype=bool)
    others = xp.prod(xp.where(diagonal, 1.0, rows), axis=-1).reshape(moved.shape)
    return xp.transpose(others, tuple(sorted(range(len(order)), key=order.__getitem__)))


@op(x=_prod_gradient)
def prod(xp: Any, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The product over ``axis``; its gradient is right at zeros too."""
    return x.prod(axis=axis, keepdims=keepdims)


@op(x=lambda xp, g, axis: xp.flip(g, axis))
def flip(xp: Any, x: Array, axis: Axis = None) -> Array:
    """The order of elements along ``axis`` reversed."""
    return xp.flip(x, axis)


@op(x=lambda xp, g, axis: xp.flip(xp.cumsum(xp.flip(g, axis), axis), axis))
def cumsum(xp: Any, x: Array, axis: int) -> Array:
    """Running sums along ``axis``.

    >>> ops.cumsum([1.0, 2.0, 3.0], axis=0)
    Tensor([1., 3., 6.])
    """
    return xp.cumsum(x, axis)


def _finite(xp: Any, x: Any) -> Any:
    """x with 0 for infinities: a shift that a softmax can always subtract."""
    return xp.where(xp.isfinite(x), x, 0.0)


@op(
    x=lambda xp, g, x, y, axis: (
        _kept(g, x.shape, axis) * xp.exp(x - _finite(xp, _kept(y, x.shape, axis)))
    )
)
def logsumexp(xp: Any, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """ln Σeˣ over ``axis``, with each row's own maximum taken out, so that it cannot overflow.

    >>> ops.logsumexp([1000.0, 1000.0])
    Tensor(1000.6932)
    """
    top = _finite(xp, x.max(axis=axis, keepdims=True))
    with np.errstate(divide="ignore"):  # a row of −∞ alone has the logarithm −∞
        y = xp.log(xp.exp(x - top).sum(axis=axis, keepdims=True)) + top
    axes = _axes(x.shape, axis)
    return y if keepdims else y.reshape([n for a, n in enumerate(x.shape) if a not in axes])


@op()
def isfinite(xp: Any, x: Array) -> Array:
    """Whether each element is neither infinite nor NaN."""
    return xp.isfinite(x)


@op(x=lambda xp, g, y, axis: y * (g - xp.sum(g * y, axis=axis, keepdims=True)))
def softmax(xp: Any, x: Array, axis: int = -1) -> Array:
    """eˣ / Σeˣ along ``axis``: positive, summing to 1. Each row's own maximum is taken out.

    >>> ops.softmax([0.0, np.log(3.0)])
    Tensor([0.25, 0.75])
    """
    e = xp.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@op(x=lambda xp, g, y, axis: g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True))
def log_softmax(xp: Any, x: Array, axis: int = -1) -> Array:
    """ln softmax(x), exact where softmax itself would underflow.

    >>> ops.log_softmax([0.0, 1000.0])
    Tensor([-1000.,     0.])
    """
    z = x - x.max(axis=axis, keepdims=True)
    return z - xp.log(xp.exp(z).sum(axis=axis, keepdims=True))


def _norm_kernel(name: str, x: Array, *vectors: Any) -> Kernel | None:
    """The kernel of layer norm, where x has rows, and its vectors are of their dtype and length."""
    if x.size == 0 or any((v.dtype, v.shape) != (x.dtype, x.shape[-1:]) for v in vectors):
        return None
    return row_kernel(name, x)


_GROUP = 32  # rows of which a block adds up the gradients of scale and shift


def _layer_norm_gradient(xp: Any, g: Any, x: Any, scale: Any, epsilon: float) -> Any:
    fused = None if xp is functions else _norm_kernel("layer_norm_gradient", x, scale)
    if fused is not None:
        features = x.shape[-1]
        rows = packed(xp, x).reshape(-1, features)
        g = packed(xp, g, x.dtype).reshape(rows.shape)
        scale, dx = packed(xp, scale), xp.empty_like(rows)
        sums = xp.empty((2, -(-len(rows) // _GROUP), features), x.dtype)
        fused(rows, scale, g, dx, *sums, epsilon, _GROUP, threads=block_of(features))
        return dx.reshape(x.shape), *(sums[:, 0] if sums.shape[1] == 1 else sums.sum(axis=1))
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = xp.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)
    z = centred / deviation
    gz = g * scale
    inner = gz - gz.mean(axis=-1, keepdims=True) - z * (gz * z).mean(axis=-1, keepdims=True)
    return inner / deviation, g * z, g


@op(joint=(("x", "scale", "shift"), _layer_norm_gradient))
def layer_norm(xp: Any, x: Array, scale: Array, shift: Array, epsilon: float = 1e-5) -> Array:
    """(x − mean)/√(var + ε) · scale + shift over the last axis (Ba et al. 2016).

    x (…, features), scale and shift (features,), or of any shape that broadcasts to x; the result
    has x's shape. ε > 0 keeps rows of equal numbers from a division by 0. Raises
    :class:`InputError` where the shapes do not fit.

    >>> ops.layer_norm([[1.0, 3.0]], [1.0, 1.0], [0.0, 0.0])
    Tensor([[-1.,  1.]])
    """
    fused = _norm_kernel("layer_norm", x, scale, shift)
    if fused is not None:
        features = x.shape[-1]
        rows = packed(xp, x).reshape(-1, features)
        scale, shift = packed(xp, scale), packed(xp, shift)
        y = xp.empty_like(rows)
        fused(rows, scale, shift, y, epsilon, threads=block_of(features))
        return y.reshape(x.shape)
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = xp.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)
    return centred / deviation * scale + shift
