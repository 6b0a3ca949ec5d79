"""One rank of the benchmark ``checks``: rank 0 prints a line of JSON with its rounds.

mpiexec -n 2 python -m benchmarks.checks_rank ROWS ROUNDS
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks import network
from minigrad import ops, optim
from minigrad.distributed import Communicator, world
from minigrad.distributed.checked import CheckedCommunicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.traced import Trace

STEPS = 4  # of each contestant in a round, and as many hash checks
WARM_UP = 5  # rounds

Step = Callable[[], None]


def trained(comm: Communicator, rows: int) -> tuple[DataParallel, Step]:
    """A model of its own, and its step, with the two collectives of one step of ``fit``."""
    model = network.minigrad_model()
    parallel = DataParallel(model, optim.Adam(model, network.LR), comm)
    supply = itertools.cycle(network.batches(rows, seed=1 + comm.rank))

    def step() -> None:
        x, labels = next(supply)
        parallel.zero_grad()
        loss = ops.cross_entropy(model(x), labels, reduction="sum")
        parallel.backward(loss, 1 / (comm.size * rows))
        sums = np.array([0.0, loss.item()])
        comm.all_reduce(sums)
        parallel.step()

    return parallel, step


def main(rows: str, rounds: str) -> None:
    """Take part in the job; seconds a step of each contestant, and of a hash check."""
    comm = world()
    trace = Trace(comm)
    parallel, plain = trained(comm, int(rows))
    steps = {
        "plain": plain,
        "checked": trained(CheckedCommunicator(comm), int(rows))[1],
        "traced": trained(trace.wrap(comm), int(rows))[1],
    }
    found = []
    for _ in range(WARM_UP + int(rounds)):
        one = {name: _seconds(comm, step, STEPS) for name, step in steps.items()}
        one["hash"] = _seconds(comm, parallel.check_replicas, STEPS)
        found.append(one)
        trace.events.clear()
    if comm.rank == 0:
        print(json.dumps(found[WARM_UP:]), flush=True)


def _seconds(comm: Communicator, work: Step, times: int) -> float:
    comm.barrier()
    began = time.perf_counter()
    for _ in range(times):
        work()
    comm.barrier()
    return (time.perf_counter() - began) / times


if __name__ == "__main__":
    main(*sys.argv[1:])
