"""One rank of the benchmark ``ranks``: prints a line of JSON with its losses and rounds.

mpiexec -n 2 python -m benchmarks.rank minigrad ROWS ROUNDS
python -m benchmarks.rank torch ROWS ROUNDS MEETING RANK     (twice)
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import network
from benchmarks.harness import optional_torch
from minigrad import ops, optim
from minigrad.backend import Array
from minigrad.distributed import MPICommunicator, Request, world
from minigrad.distributed.data_parallel import DataParallel

STEPS = 40  # in each mode of a round


@dataclass
class Rank:
    """What both contestants offer: a step that talks or not, and a way to wait for the other."""

    number: int
    step: Callable[[bool], float]
    barrier: Callable[[], None]
    clock: Callable[[], float] | None = None  # seconds spent in communication so far


class TimedCommunicator(MPICommunicator):
    """Counts the time between a rank's entering a part of an all-reduce and its leaving it."""

    seconds = 0.0

    def duplicate(self) -> TimedCommunicator:
        return self  # nothing else communicates here, and all of it is to be timed

    def start_all_reduce(self, array: Array, op: str = "sum") -> Request:
        began = time.perf_counter()
        request = super().start_all_reduce(array, op)
        self.seconds += time.perf_counter() - began
        return _TimedRequest(request, self)


class _TimedRequest(Request):
    def __init__(self, request: Request, comm: TimedCommunicator) -> None:
        self.request = request
        self.comm = comm

    def wait(self) -> None:
        began = time.perf_counter()
        self.request.wait()
        self.comm.seconds += time.perf_counter() - began

    def done(self) -> bool:
        return self.request.done()


def minigrad_rank(rows: int) -> Rank:
    """Under mpiexec: the sum of the losses, divided by the rows of both ranks."""
    comm = world()
    if not isinstance(comm, MPICommunicator) or comm.size != 2:
        raise SystemExit("this needs two ranks, started by mpiexec")
    timed = TimedCommunicator(comm.mpi_comm)
    model = network.minigrad_model()
    optimizer = optim.Adam(model, network.LR)
    parallel = DataParallel(model, optimizer, timed)
    supply = itertools.cycle(network.batches(rows, seed=1 + timed.rank))

    def step(talk: bool) -> float:
        x, labels = next(supply)
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), labels, reduction="sum")
        parallel.backward(loss, 1 / (2 * rows), last=talk)
        optimizer.step()
        return loss.item() / rows

    def barrier() -> None:
        request = comm.mpi_comm.Ibarrier()
        while not request.Test():  # MPI's own waiting would keep a core busy
            time.sleep(1e-3)

    return Rank(timed.rank, step, barrier, lambda: timed.seconds)


def torch_rank(rows: int, meeting: str, number: int) -> Rank:
    """DistributedDataParallel on gloo; it averages, which is the same for equal shares."""
    torch: Any = optional_torch()
    dist = torch.distributed
    dist.init_process_group("gloo", init_method=meeting, rank=number, world_size=2)
    model = torch.nn.parallel.DistributedDataParallel(network.torch_model(torch))
    optimizer = torch.optim.Adam(model.parameters(), lr=network.LR, fused=True)
    data = network.batches(rows, seed=1 + number)
    supply = itertools.cycle([tuple(map(torch.from_numpy, batch)) for batch in data])
    cross_entropy = torch.nn.functional.cross_entropy

    def compute() -> Any:
        x, labels = next(supply)
        optimizer.zero_grad()
        loss = cross_entropy(model(x), labels)
        loss.backward()
        return loss

    def step(talk: bool) -> float:
        if talk:
            loss = compute()
        else:
            with model.no_sync():
                loss = compute()
        optimizer.step()
        return float(loss.item())

    return Rank(number, step, dist.barrier)


def rounds_of(rank: Rank, rounds: int) -> list[dict[str, float]]:
    """Seconds a step in each mode, round by round. From here on the replicas differ."""
    found = []
    for mode_steps in (3, *[STEPS] * rounds):  # the first round only warms up
        alone = _timed(rank, mode_steps, talk=False, works=rank.number == 0)
        apart = _timed(rank, mode_steps, talk=False)
        before = rank.clock() if rank.clock else 0.0
        together = _timed(rank, mode_steps, talk=True)
        one = {"alone": alone, "apart": apart, "together": together}
        if rank.clock:
            one["inside"] = (rank.clock() - before) / mode_steps
        found.append(one)
    return found[1:]


def _timed(rank: Rank, steps: int, talk: bool, works: bool = True) -> float:
    rank.barrier()
    began = time.perf_counter()
    for _ in range(steps * works):
        rank.step(talk)
    seconds = (time.perf_counter() - began) / steps
    rank.barrier()
    return seconds


def main(framework: str, rows: str, rounds: str, *meeting: str) -> None:
    """Take part in the job and print what was found."""
    if framework == "minigrad":
        rank = minigrad_rank(int(rows))
    else:
        rank = torch_rank(int(rows), meeting[0], int(meeting[1]))
    losses = [rank.step(True) for _ in range(5)]
    found = rounds_of(rank, int(rounds))
    print(json.dumps({"rank": rank.number, "losses": losses, "rounds": found}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
