"""Losses. ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``; ``weights`` multiply the losses
of single samples, and the mean is then the weighted one, Σwl / Σw."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.autograd import Tensor, as_array, functions, op, within
from minigrad.backend import Array, array_module
from minigrad.errors import InputError, unknown
from minigrad.ops._fused import block_of, packed, row_kernel
from minigrad.ops.activations import sigmoid
from minigrad.ops.elementwise import abs, clip, log, mul, square, sub
from minigrad.ops.reductions import log_softmax, mean, sum
from minigrad.ops.shaping import reshape

__all__ = ["binary_cross_entropy", "cross_entropy", "huber", "mae", "mse"]

EPSILON = 1e-7  # Keras's: probabilities are held this far from 0 and 1 before their logarithm


def _reduce(losses: Tensor, weights: Any, reduction: str) -> Tensor:
    if reduction not in ("mean", "sum", "none"):
        raise unknown("reduction", reduction, ["mean", "sum", "none"])
    if reduction == "mean" and losses.size == 0:
        raise InputError("the mean of no losses: a batch of 0 samples has a sum, but no mean")
    if weights is not None:
        weights = _per_loss(weights, losses)
        total = float(weights.sum())
        if reduction == "mean" and not total > 0:
            raise InputError(f"the sample weights add up to {total}: a mean needs more than 0")
        losses = mul(losses, weights)
        if reduction == "mean":
            return sum(losses) / total
    if reduction == "mean":
        return mean(losses)
    return sum(losses) if reduction == "sum" else losses


def _per_loss(weights: Any, losses: Tensor) -> Array:
    """The weights of samples, of shape (n,) or the losses' own, as one weight for every loss."""
    weights = as_array(weights, losses.dtype)
    columns = weights.reshape(weights.shape + (1,) * (losses.ndim - weights.ndim))
    try:
        return array_module(weights).broadcast_to(columns, losses.shape)
    except ValueError as error:
        raise InputError(
            f"weights of shape {weights.shape} do not fit losses of shape {losses.shape}: give one "
            "weight for each sample, or one for each loss"
        ) from error


def _same_shape(loss: str, prediction: Any, target: Any) -> None:
    if np.shape(prediction) != np.shape(target):
        raise InputError(
            f"{loss}: predictions of shape {np.shape(prediction)} and targets of shape "
            f"{np.shape(target)} must agree; reshape one of them"
        )


def mse(prediction: Any, target: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """Mean squared error, (prediction − target)², of two arrays of one shape.

    Its gradient for Xθ is (2/m)Xᵀ(Xθ − y): article D2 §4. Raises :class:`InputError` where the
    shapes differ: nothing broadcasts.

    >>> ops.mse([1.0, 2.0], [1.0, 4.0])
    Tensor(2.)
    """
    _same_shape("mse", prediction, target)
    return _reduce(square(sub(prediction, target)), weights, reduction)


def mae(prediction: Any, target: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """Mean absolute error, ``|prediction − target|``, of two arrays of one shape.

    Raises :class:`InputError` where the shapes differ: nothing broadcasts.

    >>> ops.mae([1.0, 2.0], [1.0, 4.0], reduction="none")
    Tensor([0., 2.])
    """
    _same_shape("mae", prediction, target)
    return _reduce(abs(sub(prediction, target)), weights, reduction)


@op(d=lambda xp, g, d, delta: g * xp.clip(d, -delta, delta))
def _huber(xp: Any, d: Array, delta: float) -> Array:
    size = xp.abs(d)
    return xp.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))


