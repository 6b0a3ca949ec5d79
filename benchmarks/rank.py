"""One rank of the benchmark ``ranks``: prints a line of JSON with its losses and rounds.

mpiexec -n 2 python -m benchmarks.rank minigrad SIZES ROWS STEPS ROUNDS
python -m benchmarks.rank torch SIZES ROWS STEPS ROUNDS MEETING RANK     (twice)

SIZES are those of the network, 784-128-64-10. In each round every mode has so many STEPS: "alone",
where rank 0 works and the other sleeps, "apart", where both work without talking, and a mode for
each way to sum the gradients.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import network
from benchmarks.harness import optional_torch
from minigrad import ops, optim
from minigrad.distributed import Call, Communicator, MPICommunicator, Request, Wrapper, world
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Bucketed, Flat, Naive, Reducer

ALONE, APART = "alone", "apart"
REDUCERS: dict[str, Callable[[], Reducer]] = {"bucketed": Bucketed, "flat": Flat, "naive": Naive}


@dataclass
class Rank:
    """What both contestants offer: a step in a mode, and a way to wait for the other rank."""

    number: int
    modes: tuple[str, ...]
    step: Callable[[str], float]
    barrier: Callable[[], None]
    clock: Callable[[], float] | None = None  # seconds spent in communication so far


class TimedCommunicator(Wrapper):
    """Counts the time between a rank's entering a part of a collective and its leaving it."""

    seconds = 0.0

    def _start(self, call: Call) -> Request:
        began = time.perf_counter()
        request = self.inner._start(call)
        self.seconds += time.perf_counter() - began
        return _TimedRequest(request, self)

    def _wrap(self, inner: Communicator) -> Communicator:
        return self  # nothing else communicates here, and all of it is to be timed


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


def minigrad_rank(sizes: Sequence[int], rows: int) -> Rank:
    """Under mpiexec: the sum of the losses, divided by the rows of both ranks."""
    comm = world()
    if not isinstance(comm, MPICommunicator) or comm.size != 2:
        raise SystemExit("this needs two ranks, started by mpiexec")
    timed = TimedCommunicator(comm)
    trained = {}
    for mode, reducer in REDUCERS.items():
        model = network.minigrad_model(sizes)
        optimizer = optim.Adam(model, network.LR)
        trained[mode] = model, optimizer, DataParallel(model, optimizer, timed, reducer=reducer())
    supply = itertools.cycle(network.batches(rows, seed=1 + timed.rank))

    def step(mode: str) -> float:
        talk = mode in trained
        model, optimizer, parallel = trained[mode if talk else "bucketed"]
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

    return Rank(timed.rank, tuple(trained), step, barrier, lambda: timed.seconds)


def torch_rank(sizes: Sequence[int], rows: int, meeting: str, number: int) -> Rank:
    """DistributedDataParallel on gloo; it averages, which is the same for equal shares."""
    torch: Any = optional_torch()
    dist = torch.distributed
    dist.init_process_group("gloo", init_method=meeting, rank=number, world_size=2)
    model = torch.nn.parallel.DistributedDataParallel(network.torch_model(torch, sizes))
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

    def step(mode: str) -> float:
        if mode == "DDP":
            loss = compute()
        else:
            with model.no_sync():
                loss = compute()
        optimizer.step()
        return float(loss.item())

    return Rank(number, ("DDP",), step, dist.barrier)


def rounds_of(rank: Rank, steps: int, rounds: int) -> list[dict[str, float]]:
    """Seconds a step in each mode, round by round. From here on the replicas differ."""
    found = []
    for mode_steps in (3, *[steps] * rounds):  # the first round only warms up
        one = {ALONE: _timed(rank, mode_steps, ALONE, works=rank.number == 0)}
        one[APART] = _timed(rank, mode_steps, APART)
        for mode in rank.modes:
            before = rank.clock() if rank.clock else 0.0
            one[mode] = _timed(rank, mode_steps, mode)
            if rank.clock:
                one[f"{mode}, inside"] = (rank.clock() - before) / mode_steps
        found.append(one)
    return found[1:]


def _timed(rank: Rank, steps: int, mode: str, works: bool = True) -> float:
    rank.barrier()
    began = time.perf_counter()
    for _ in range(steps * works):
        rank.step(mode)
    seconds = (time.perf_counter() - began) / steps
    rank.barrier()
    return seconds


def main(framework: str, sizes: str, rows: str, steps: str, rounds: str, *meeting: str) -> None:
    """Take part in the job and print what was found."""
    layers = tuple(map(int, sizes.split("-")))
    if framework == "minigrad":
        rank = minigrad_rank(layers, int(rows))
    else:
        rank = torch_rank(layers, int(rows), meeting[0], int(meeting[1]))
    losses = [rank.step(rank.modes[0]) for _ in range(5)]
    found = rounds_of(rank, int(steps), int(rounds))
    answer = {"rank": rank.number, "modes": rank.modes, "losses": losses, "rounds": found}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
