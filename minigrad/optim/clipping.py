"""Clipping gradients by value and by global norm (F4, D2 §3.3, D3 §3.2.1).

Both bound gradients from above only: a vanishing gradient passes unchanged (E2). By value, a
clipped gradient also points elsewhere; by norm it keeps its direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.optim._checks import positive

__all__ = ["clip_by_global_norm", "clip_by_value", "clip_scale", "global_norm"]

Gradients: TypeAlias = Any
"""An arena, an array, or an iterable of either; an arena stands for its gradient buffer."""


def clip_by_value(gradients: Gradients, limit: float) -> None:
    """Clip each element to [−limit, limit], in place (D2 §3.3). NaN stays NaN.

    An infinite element becomes ``limit``: look at the norm first where that must not pass.
    Raises :class:`InputError` unless ``limit`` is above 0.

    >>> g = np.array([-5.0, 0.5])
    >>> optim.clip_by_value(g, 1.0)
    >>> g
    array([-1. ,  0.5])
    """
    limit = positive("the limit of clip_by_value", limit)
    for g in _arrays(gradients):
        array_module(g).clip(g, -limit, limit, out=g)


def clip_by_global_norm(gradients: Gradients, limit: float) -> float:
    """Scale all gradients, in place, by min(1, limit/(‖g‖ + 1e-6)); the norm ‖g‖ before it.

    As PyTorch's ``clip_grad_norm_``, with one difference: where ‖g‖ is NaN or infinite the
    gradients are left as they are, to be looked at, and the caller, who is given that norm,
    decides (PyTorch turns every gradient into NaN or 0). Raises :class:`InputError` unless
    ``limit`` is above 0.

    >>> g = np.array([3.0, 4.0])
    >>> optim.clip_by_global_norm(g, 1.0)
    5.0
    >>> g
    array([0.6, 0.8])
    """
    arrays = _arrays(gradients)
    norm = global_norm(arrays)
    scale = clip_scale(norm, limit)
    if scale < 1:
        for g in arrays:
            g *= scale
    return norm


def clip_scale(norm: float, limit: float) -> float:
    """min(1, limit/(norm + 1e-6)), and 1 for a norm that is NaN or infinite.

    For ``optimizer.step(scale=…)``, which folds the scaling into the update.

    >>> round(optim.clip_scale(4.0, 1.0), 4), optim.clip_scale(0.5, 1.0)
    (0.25, 1.0)
    """
    limit = positive("the limit of the global norm", limit)
    return min(1.0, limit / (norm + 1e-6)) if math.isfinite(norm) else 1.0


def global_norm(gradients: Gradients) -> float:
    """√Σg² over all elements; safe from overflow and underflow; NaN or infinity where g has one.

    >>> optim.global_norm([np.array([3.0]), np.array([[4.0]])])
    5.0
    """
    return math.hypot(*map(_norm, _arrays(gradients)))


def _norm(g: Array) -> float:
    xp = array_module(g)
    flat = g.reshape(-1)
    if flat.dtype.itemsize < 4:
        flat = flat.astype("float32")
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(xp.dot(flat, flat))
    # below, squares have lost bits to underflow; above, they may be infinite
    if 2e-30 * flat.size < square < math.inf:
        return math.sqrt(square)
    largest = float(abs(flat).max()) if flat.size else 0.0
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    flat = flat / largest
    return largest * math.sqrt(float(xp.dot(flat, flat)))


def _arrays(gradients: Gradients) -> list[Array]:
    if hasattr(gradients, "spans"):
        return [gradients.grad]
    if hasattr(gradients, "dtype"):
        return [gradients]
    items: Iterable[Any] = gradients
    return [array for item in items for array in _arrays(item)]