def huber(
    prediction: Any,
    target: Any,
    *,
    delta: float = 1.0,
    weights: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """d²/2 for ``|d| ≤ δ``, else ``δ(|d| − δ/2)``, d = prediction − target (Huber 1964).

    Raises :class:`InputError` unless δ > 0, and where the shapes differ.

    >>> ops.huber([0.5, 3.0], [0.0, 0.0], reduction="none")
    Tensor([0.125, 2.5  ])
    """
    if delta <= 0:
        raise InputError(f"huber: delta must be positive, {delta} was given")
    _same_shape("huber", prediction, target)
    return _reduce(_huber(sub(prediction, target), delta), weights, reduction)


@op(
    z=lambda xp, g, z, t: g * (within(xp, sigmoid, z) - t),
    t=lambda g, z: -g * z,
)
def _binary_cross_entropy(xp: Any, z: Array, t: Array) -> Array:
    return xp.maximum(z, 0.0) - z * t + xp.log1p(xp.exp(-xp.abs(z)))


def binary_cross_entropy(
    prediction: Any,
    target: Any,
    *,
    from_logits: bool = True,
    weights: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """−t·ln p − (1−t)·ln(1−p), for targets t in [0, 1] of the predictions' shape.

    ``prediction`` are logits, of which p is the sigmoid (exact for any logit), or p itself with
    ``from_logits=False``, held to [1e-7, 1 − 1e-7] as Keras does. A model that ends in a sigmoid
    gives probabilities: calling them logits is a double sigmoid (article D3 §4, erratum E6).

    >>> ops.binary_cross_entropy([0.0, 1000.0], [1.0, 1.0], reduction="none")
    Tensor([0.6931, 0.    ])
    """
    _same_shape("binary_cross_entropy", prediction, target)
    target = target.data if isinstance(target, Tensor) else target
    if getattr(target, "dtype", np.dtype(int)).kind != "f":  # lists and labels take p's dtype
        target = as_array(target, getattr(prediction, "dtype", np.float32))
    if type(target) is np.ndarray and not ((target >= 0) & (target <= 1)).all():
        raise InputError(
            f"binary_cross_entropy: targets lie in [0, 1], but these go from {target.min():g} to "
            f"{target.max():g}"
        )
    if from_logits:
        return _reduce(_binary_cross_entropy(prediction, target), weights, reduction)
    p = clip(prediction, EPSILON, 1 - EPSILON)
    return _reduce(-(target * log(p) + (1 - target) * log(1 - p)), weights, reduction)


def _label_gradient(
    xp: Any, g: Any, logits: Any, labels: Array, parts: Array, smoothing: float
) -> Any:
    """g (p − t), where t is 1 at the label: of it, smoothing spreads ε over all classes."""
    classes = logits.shape[-1]
    if xp is functions:
        p = xp.softmax(logits, axis=1)
    else:
        fused = row_kernel("cross_entropy_gradient", logits)
        if fused is not None:
            g, logits = packed(xp, g, logits.dtype), packed(xp, logits)
            dz = xp.empty_like(logits)
            fused(logits, labels, parts, g, dz, smoothing, threads=block_of(classes))
            return dz
        p = xp.exp(logits - parts[:, :1] - parts[:, 1:])
    t = (array_module(labels).arange(classes) == labels[:, None]).astype(g.dtype)
    return g[:, None] * (p - (t if smoothing == 0 else (1 - smoothing) * t + smoothing / classes))


@op(logits=_label_gradient, writes=("parts",))
def _cross_entropy(
    xp: Any, logits: Array, labels: Array, parts: Array, smoothing: float = 0.0
) -> Array:
    """−ln softmax(logits) at the labels, with the mean over all classes at the share ``smoothing``:
    (n, classes), (n,) -> (n,). It leaves in ``parts``, (n, 2), what the softmax is made of again:
    each row's maximum, and ln Σexp(logits − maximum)."""
    fused = row_kernel("cross_entropy", logits)
    if fused is not None:
        losses = xp.empty(len(labels), logits.dtype)
        threads = block_of(logits.shape[1])
        fused(packed(xp, logits), labels, losses, parts, smoothing, threads=threads)
        return losses
    parts[:, 0] = logits.max(axis=1)
    z = logits - parts[:, :1]
    parts[:, 1] = xp.log(xp.exp(z).sum(axis=1))
    at_label = z[xp.arange(len(labels)), labels]
    if smoothing == 0:
        return parts[:, 1] - at_label
    return parts[:, 1] - (1 - smoothing) * at_label - smoothing * z.mean(axis=1)


def cross_entropy(
    prediction: Any,
    labels: Any,
    *,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    weights: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """−ln p of the true class, for predictions (…, classes).

    ``labels`` are integers of shape (…), or probabilities of the classes, one-hot for instance,
    of the predictions' shape. ``prediction`` are logits, of which p is the softmax, or p itself
    with ``from_logits=False``, scaled to sum to 1 and held to [1e-7, 1 − 1e-7] as Keras does. A
    model that ends in a softmax gives probabilities: calling them logits is a double softmax,
    whose loss cannot fall below 1.4612 for 10 classes (article D4 §4, erratum E14).

    ``label_smoothing``, 0 ≤ ε < 1, spreads the share ε of each target evenly over all classes:
    −(1−ε) ln p of the true class − ε · mean ln p (Szegedy et al. 2016, §7).

    Labels in a Tensor are copied: other ones may be assigned to it before backward. An array is
    kept as it is.

    >>> logits = Tensor([[0.0, np.log(3.0)]], requires_grad=True)
    >>> ops.cross_entropy(logits, [1]).backward()
    >>> logits.grad
    array([[ 0.25, -0.25]], dtype=float32)
    """
    if not _is_share(label_smoothing):
        raise InputError(
            "cross_entropy: label_smoothing is a number from 0 to below 1, "
            f"{label_smoothing!r} was given; 0 leaves targets as they are, 0.1 is usual"
        )
    if not isinstance(prediction, Tensor):
        prediction = Tensor(prediction)
    in_tensor = isinstance(labels, Tensor)
    labels = labels.data if in_tensor else labels
    if isinstance(labels, list | tuple | int):
        labels = np.asarray(labels)
        labels = labels.astype(prediction.dtype) if labels.dtype.kind == "f" else labels
    if labels.shape == prediction.shape and labels.dtype.kind == "f":
        logs = log_softmax(prediction) if from_logits else _log_probabilities(prediction)
        if label_smoothing:
            labels = (1 - label_smoothing) * labels + label_smoothing / labels.shape[-1]
        return _reduce(-sum(logs * labels, axis=-1), weights, reduction)
    _check_labels(prediction, labels)
    shape, classes = labels.shape, prediction.shape[-1]
    labels = labels.astype(np.int64, copy=in_tensor and isinstance(labels, np.ndarray))
    if len(shape) != 1:
        prediction, labels = reshape(prediction, (labels.size, classes)), labels.reshape(-1)
    xp = array_module(labels)
    if from_logits:
        labels = packed(xp, labels)
        dtype = prediction.dtype if prediction.dtype.kind == "f" else np.float64
        parts = xp.empty((len(labels), 2), dtype)
        losses = _cross_entropy(prediction, labels, parts, float(label_smoothing))
    else:
        logs = _log_probabilities(prediction)
        losses = -logs[xp.arange(len(labels)), labels]
        if label_smoothing:
            losses = (1 - label_smoothing) * losses - label_smoothing * mean(logs, axis=-1)
    return _reduce(losses if len(shape) == 1 else reshape(losses, shape), weights, reduction)


def _is_share(x: Any) -> bool:
    try:
        return bool(0 <= x < 1)
    except TypeError:
        return False


def _log_probabilities(p: Tensor) -> Tensor:
    return log(clip(p / sum(p, axis=-1, keepdims=True), EPSILON, 1 - EPSILON))


def _check_labels(prediction: Tensor, labels: Array) -> None:
    classes = prediction.shape[-1] if prediction.ndim else 0
    if labels.dtype.kind not in "iu" or labels.shape != prediction.shape[:-1]:
        raise InputError(
            f"cross_entropy: predictions of shape {prediction.shape} need integer labels of shape "
            f"{prediction.shape[:-1]} or class probabilities of shape {prediction.shape}; labels "
            f"of shape {labels.shape} and dtype {labels.dtype} were given"
        )
    if type(labels) is np.ndarray and labels.size:  # on a GPU this look would stall the stream
        unsigned = labels.astype(np.int64, copy=False).view(np.uint64)  # what is below 0 is huge
        if unsigned.max() >= classes:
            low, high = labels.min(), labels.max()
            raise InputError(
                f"cross_entropy: label {low if low < 0 else high} is outside 0 … {classes - 1}, "
                f"the classes of predictions of shape {prediction.shape}"
            )
