"""What kernels do for training, piece by piece, each with the bytes that it must move.

On a GPU all of these are bound by memory: what counts is the rate at which the bytes go by.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import Work
from minigrad import Tensor, ops
from minigrad.autograd import grad
from minigrad.backend import Array, array_module, to_device
from minigrad.kernels import kernel
from minigrad.ops.linear import ACTIVATIONS

__all__ = [
    "Piece",
    "copy",
    "cross_entropy",
    "dense_activation",
    "dropout",
    "layer_norm",
    "random",
    "to_float",
    "to_half",
]  # fmt: skip

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Piece:
    """Some work on arrays that stay, and the bytes it must read and write."""

    what: str
    work: Work
    moved: int


def random(device: str, *shape: int, seed: int = 0) -> Array:
    """Numbers of a normal distribution, float32: an idle bus of zeros would be quicker."""
    return to_device(np.random.default_rng(seed).standard_normal(shape, np.float32), device)


def copy(device: str, size: int) -> Piece:
    """The device's own copy of ``size`` bytes, which reads them and writes as many."""
    origin = random(device, size // FLOAT)
    xp = array_module(origin)
    to = xp.zeros_like(origin)

    def work() -> Any:
        xp.copyto(to, origin)
        return to

    return Piece(f"copy of {size / 2**30:.3g} GiB", work, 2 * to.nbytes)


def cross_entropy(device: str, rows: int, classes: int) -> tuple[Piece, Array, Array]:
    """Softmax and cross-entropy, forward and backward, and the logits and labels it has.

    Forward reads the logits; backward reads them and writes their gradient.
    """
    logits = random(device, rows, classes)
    labels = to_device(np.random.default_rng(1).integers(0, classes, rows), device)
    z = Tensor(logits, requires_grad=True)

    def work() -> Any:
        loss = ops.cross_entropy(z, labels)
        grad(loss, z)
        return loss

    what = f"softmax cross-entropy {rows} x {classes}, forward and backward"
    return Piece(what, work, 3 * logits.nbytes + 2 * labels.nbytes), logits, labels


def layer_norm(device: str, rows: int, features: int) -> Piece:
    """Forward reads x and writes y; backward reads x and g and writes dx."""
    x, g = random(device, rows, features), random(device, rows, features, seed=1)
    scale, shift = random(device, features), random(device, features, seed=1)
    leaves = [Tensor(a, requires_grad=True) for a in (x, scale, shift)]

    def work() -> Any:
        y = ops.layer_norm(leaves[0], leaves[1], leaves[2])
        grad(y, leaves, g)
        return y

    return Piece(f"layer norm {rows} x {features}, forward and backward", work, 5 * x.nbytes)


def dense_activation(device: str, name: str, rows: int, features: int) -> Piece:
    """What a dense layer does beside its product: bias and activation.

    Forward reads the product and writes y; backward reads g and y (for GELU the product instead),
    and writes the gradient of the product.
    """
    z, g = random(device, rows, features), random(device, rows, features, seed=1)
    b = random(device, features)
    b *= 1e-3  # ReLU writes over z, which would grow from call to call
    with_bias = ACTIVATIONS[name][0]
    leaves = [Tensor(a, requires_grad=True) for a in (z, b)]

    def work() -> Any:
        y = with_bias(*leaves)
        grad(y, leaves, g)
        return y

    what = f"bias and {name} {rows} x {features}, forward and backward"
    return Piece(what, work, 5 * z.nbytes)


def dropout(device: str, rows: int, features: int) -> Piece:
    """Forward and backward read and write once each: the mask is drawn again."""
    x, g = random(device, rows, features), random(device, rows, features, seed=1)
    leaf = Tensor(x, requires_grad=True)

    def work() -> Any:
        y = ops.dropout(leaf, 0.1, (1, 2))
        grad(y, leaf, g)
        return y

    return Piece(f"dropout {rows} x {features}, forward and backward", work, 4 * x.nbytes)


def to_half(device: str, size: int) -> Piece:
    """float32 to float16."""
    return _cast(device, "to_half", "float32 to float16", size)


def to_float(device: str, size: int) -> Piece:
    """float16 to float32."""
    return _cast(device, "to_float", "float16 to float32", size)


def _cast(device: str, name: str, what: str, size: int) -> Piece:
    x = random(device, size)
    half = x.astype(np.float16)
    pair = (x, half) if name == "to_half" else (half, x)
    found = kernel(name, like=x, dtype=x.dtype)
    run = partial(np.copyto, pair[1], pair[0]) if found is None else found.bind(*pair, 1.0)

    def work() -> Any:
        run()
        return pair[1]

    return Piece(f"{what}, {size:,} numbers", work, x.nbytes + half.nbytes)
