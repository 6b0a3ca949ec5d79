"""Elementwise functions of one or two operands; two operands broadcast as in NumPy."""

from __future__ import annotations

import math
from typing import Any

from minigrad.autograd import op
from minigrad.backend import Array

__all__ = [
    "abs", "add", "clip", "cos", "div", "equal", "exp", "expm1", "greater", "greater_equal",
    "less", "less_equal", "log", "log1p", "maximum", "minimum", "mul", "neg", "not_equal", "pow",
    "sign", "sin", "sqrt", "square", "sub", "tanh", "where",
]  # fmt: skip


@op(a=lambda g: g, b=lambda g: g)
def add(xp: Any, a: Array, b: Array) -> Array:
    """a + b.

    >>> ops.add([[1.0], [2.0]], [10.0, 20.0])
    Tensor([[11., 21.],
            [12., 22.]])
    """
    return a + b


@op(a=lambda g: g, b=lambda g: -g)
def sub(xp: Any, a: Array, b: Array) -> Array:
    """a − b."""
    return a - b


@op(a=lambda g, b: g * b, b=lambda g, a: g * a)
def mul(xp: Any, a: Array, b: Array) -> Array:
    """a · b."""
    return a * b


@op(a=lambda g, b: g / b, b=lambda g, b, y: -g * y / b)
def div(xp: Any, a: Array, b: Array) -> Array:
    """a / b."""
    return xp.true_divide(a, b)


def _base_gradient(xp: Any, g: Any, a: Any, b: Any) -> Any:
    if isinstance(b, float | int):
        return g * (b * a ** (b - 1)) if b else g * 0.0
    zero = b == 0
    return g * xp.where(zero, 0.0, b * a ** xp.where(zero, 1.0, b - 1))


def _exponent_gradient(xp: Any, g: Any, a: Any, y: Any) -> Any:
    if isinstance(a, float | int):
        return g * y * (math.log(a) if a > 0 else 0.0 if a == 0 else math.nan)
    return g * y * xp.log(xp.where(a == 0, 1.0, a))


@op(a=_base_gradient, b=_exponent_gradient)
def pow(xp: Any, a: Array, b: Array) -> Array:
    """a to the power b. A base of zero sends no gradient to the exponent.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> (x**2).backward()
    >>> x.grad
    array(6., dtype=float32)
    """
    return a**b


@op(x=lambda g: -g)
def neg(xp: Any, x: Array) -> Array:
    """−x."""
    return -x


@op()
def sign(xp: Any, x: Array) -> Array:
    """−1, 0 or 1; no gradient."""
    return xp.sign(x)


@op(x=lambda xp, g, x: g * xp.sign(x))
def abs(xp: Any, x: Array) -> Array:
    """``|x|``, with gradient 0 at 0."""
    return xp.abs(x)


@op(x=lambda g, y: g * y)
def exp(xp: Any, x: Array) -> Array:
    """eˣ."""
    return xp.exp(x)


@op(x=lambda g, y: g * (y + 1))
def expm1(xp: Any, x: Array) -> Array:
    """eˣ − 1, exact for small x."""
    return xp.expm1(x)


@op(x=lambda g, x: g / x)
def log(xp: Any, x: Array) -> Array:
    """ln x."""
    return xp.log(x)


@op(x=lambda g, x: g / (1 + x))
def log1p(xp: Any, x: Array) -> Array:
    """ln(1 + x), exact for small x."""
    return xp.log1p(x)


@op(x=lambda g, y: g * 0.5 / y)
def sqrt(xp: Any, x: Array) -> Array:
    """√x. Its slope at 0 is infinite; :func:`norm` is the one to use for lengths."""
    return xp.sqrt(x)


@op(x=lambda g, x: g * 2 * x)
def square(xp: Any, x: Array) -> Array:
    """x²."""
    return xp.square(x)


@op(x=lambda xp, g, x: g * xp.cos(x))
def sin(xp: Any, x: Array) -> Array:
    """sin x, x in radians."""
    return xp.sin(x)


@op(x=lambda xp, g, x: -g * xp.sin(x))
def cos(xp: Any, x: Array) -> Array:
    """cos x, x in radians."""
    return xp.cos(x)


# A Python number among small arrays takes as long as an array more: so not g * (1 - y * y).
@op(x=lambda g, y: g - g * y * y)
def tanh(xp: Any, x: Array) -> Array:
    """tanh x, in (−1, 1)."""
    return xp.tanh(x)


@op(
    a=lambda xp, g, a, b: xp.where(a > b, g, xp.where(a == b, 0.5 * g, 0.0)),
    b=lambda xp, g, a, b: xp.where(b > a, g, xp.where(a == b, 0.5 * g, 0.0)),
)
def maximum(xp: Any, a: Array, b: Array) -> Array:
    """The larger of a and b; where they are equal, each gets half of the gradient.

    >>> a = Tensor([1.0, 2.0], requires_grad=True)
    >>> ops.maximum(a, [2.0, 2.0]).sum().backward()
    >>> a.grad
    array([0. , 0.5], dtype=float32)
    """
    return xp.maximum(a, b)


@op(
    a=lambda xp, g, a, b: xp.where(a < b, g, xp.where(a == b, 0.5 * g, 0.0)),
    b=lambda xp, g, a, b: xp.where(b < a, g, xp.where(a == b, 0.5 * g, 0.0)),
)
def minimum(xp: Any, a: Array, b: Array) -> Array:
    """The smaller of a and b; where they are equal, each gets half of the gradient."""
    return xp.minimum(a, b)


@op(
    a=lambda xp, g, condition: xp.where(condition, g, 0.0),
    b=lambda xp, g, condition: xp.where(condition, 0.0, g),
)
def where(xp: Any, condition: Array, a: Array, b: Array) -> Array:
    """a where ``condition`` holds, else b.

    >>> x = Tensor([-1.0, 4.0])
    >>> ops.where(x > 0, x, 0.0)
    Tensor([0., 4.])
    """
    return xp.where(condition, a, b)


def _inside(xp: Any, g: Any, x: Any, low: float | None, high: float | None) -> Any:
    if low is not None:
        g = xp.where(x < low, 0.0, g)
    return g if high is None else xp.where(x > high, 0.0, g)


@op(x=_inside)
def clip(xp: Any, x: Array, low: float | None, high: float | None) -> Array:
    """x held to [low, high]; ``None`` leaves a side open. No gradient where x was outside.

    >>> x = Tensor([-3.0, 0.5, 3.0], requires_grad=True)
    >>> ops.clip(x, -1.0, 1.0).sum().backward()
    >>> x.grad
    array([0., 1., 0.], dtype=float32)
    """
    return xp.clip(x, low, high)


@op()
def equal(xp: Any, a: Array, b: Array) -> Array:
    """a == b, elementwise; like all comparisons it has no gradient."""
    return a == b


@op()
def not_equal(xp: Any, a: Array, b: Array) -> Array:
    """a != b, elementwise."""
    return a != b


@op()
def less(xp: Any, a: Array, b: Array) -> Array:
    """a < b, elementwise."""
    return a < b


@op()
def less_equal(xp: Any, a: Array, b: Array) -> Array:
    """a <= b, elementwise."""
    return a <= b


@op()
def greater(xp: Any, a: Array, b: Array) -> Array:
    """a > b, elementwise."""
    return a > b


@op()
def greater_equal(xp: Any, a: Array, b: Array) -> Array:
    """a >= b, elementwise."""
    return a >= b
