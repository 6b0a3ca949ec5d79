"""GPU arrays reduced on the host: copied there in chunks while others are reduced, and as a whole.

In MPI's place the host adds another array, so that one process is enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Result, Row, compare, spread
from minigrad.backend import Array, device_count, module_for
from minigrad.distributed.staging import CHUNK, in_chunks
from minigrad.errors import InputError

__all__ = ["SIZES", "bench", "run"]

SIZES = tuple(2**power for power in (20, 24, 28))
"""Bytes."""


def run() -> Result:
    """On the first GPU. Raises :class:`InputError` where there is none."""
    if device_count() == 0:
        raise InputError(
            "the benchmark 'staging' needs CuPy and a CUDA device, and there is none here; "
            "'minigrad doctor' says what is missing"
        )
    return bench(module_for("cuda"))


def bench(xp: Any, sizes: tuple[int, ...] = SIZES, budget: float = 3.0) -> Result:
    """Each size whole and by chunks of several sizes, CuPy's arrays or those that look like it."""
    result = Result("GPU arrays reduced on the host, float32")
    for size in sizes:
        array = xp.zeros(size // 4, np.float32)
        chunks = [chunk for chunk in (CHUNK // 4, CHUNK, 4 * CHUNK) if chunk < size]
        contestants = {f"chunks of {_mib(chunk)}": _work(array, chunk) for chunk in chunks}
        times = compare({"whole": _work(array, size), **contestants}, budget=budget)
        for name, seconds in times.seconds.items():
            rates = spread([size / s / 1e9 for s in seconds])
            result.rows.append(Row(f"{_mib(size)}, {name}", rates, "GB/s"))
        for name in contestants:
            result.rows += times.ratio(name, "whole", _mib(size))
        result.microseconds |= times.medians(_mib(size))
    return result


def _work(array: Array, chunk: int) -> Any:
    other = np.ones(chunk // array.itemsize, array.dtype)

    def reduce(part: np.ndarray) -> None:
        np.add(part, other[: part.size], out=part)

    return lambda: in_chunks(array, reduce, chunk)


def _mib(size: int) -> str:
    return f"{size / 2**20:g} MiB"
