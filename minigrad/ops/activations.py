"""Activation functions, elementwise. Vanishing gradients and the ReLU family: article D1 §6.2."""

from __future__ import annotations

import math
from typing import Any

from minigrad.autograd import op, within
from minigrad.backend import Array
from minigrad.errors import InputError

__all__ = ["elu", "gelu", "leaky_relu", "prelu", "relu", "sigmoid", "silu", "softplus"]


@op(x=lambda g, y: g * y * (1 - y))
def sigmoid(xp: Any, x: Array) -> Array:
    """σ(x) = 1/(1 + e⁻ˣ), in (0, 1); exact in both tails, never overflows.

    >>> ops.sigmoid([-1000.0, 0.0, 1000.0])
    Tensor([0. , 0.5, 1. ])
    """
    tail = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1.0, tail) / (1.0 + tail)


@op(x=lambda xp, g, x: g * within(xp, sigmoid, x))
def softplus(xp: Any, x: Array) -> Array:
    """ln(1 + eˣ), a smooth ReLU; never overflows.

    >>> ops.softplus([-1000.0, 0.0, 1000.0])
    Tensor([   0.    ,    0.6931, 1000.    ])
    """
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


@op(x=lambda g, y: g * (y > 0))
def relu(xp: Any, x: Array) -> Array:
    """max(x, 0), with gradient 0 at 0.

    >>> ops.relu([-2.0, 0.0, 3.0])
    Tensor([0., 0., 3.])
    """
    return xp.maximum(x, 0)


@op(x=lambda xp, g, y, slope: xp.where(y > 0, g, slope * g))
def leaky_relu(xp: Any, x: Array, slope: float = 0.01) -> Array:
    """x where positive, else slope · x, slope ≥ 0 (Maas et al. 2013; article D1 §6.2).

    >>> ops.leaky_relu([-2.0, 3.0], 0.1)
    Tensor([-0.2,  3. ])
    """
    if slope < 0:
        raise InputError(f"leaky_relu: slope must be at least 0, {slope} was given")
    return xp.where(x > 0, x, slope * x)


@op(
    x=lambda xp, g, x, slope: xp.where(x > 0, g, slope * g),
    slope=lambda xp, g, x: xp.where(x > 0, 0.0, g * x),
)
def prelu(xp: Any, x: Array, slope: Array) -> Array:
    """Leaky ReLU whose slope is learned (He et al. 2015; article D1 §6.2). It broadcasts to x.

    >>> slope = Tensor([0.5], requires_grad=True)
    >>> ops.prelu([-2.0, 3.0], slope).sum().backward()
    >>> slope.grad
    array([-2.], dtype=float32)
    """
    return xp.where(x > 0, x, slope * x)


@op(x=lambda xp, g, y, alpha: xp.where(y > 0, g, g * (y + alpha)))
def elu(xp: Any, x: Array, alpha: float = 1.0) -> Array:
    """x where positive, else α(eˣ − 1), α > 0 (Clevert et al. 2016).

    >>> ops.elu([-1.0, 0.0, 2.0])
    Tensor([-0.6321,  0.    ,  2.    ])
    """
    if alpha <= 0:
        raise InputError(f"elu: alpha must be positive, {alpha} was given")
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0.0)))


_GELU = math.sqrt(2 / math.pi)


def gelu_gradient(xp: Any, g: Any, x: Any) -> Any:
    t = xp.tanh(_GELU * (x + 0.044715 * x * x * x))
    slope = _GELU * (1 + 3 * 0.044715 * x * x)
    return g * 0.5 * (1 + t + x * (1 - t * t) * slope)


@op(x=gelu_gradient)
def gelu(xp: Any, x: Array) -> Array:
    """x/2 · (1 + tanh(√(2/π)(x + 0.044715x³))): Hendrycks & Gimpel 2016, the form of GPT-2.

    >>> ops.gelu([-1.0, 0.0, 1.0])
    Tensor([-0.1588,  0.    ,  0.8412])
    """
    return 0.5 * x * (1 + xp.tanh(_GELU * (x + 0.044715 * x * x * x)))


def _silu_gradient(xp: Any, g: Any, x: Any) -> Any:
    s = within(xp, sigmoid, x)
    return g * s * (1 + x * (1 - s))


@op(x=_silu_gradient)
def silu(xp: Any, x: Array) -> Array:
    """x · σ(x), also called swish (Ramachandran et al. 2017).

    >>> ops.silu([-1.0, 0.0, 1.0])
    Tensor([-0.2689,  0.    ,  0.7311])
    """
    return x * within(xp, sigmoid, x)
