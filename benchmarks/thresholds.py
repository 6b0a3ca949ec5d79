"""From how many elements on a CPU runs a kernel and no longer NumPy: both, around each threshold.

The thresholds are numbers in minigrad's code. Here each piece of work is done with its threshold at
0 and at infinity, at sizes from a quarter of the real one to four times as much: kernels should win
above it, and NumPy below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.harness import Result, Work, agree, compare
from benchmarks.optimizers import contestant
from benchmarks.pieces import random
from minigrad import Tensor, ops
from minigrad.autograd import grad
from minigrad.kernels import casting, compression, kernel
from minigrad.ops import _fused
from minigrad.ops.linear import ACTIVATIONS

__all__ = ["THRESHOLDS", "Threshold", "contestants", "restored", "run"]

ROUNDS = 25
AROUND = (0.25, 0.5, 1, 2, 4)
PARAMETERS = (10, 30, 100, 300, 1000)  # of an optimizer, which has no threshold
_embedding = import_module("minigrad.ops.embedding")  # the package's own name is the function


@dataclass(frozen=True)
class Threshold:
    """A threshold, how to set it, and some work of a given number of elements."""

    what: str
    elements: int
    put: Callable[[float], None]
    work: Callable[[int], Work]


def run() -> Result:
    """The kernel's time over NumPy's, at each size."""
    result = Result("kernels and NumPy on one core, around the sizes from which kernels are used")
    if kernel("adam", like=np.empty(0, np.float32)) is None:
        result.notes.append("there are no compiled kernels here: nothing was compared")
        return result
    for threshold in THRESHOLDS:
        for share in AROUND:
            n = int(threshold.elements * share)
            what = f"{threshold.what}, {n:,} elements, threshold {threshold.elements:,}"
            with restored(threshold):
                _measure(result, what, contestants(threshold, n))
    for n in PARAMETERS:
        theta, g = random("cpu", n), random("cpu", n, seed=1)
        forms = {"kernel": "compiled", "NumPy": "in_place"}
        works = {name: contestant("AdamW", theta, g, form=form) for name, form in forms.items()}
        _measure(result, f"AdamW, {n:,} parameters, always compiled", works)
    return result


def _measure(result: Result, what: str, works: dict[str, Work]) -> None:
    agree(works)
    times = compare(works, rounds=ROUNDS, budget=0)
    result.rows += times.ratio("kernel", "NumPy", what)
    result.microseconds |= times.medians(what)


def contestants(threshold: Threshold, n: int) -> dict[str, Work]:
    """The work of ``n`` elements by the kernel and by NumPy; each call sets the threshold."""

    def at(value: float) -> Work:
        work, put = threshold.work(n), threshold.put

        def timed() -> Any:
            put(value)
            return work()

        return timed

    return {"kernel": at(0), "NumPy": at(math.inf)}


@contextmanager
def restored(threshold: Threshold) -> Iterator[None]:
    """Within it the threshold may be set; afterwards it is what it was."""
    try:
        yield
    finally:
        threshold.put(threshold.elements)


def _cross_entropy(n: int) -> Work:
    z = Tensor(random("cpu", n // 16, 16), requires_grad=True)
    labels = np.random.default_rng(1).integers(0, 16, n // 16)
    return _both_ways(lambda: ops.cross_entropy(z, labels, reduction="none"), z)


def _layer_norm(n: int) -> Work:
    x = Tensor(random("cpu", n // 64, 64), requires_grad=True)
    scale, shift = (Tensor(random("cpu", 64, seed=i), requires_grad=True) for i in (1, 2))
    return _both_ways(lambda: ops.layer_norm(x, scale, shift), x, scale, shift)


def _dense(activation: str) -> Callable[[int], Work]:
    def make(n: int) -> Work:
        x, W = random("cpu", n // 50, 1), random("cpu", 1, 50, seed=1)  # hardly a product
        b = Tensor(random("cpu", 50, seed=2), requires_grad=True)
        leaf = Tensor(W, requires_grad=True)
        return _both_ways(lambda: ops.dense(x, leaf, b, activation), leaf, b)

    return make


def _embed(n: int) -> Work:
    weight = Tensor(random("cpu", 100, 10), requires_grad=True)
    ids = np.random.default_rng(1).integers(0, 100, n // 10)
    return _both_ways(lambda: ops.embedding(weight, ids), weight)


def _both_ways(f: Callable[[], Tensor], *leaves: Tensor) -> Work:
    """Forward and backward; the first number of the first gradient."""
    g = random("cpu", *f().shape, seed=9)
    return lambda: grad(f(), leaves, g)[0].data.reshape(-1)[:1].reshape(())


def _to_half(n: int) -> Work:
    x, out = random("cpu", n), np.empty(n, np.float16)
    return lambda: casting.to_half(x, out, 0.5)[:1].reshape(())


def _top_k(n: int) -> Work:
    g, residual, k = random("cpu", n), np.zeros(n, np.float32), max(1, n // 100)
    return lambda: compression.top_k(g, residual, k)[1][:1].reshape(())


def _put_in(module: Any, name: str) -> Callable[[float], None]:
    return lambda value: setattr(module, name, value)


def _put_activation(name: str) -> Callable[[float], None]:
    with_bias, alone, _ = ACTIVATIONS[name]

    def put(value: Any) -> None:
        ACTIVATIONS[name] = (with_bias, alone, value)

    return put


_rows = _fused.SMALL, _put_in(_fused, "SMALL")
THRESHOLDS = [
    Threshold("cross-entropy of 16 classes, forward and backward", *_rows, _cross_entropy),
    Threshold("layer norm of 64 features, forward and backward", *_rows, _layer_norm),
    *(
        Threshold(
            f"dense layer of 50 with {name}, forward and backward",
            ACTIVATIONS[name][2],
            _put_activation(name),
            _dense(name),
        )
        for name in ("relu", "gelu")
    ),
    Threshold(
        "embedding of 10 features, forward and backward",
        _embedding._FEW,
        _put_in(_embedding, "_FEW"),
        _embed,
    ),
    Threshold("float32 to float16", casting._SMALL, _put_in(casting, "_SMALL"), _to_half),
    Threshold("top_k of 1%", compression._SMALL, _put_in(compression, "_SMALL"), _top_k),
]
