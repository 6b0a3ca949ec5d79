"""What an op costs beside its arithmetic: 40 tiny ops, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Result, Work, agree, compare, optional_torch
from minigrad import Tensor

__all__ = ["run"]

PAIRS = 20
START = np.linspace(-1, 1, 8, dtype=np.float32)
FACTOR = np.full(8, 1.5, np.float32)  # keeps the values from shrinking


def run() -> Result:
    """tanh and multiplication in turn on 8 floats; the factor wants no gradient, then it does."""
    torch = optional_torch()
    result = Result("40 ops, tanh and multiply in turn, on 8 floats, forward and backward")
    for learned in (False, True):
        contestants: dict[str, Work] = {"minigrad": _minigrad(learned)}
        if torch is not None:
            contestants["PyTorch eager"] = _torch(torch, learned)
        agree(contestants, tolerance=1e-5)
        times = compare(contestants)
        what = "learned factor" if learned else "constant factor"
        result.rows += times.ratio("minigrad", "PyTorch eager", what, goal=0.7)
        result.microseconds.update(times.medians(what))
    if torch is None:
        result.notes.append("PyTorch is not installed: there is nothing to compare with")
    return result


def _minigrad(learned: bool) -> Work:
    x = Tensor(START, requires_grad=True)
    factor = Tensor(FACTOR, requires_grad=learned)
    return lambda: _forward_and_backward(x, factor, learned)


def _torch(torch: Any, learned: bool) -> Work:
    x = torch.from_numpy(START.copy()).requires_grad_()
    factor = torch.from_numpy(FACTOR.copy()).requires_grad_(learned)
    return lambda: _forward_and_backward(x, factor, learned)


def _forward_and_backward(x: Any, factor: Any, learned: bool) -> Any:
    """The text is the same for both; the sum of all gradients is returned."""
    x.grad = None
    if learned:
        factor.grad = None
    y = x
    for _ in range(PAIRS):
        y = y.tanh() * factor
    y.sum().backward()
    return x.grad[0] + factor.grad[0] if learned else x.grad[0]
