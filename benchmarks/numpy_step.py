"""The floor: a training step as one would write it by hand for this one network, in NumPy.

There is no engine here: shapes are fixed, every array is made once and written to afterwards.
What minigrad takes longer than this is the price of its generality.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["NumpyStep", "adam_", "zeros"]

Array = np.ndarray[Any, np.dtype[np.float32]]
Labels = np.ndarray[Any, np.dtype[np.int64]]

CHUNK = 1 << 17  # elements: five arrays of them stay in the second-level cache, or nearly


class NumpyStep:
    """Dense layers with ReLU between, softmax cross-entropy, Adam; batches of ``rows`` rows.

    ``layers`` are the first weights (n, m) and biases (m,). Weights and biases of all layers lie in
    one buffer ``theta``, their gradients in another, so that Adam is one run over each.
    """

    def __init__(self, layers: Sequence[tuple[Array, Array]], rows: int, lr: float) -> None:
        shapes = [(W.shape, b.shape) for W, b in layers]
        count = sum(W.size + b.size for W, b in layers)
        self.theta, self.g, self.m, self.v = (zeros(count) for _ in range(4))
        self.scratch = zeros(min(count, CHUNK))
        self.layers = list(_views(self.theta, shapes))
        self.gradients = list(_views(self.g, shapes))
        for views, values in zip(self.layers, layers, strict=True):
            for view, value in zip(views, values, strict=True):
                view[...] = value
        widths = [b.size for _, b in layers]
        self.outputs = [np.empty((rows, n), np.float32) for n in widths]
        self.deltas = [np.empty((rows, n), np.float32) for n in widths[:-1]]
        self.active = [np.empty((rows, n), np.bool_) for n in widths[:-1]]
        self.ones = np.ones(rows, np.float32)
        self.every_row = np.arange(rows)
        self.lr = lr
        self.steps = 0

    def __call__(self, x: Array, labels: Labels) -> float:
        """One step on x (rows, n) and labels (rows,); the mean loss before it."""
        loss, delta = self.forward(x, labels)
        self.backward(x, delta)
        self.steps += 1
        adam_(self.theta, self.g, self.m, self.v, self.scratch, self.steps, self.lr)
        return loss

    def forward(self, x: Array, labels: Labels) -> tuple[float, Array]:
        """The mean loss, and its gradient with respect to the logits, which takes their place."""
        h = x
        for (W, b), out in zip(self.layers, self.outputs, strict=True):
            np.matmul(h, W, out=out)
            out += b
            if out is not self.outputs[-1]:
                np.maximum(out, 0, out=out)
            h = out
        h -= h.max(axis=1, keepdims=True)
        at_label = h[self.every_row, labels]
        np.exp(h, out=h)
        total = h.sum(axis=1)
        loss = float((np.log(total) - at_label).mean())
        h /= total[:, None]
        h[self.every_row, labels] -= 1
        h /= len(h)
        return loss, h

    def backward(self, x: Array, delta: Array) -> None:
        """Write the gradients of all layers, the last one's first."""
        for i in reversed(range(len(self.layers))):
            gW, gb = self.gradients[i]
            below = self.outputs[i - 1] if i else x
            np.matmul(below.T, delta, out=gW)
            np.matmul(self.ones, delta, out=gb)
            if i:
                np.matmul(delta, self.layers[i][0].T, out=self.deltas[i - 1])
                delta = self.deltas[i - 1]
                delta *= np.greater(below, 0, out=self.active[i - 1])


def adam_(
    theta: Array,
    g: Array,
    m: Array,
    v: Array,
    scratch: Array,
    t: int,
    lr: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """Adam's step number ``t`` (from 1) in place, with decoupled decay where it is asked for.

    Kingma & Ba (2015), Algorithm 1; both bias corrections are folded into two numbers.
    """
    c = math.sqrt(1 - beta2**t)
    alpha, epsilon = lr * c / (1 - beta1**t), epsilon * c
    for start in range(0, len(theta), CHUNK):
        cut = slice(start, start + CHUNK)
        theta_, g_, m_, v_ = theta[cut], g[cut], m[cut], v[cut]
        s = scratch[: len(theta_)]
        if weight_decay:
            theta_ *= 1 - lr * weight_decay
        m_ *= beta1
        m_ += np.multiply(g_, 1 - beta1, out=s)
        v_ *= beta2
        np.multiply(g_, g_, out=s)
        s *= 1 - beta2
        v_ += s
        np.sqrt(v_, out=s)
        s += epsilon
        np.divide(m_, s, out=s)
        s *= alpha
        theta_ -= s


def zeros(count: int) -> Array:
    """Zeros that begin at a multiple of 64 bytes: vectors that straddle two cache lines would cost
    Adam a tenth of its speed, and one run of the benchmark would differ from the next."""
    buffer = np.zeros(count + 16, np.float32)
    start = -buffer.ctypes.data % 64 // 4
    return buffer[start : start + count]


def _views(
    buffer: Array, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> Iterator[tuple[Array, Array]]:
    """The stretches of ``buffer`` that hold each layer's weight and bias."""
    start = 0
    for weight, bias in shapes:
        middle = start + math.prod(weight)
        stop = middle + math.prod(bias)
        yield buffer[start:middle].reshape(weight), buffer[middle:stop]
        start = stop
