"""A training step of 784-128-64-10 with Adam, against NumPy by hand and against PyTorch eager."""

from __future__ import annotations

from benchmarks import network
from benchmarks.harness import Result, Work, agree, compare, optional_torch

__all__ = ["run"]


def run() -> Result:
    """Batches of 32, 128 and 512, float32; the loss that each step returns is compared first."""
    torch = optional_torch()
    result = Result("training step of 784-128-64-10, Adam, float32, one thread")
    for rows in (32, 128, 512):
        data = network.batches(rows)
        contestants: dict[str, Work] = {
            "minigrad": network.minigrad_step(data),
            "NumPy by hand": network.numpy_step(data),
        }
        if torch is not None:
            contestants["PyTorch eager"] = network.torch_step(torch, data)
        agree(contestants, times=8)
        times = compare(contestants)
        what = f"batch {rows}"
        result.rows += times.ratio("minigrad", "NumPy by hand", what, goal=1.15)
        result.rows += times.ratio(
            "minigrad", "PyTorch eager", what, goal=1.0 if rows == 32 else None
        )
        result.microseconds.update(times.medians(what))
    if torch is None:
        result.notes.append("PyTorch is not installed: its part was left out")
    return result
