"""An optimizer's step alone, on one thread and on two.

Each number of threads has a process of its own, since OpenMP reads it when it is loaded:

    python -m benchmarks.optimizers THREADS
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result, Row, Spread, Work, agree, compare, optional_torch
from benchmarks.memcpy import memcpy
from minigrad import nn, optim
from minigrad.backend import Array
from minigrad.distributed.host import core_count
from minigrad.kernels import kernel

__all__ = ["BYTES", "LIMIT", "LR", "RULES", "contestant", "run", "torch_adamw"]

ROOT = Path(__file__).parent.parent
LR = 1e-4
LIMIT = 1.0  # of the global norm
BYTES = 28  # a float32 parameter: AdamW reads θ, g, m and v, and writes all but g
SHAPES = {"109,386 parameters": (2, 54_693), "6,000,000 parameters": (2_000, 3_000)}
SMALL, LARGE = SHAPES
GOALS = {SMALL: 0.8, LARGE: 1.0}  # of PyTorch's fused AdamW
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD, momentum 0.9": ("SGD", {"momentum": 0.9}),
    "RMSprop": ("RMSprop", {}),
    "Lion": ("Lion", {}),
    "LAMB": ("LAMB", {}),
}


def run() -> Result:
    """AdamW with and without clipping, and other rules, on one matrix of float32."""
    result = Result("an optimizer's step alone, float32, on one thread and on two")
    for threads in (1, 2):
        if threads > core_count():
            result.notes.append("there is one core only: two threads were left out")
            continue
        words = [sys.executable, "-m", "benchmarks.optimizers", str(threads)]
        environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
        answer = subprocess.run(words, env=environ, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(answer.stdout)
        result.rows += [Row(**{**row, "value": Spread(**row["value"])}) for row in found["rows"]]
        result.microseconds |= found["microseconds"]
        result.notes += [note for note in found["notes"] if note not in result.notes]
    return result


def measure(threads: int) -> Result:
    """What this process, which has so many threads, is to find out."""
    result = Result("")
    torch = optional_torch(threads)
    if torch is None:
        result.notes.append("PyTorch is not installed: its part was left out")
    if kernel("adam", like=np.empty(0, np.float32)) is None:
        result.notes.append("there are no compiled kernels here: NumPy did minigrad's work")
    suffix = "one thread" if threads == 1 else f"{threads} threads"
    for size, clip in itertools.product(SHAPES, (False, True)):
        _adamw(result, torch, threads, size, clip, f"{size}, {suffix}")
    for rule in RULES if threads == 1 else ():
        theta, g = _numbers(SHAPES[LARGE])
        forms = {
            "minigrad": contestant(rule, theta, g),
            "in_place": contestant(rule, theta, g, form="in_place"),
        }
        agree(forms)
        what = f"{rule}, {LARGE}, {suffix}"
        times = compare(forms)
        result.rows += times.ratio("minigrad", "in_place", what)
        result.microseconds |= times.medians(what)
    return result


def _adamw(result: Result, torch: Any, threads: int, size: str, clip: bool, where: str) -> None:
    theta, g = _numbers(SHAPES[size])
    contestants: dict[str, Work] = {"minigrad": contestant("AdamW", theta, g, clip=clip)}
    if torch is not None:
        name = "PyTorch clip_grad_norm_ + fused" if clip else "PyTorch fused"
        contestants[name] = torch_adamw(torch, theta, g, clip=clip)
    if threads == 1 and not clip:
        contestants["in_place"] = contestant("AdamW", theta, g, form="in_place")
        contestants["formula"] = contestant("AdamW", theta, g, form="formula")
    agree(contestants)
    floor = None if clip else memcpy(BYTES * theta.size, threads)
    if floor is not None:
        contestants["memcpy"] = floor
    times = compare(contestants, rest=5e-3 if threads > 1 else 0.0)
    what = f"AdamW{' with clipping' if clip else ''}, {where}"
    goals = {
        "PyTorch fused": GOALS[size], "PyTorch clip_grad_norm_ + fused": 0.7, "memcpy": 1.2,
    }  # fmt: skip
    for other in (*goals, "in_place", "formula"):
        result.rows += times.ratio("minigrad", other, what, goals.get(other))
    result.microseconds |= times.medians(what)


def contestant(rule: str, theta: Array, g: Array, *, clip: bool = False, form: Any = None) -> Work:
    """Steps of minigrad's ``rule``, AdamW or one of RULES, from ``theta``; the first parameter."""
    name, hyper = RULES.get(rule, (rule, {"weight_decay": 0.01}))
    parameter = nn.Parameter(theta.copy())
    optimizer = getattr(optim, name)({"weight": parameter}, LR, form=form, **hyper)
    parameter.grad = g
    first = parameter.data.reshape(-1)[:1].reshape(())
    if not clip:

        def step() -> Any:
            optimizer.step()
            return first

        return step
    norm = optim.GradientNorm(optimizer.arenas, LIMIT)

    def clipped() -> Any:
        optimizer.step(norm=norm.measure())
        return first

    return clipped


def torch_adamw(torch: Any, theta: Any, g: Any, *, clip: bool = False) -> Work:
    """The same in PyTorch, from arrays that it can share, on whichever device they are.

    Its clipping writes the clipped gradient over the gradient: from the second step on it clips by
    a millionth, which is as much work.
    """
    parameter = torch.nn.Parameter(torch.from_dlpack(theta).clone())
    parameter.grad = torch.from_dlpack(g).clone()
    optimizer = torch.optim.AdamW([parameter], lr=LR, weight_decay=0.01, fused=True)
    first = parameter.detach().reshape(-1)[0]
    clip_ = torch.nn.utils.clip_grad_norm_

    def step() -> Any:
        if clip:
            clip_([parameter], LIMIT)
        optimizer.step()
        return first

    return step


def _numbers(shape: tuple[int, ...]) -> Any:
    """θ and its gradient."""
    return np.random.default_rng(0).standard_normal((2, *shape), np.float32)


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(measure(int(sys.argv[1])))))
