"""An optimizer's step alone: minigrad's blocks in NumPy, the same by hand, PyTorch's fused one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks.harness import Result, Work, agree, compare, optional_torch
from benchmarks.numpy_step import CHUNK, adam_, zeros
from minigrad import nn, optim

__all__ = ["run"]

LR = 1e-4
SIZES = {"109,386 parameters": (2, 54_693), "6,000,000 parameters": (2_000, 3_000)}
DECAY = {"Adam": 0.0, "AdamW": 0.01}


def run() -> Result:
    """Adam and AdamW on one matrix, float32; the first element is compared after each step."""
    torch = optional_torch()
    result = Result("an optimizer's step alone, float32, one thread")
    for (size, shape), kind in itertools.product(SIZES.items(), DECAY):
        rng = np.random.default_rng(0)
        theta, g = rng.standard_normal((2, *shape)).astype(np.float32)
        contestants: dict[str, Work] = {
            "minigrad": _minigrad(kind, theta, g),
            "NumPy by hand": _numpy(kind, theta, g),
        }
        if torch is not None:
            contestants["PyTorch fused"] = _torch(torch, kind, theta, g)
        agree(contestants)
        times = compare(contestants)
        what = f"{kind}, {size}"
        for other in ("NumPy by hand", "PyTorch fused"):
            result.rows += times.ratio("minigrad", other, what)
        result.microseconds.update(times.medians(what))
    if torch is None:
        result.notes.append("PyTorch is not installed: its part was left out")
    return result


def _minigrad(kind: str, theta: Any, g: Any) -> Work:
    parameter = nn.Parameter(theta.copy())
    optimizer = getattr(optim, kind)({"weight": parameter}, LR)
    parameter.grad = g

    def step() -> Any:
        optimizer.step()
        return parameter.data[0, 0]

    return step


def _numpy(kind: str, theta: Any, g: Any) -> Work:
    size = theta.size
    theta_, g_, m, v = (zeros(size) for _ in range(4))
    scratch = zeros(min(size, CHUNK))
    theta_[:], g_[:] = theta.ravel(), g.ravel()
    count = itertools.count(1)

    def step() -> Any:
        adam_(theta_, g_, m, v, scratch, next(count), LR, weight_decay=DECAY[kind])
        return theta_[0]

    return step


def _torch(torch: Any, kind: str, theta: Any, g: Any) -> Work:
    parameter = torch.nn.Parameter(torch.from_numpy(theta.copy()))
    parameter.grad = torch.from_numpy(g)
    optimizer = getattr(torch.optim, kind)([parameter], lr=LR, weight_decay=DECAY[kind], fused=True)

    def step() -> Any:
        optimizer.step()
        return parameter.detach()[0, 0]

    return step
