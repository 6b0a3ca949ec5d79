"""One rank of the benchmark ``collectives``: rank 0 prints seconds by size, contestant and round.

mpiexec -n 2 python -m benchmarks.collective ROUNDS BYTES BYTES …
"""

from __future__ import annotations

import json
import math
import sys
import time

import numpy as np

from benchmarks.harness import AT_LEAST
from minigrad.distributed import Communicator, world
from minigrad.distributed.algorithms import ALGORITHMS, WrittenOut

MPI = "MPI"


def rounds_of(comms: dict[str, Communicator], nbytes: int, rounds: int) -> dict[str, list[float]]:
    """Seconds an all-reduce of ``nbytes`` takes by each of ``comms``, which take turns."""
    inner = comms[MPI]
    x = np.zeros(nbytes // 4, np.float32)
    for comm in comms.values():
        x[:] = inner.rank + 1
        comm.all_reduce(x)
        if not (x == inner.size * (inner.size + 1) / 2).all():
            raise AssertionError("an all-reduce gave another sum")
    x[:] = 0
    quickest = min(_timed(comm, inner, x, 3) for comm in comms.values())
    repetitions = max(1, math.ceil(AT_LEAST / quickest))
    seconds: dict[str, list[float]] = {name: [] for name in comms}
    for _ in range(rounds):
        for name, comm in comms.items():
            comm.all_reduce(x)
            seconds[name].append(_timed(comm, inner, x, repetitions))
    return seconds


def _timed(comm: Communicator, inner: Communicator, x: np.ndarray, repetitions: int) -> float:
    """Of the rank that took longest; the same number on all."""
    inner.barrier()
    began = time.perf_counter()
    for _ in range(repetitions):
        comm.all_reduce(x)
    taken = np.array([time.perf_counter() - began])
    inner.all_reduce(taken, "max")
    return float(taken[0]) / repetitions


def main(rounds: str, *sizes: str) -> None:
    """Take part in the job; rank 0 prints what was found."""
    inner = world()
    comms = {MPI: inner, **{name: WrittenOut(inner, name) for name in ALGORITHMS}}
    found = {size: rounds_of(comms, int(size), int(rounds)) for size in sizes}
    if inner.rank == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
