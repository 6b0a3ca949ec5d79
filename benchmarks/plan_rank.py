"""One rank of the benchmark ``plan``: prints a line of JSON with its seconds and bytes.

mpiexec -n N python -m benchmarks.plan_rank 784,128,64,10 ROWS ROUNDS
"""

from __future__ import annotations

import itertools
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import network
from minigrad import nn, ops, optim
from minigrad.distributed import Communicator, world
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Bucketed
from minigrad.distributed.zero import ZeRO

MESSAGES = (1, 1 << 20)  # float32 numbers, from which alpha and beta are fitted
AT_LEAST = 0.1  # seconds that a round of steps takes
Step = Callable[[bool], None]


def parallel_of(comm: Communicator, sizes: list[int], zero: int) -> DataParallel:
    """The network on this rank, with Adam, as a part of ``comm``."""
    layers = [
        nn.Dense(n, m, activation="relu" if m != sizes[-1] else None, rng=np.random.default_rng(0))
        for n, m in itertools.pairwise(sizes)
    ]
    model = nn.Sequential(*layers)
    optimizer = optim.Adam(model, network.LR)
    return DataParallel(model, optimizer, comm, reducer=ZeRO(zero) if zero else Bucketed())


def step_of(parallel: DataParallel, rows: int, batches: int = 4) -> Step:
    """A step on ``rows`` rows a rank; given False, without talking to the others."""
    comm = parallel.comm
    supply = itertools.cycle(network.batches(rows, batches, seed=1 + comm.rank))
    gradient = 1 / (rows * comm.size)

    def step(talk: bool) -> None:
        x, labels = next(supply)
        parallel.zero_grad()
        loss = ops.cross_entropy(parallel.model(x), labels, reduction="sum")
        parallel.backward(loss, gradient, last=talk)
        parallel.step()

    return step


def seconds(comm: Communicator, step: Step, rounds: int) -> dict[str, list[float]]:
    """Of a step of rank 0 alone, while the others sleep, and of one of all together."""
    began = time.perf_counter()
    for _ in range(3):
        step(True)
    each = comm_max(comm, (time.perf_counter() - began) / 3)
    steps = max(3, round(AT_LEAST / each))
    found: dict[str, list[float]] = {"alone": [], "together": []}
    for _ in range(rounds):
        idle(comm, 1.2 * steps * each)
        found["alone"].append(timed(step, steps, talk=False) if comm.rank == 0 else 0.0)
        comm.barrier()
        found["together"].append(timed(step, steps, talk=True))
    return found


def idle(comm: Communicator, length: float) -> None:
    """All ranks but the first sleep, so that they take no core by waiting in a loop."""
    comm.barrier()
    if comm.rank:
        time.sleep(length)


def timed(step: Step, steps: int, talk: bool) -> float:
    """Seconds a step."""
    began = time.perf_counter()
    for _ in range(steps):
        step(talk)
    return (time.perf_counter() - began) / steps


def comm_max(comm: Communicator, value: float) -> float:
    """The largest of the ranks' values."""
    array = np.array([value])
    comm.all_reduce(array, "max")
    return float(array[0])


def messages(comm: Communicator, repetitions: int = 20) -> list[tuple[int, float]]:
    """(bytes, median seconds) of an all-reduce of each of ``MESSAGES``."""
    found = []
    for length in MESSAGES:
        array = np.zeros(length, np.float32)
        times = []
        for _ in range(repetitions):
            comm.barrier()
            began = time.perf_counter()
            comm.all_reduce(array)
            times.append(time.perf_counter() - began)
        found.append((array.nbytes, float(np.median(times))))
    return found


def peak_bytes(comm: Communicator, sizes: list[int], rows: int, zero: int) -> int:
    """The most that NumPy held at once, from before the model is built to after two steps."""
    tracemalloc.start()
    step = step_of(parallel_of(comm, sizes, zero), rows, batches=1)
    tracemalloc.reset_peak()
    for _ in range(2):
        step(True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def product_flops(n: int = 768) -> float:
    """Operations a second of a product of two n x n float32 matrices."""
    a = np.random.default_rng(0).random((n, n), np.float32)
    times = []
    for _ in range(9):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    return 2 * n**3 / float(np.median(times))


def main(sizes: str, rows: str, rounds: str) -> None:
    """Take part in the job and print what was found."""
    comm = world()
    widths, count = [int(size) for size in sizes.split(",")], int(rows)
    step = step_of(parallel_of(comm, widths, 0), count)
    found: dict[str, Any] = {"rank": comm.rank} | seconds(comm, step, int(rounds))
    found["messages"] = messages(comm)
    found["peaks"] = [
        peak_bytes(comm, widths, count, zero) for zero in ((0, 1, 2) if comm.size > 1 else (0,))
    ]
    comm.barrier()
    found["flops"] = product_flops() if comm.size == 1 else 0.0
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
