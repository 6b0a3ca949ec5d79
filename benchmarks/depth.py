"""A chain as deep as a long recurrence: the walk is a loop, so depth costs time and memory in
proportion, and nothing else."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc

import numpy as np

from benchmarks.harness import ROUNDS, Result, Row, Spread, spread
from minigrad import Tensor

__all__ = ["run"]

DEPTHS = (1_000, 10_000, 100_000)


def run() -> Result:
    """Time per op, forward and backward, and the peak of memory per op, at three depths."""
    result = Result("a chain of 1,000, 10,000 and 100,000 ops on 8 floats, forward and backward")
    if abs(_chain(DEPTHS[0]) - 1) > 1e-5:
        raise AssertionError("the gradient through a chain of additions is not 1")
    seconds: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    for _ in range(ROUNDS):
        for depth in DEPTHS:
            repetitions = DEPTHS[-1] // depth // 10 or 1
            began = time.perf_counter()
            for _ in range(repetitions):
                _chain(depth)
            seconds[depth].append((time.perf_counter() - began) / repetitions / depth)
    held = {depth: _peak(depth) / depth for depth in DEPTHS}
    shallow = DEPTHS[0]
    for depth in DEPTHS[1:]:
        ratios = [a / b for a, b in zip(seconds[depth], seconds[shallow], strict=True)]
        result.rows.append(Row(f"time per op: {depth:,} ops / {shallow:,}", spread(ratios)))
    for depth in DEPTHS[1:]:
        share = held[depth] / held[shallow]
        what = f"memory per op: {depth:,} ops / {shallow:,}"
        result.rows.append(Row(what, Spread(share, share, share), goal=1.1))
    for depth in DEPTHS:
        bytes_ = Spread(*[held[depth]] * 3)
        result.rows.append(Row(f"memory per op, {depth:,} ops", bytes_, unit="bytes"))
        result.microseconds[f"per op, {depth:,} ops"] = statistics.median(seconds[depth]) * 1e6
    return result


def _chain(depth: int) -> float:
    """The gradient of x + 0.001 + 0.001 + … by x."""
    x = Tensor(np.zeros(8, np.float32), requires_grad=True)
    y = x
    for _ in range(depth):
        y = y + 0.001
    y.sum().backward()
    assert x.grad is not None
    return float(x.grad[0])


def _peak(depth: int) -> int:
    """The most bytes held at any time during the chain."""
    gc.collect()  # empties the free lists, whose objects would go uncounted
    tracemalloc.start()
    try:
        _chain(depth)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
