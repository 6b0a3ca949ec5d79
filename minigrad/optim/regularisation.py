"""Weight penalties, decoupled decay and proximal L1, each as a formula and in place.

Penalties join the gradient (D3 §3.2.4, D4 §6.3): ``l2`` stands for a loss of λ/2·‖θ‖², whose
gradient is λθ, as PyTorch counts it (Keras adds λ‖θ‖², so its λ is half of ours); ``l1`` for
λ‖θ‖₁, gradient λ·sign(θ). Decoupled decay (Loshchilov & Hutter 2019) shrinks the weights past
the optimizer's moments. A penalised L1 only hovers about zero; its proximal form reaches zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minigrad.backend import Array, array_module

__all__ = ["decayed", "effective_gradient", "l1_penalty", "l2_penalty", "soft_threshold"]


def l1_penalty(theta: Array, lam: float) -> Array:
    """The gradient of λ‖θ‖₁: λ·sign(θ), which is 0 at 0.

    >>> optim.l1_penalty(np.array([-3.0, 0.0, 0.1]), 0.5)
    array([-0.5,  0. ,  0.5])
    """
    return lam * array_module(theta).sign(theta)


def l2_penalty(theta: Array, lam: float) -> Array:
    """The gradient of λ/2·‖θ‖²: λθ.

    >>> optim.l2_penalty(np.array([-3.0, 0.0, 0.1]), 0.5)
    array([-1.5 ,  0.  ,  0.05])
    """
    return lam * theta


def decayed(theta: Array, eta: float, lam: float) -> Array:
    """Decoupled decay: θ ← (1 − ηλ)θ.

    >>> optim.decayed(np.array([2.0]), eta=0.1, lam=0.5)
    array([1.9])
    """
    return (1 - eta * lam) * theta


def soft_threshold(theta: Array, tau: float) -> Array:
    """The proximal step of τ‖θ‖₁: ``sign(θ)·max(|θ| − τ, 0)``, 0 where ``|θ| ≤ τ``.

    >>> optim.soft_threshold(np.array([-3.0, 0.2, 1.5]), 0.5)
    array([-2.5,  0. ,  1. ])
    """
    xp = array_module(theta)
    return xp.sign(theta) * xp.maximum(abs(theta) - tau, 0)


def effective_gradient(theta: Array, g: Array, h: Mapping[str, Any]) -> Array:
    """The gradient that an update rule sees: ``g`` scaled, clipped by value, then penalised."""
    g = g * h["scale"]
    if h["clip_value"] is not None:
        g = array_module(g).clip(g, -h["clip_value"], h["clip_value"])
    return g + l2_penalty(theta, h["l2"]) + l1_penalty(theta, h["l1"])


def effective_gradient_(
    theta: Array, g: Array, h: Mapping[str, Any], out: Array, s: Array
) -> Array:
    """As :func:`effective_gradient`, into ``out``; ``g`` itself where there is nothing to do."""
    xp = array_module(theta)
    if h["scale"] != 1:
        g = xp.multiply(g, h["scale"], out=out)
    if h["clip_value"] is not None:
        g = xp.clip(g, -h["clip_value"], h["clip_value"], out=out)
    if h["l2"]:
        g = xp.add(g, xp.multiply(theta, h["l2"], out=s), out=out)
    if h["l1"]:
        xp.sign(theta, out=s)
        g = xp.add(g, xp.multiply(s, h["l1"], out=s), out=out)
    return g


def soft_threshold_(theta: Array, tau: float, s: Array) -> None:
    """:func:`soft_threshold` in place: θ − clip(θ, −τ, τ) has the same bits."""
    theta -= array_module(theta).clip(theta, -tau, tau, out=s)
