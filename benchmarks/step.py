"""A training step of 784-128-64-10 with Adam: NumPy by hand, PyTorch eager and JAX beside it."""

from __future__ import annotations

import numpy as np

from benchmarks import network
from benchmarks.harness import Result, Work, agree, compare, optional_jax, optional_torch
from minigrad.kernels import kernel

__all__ = ["run"]

OTHERS = {"NumPy by hand": 1.15, "PyTorch eager": 0.8, "JAX jit": 1.0}
"""Whom minigrad is compared with, and the goal: of NumPy for all batches, else for 32 rows."""


def run() -> Result:
    """Batches of 32, 128 and 512, float32; the losses of the first steps are compared first."""
    jax, torch = optional_jax(), optional_torch()
    result = Result("training step of 784-128-64-10, Adam, float32, one thread")
    for rows in (32, 128, 512):
        data = network.batches(rows)
        contestants: dict[str, Work] = {
            "minigrad": network.minigrad_step(data),
            "NumPy by hand": network.numpy_step(data),
        }
        if torch is not None:
            contestants["PyTorch eager"] = network.torch_step(torch, data)
        if jax is not None:
            contestants["JAX jit"] = network.jax_step(jax, data)
        agree(contestants, times=8)
        times = compare(contestants)
        what = f"batch {rows}"
        for other, goal in OTHERS.items():
            wanted = goal if other == "NumPy by hand" or rows == 32 else None
            result.rows += times.ratio("minigrad", other, what, wanted)
        result.microseconds.update(times.medians(what))
    for name, found in (("PyTorch", torch), ("JAX with Optax", jax)):
        if found is None:
            result.notes.append(f"{name} is not installed: its part was left out")
    compiled = kernel("adam", like=np.empty(0, np.float32)) is not None
    result.notes.append(
        f"minigrad's own kernels for the CPU are {'in use' if compiled else 'not in use'}"
    )
    return result
