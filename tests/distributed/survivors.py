"""Ranks that are killed, and what the others make of it: ``survivors.py BODY VICTIMS WHEN``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import numpy as np
import tiny

from minigrad import Tensor
from minigrad.data import DataLoader
from minigrad.distributed import (
    Communicator,
    DataParallel,
    NeighbourCopy,
    RanksLost,
    SerialCommunicator,
    elastic_world,
    outlive,
)
from minigrad.train import Callback, Replica, Run, fit

SAMPLES, VICTIMS = 29, 0


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Dies(Callback):
    """The end of this process, at a step or when the second epoch is over."""

    def __init__(self, step: int, epoch: int) -> None:
        self.step, self.epoch = step, epoch

    def on_step(self, run: Run) -> None:
        if run.optimizer.steps == self.step:
            killed()

    def on_epoch(self, run: Run) -> None:
        if run.epoch == self.epoch:
            killed()


def trained(
    comm: Communicator,
    replica: Replica,
    callbacks: list[Callback],
    before_loss: Callable[[int], None],
) -> Run:
    """A run whose records count how often each sample was used: it is in the sums that go with
    an update, or not, as a whole. Sample i has the label class + CLASSES i."""
    model = tiny.network(batch_norm=True, dropout=0.3)
    optimizer = tiny.OPTIMIZERS["adam"](model)
    parallel = DataParallel(model, optimizer, comm, bucket_bytes=64)
    x, y = tiny.data(SAMPLES)
    data = DataLoader(
        x, y + tiny.CLASSES * np.arange(SAMPLES), batch_size=8, rank=comm.rank, size=comm.size
    )

    def loss(outputs: Tensor, labels: np.ndarray) -> Tensor:
        before_loss(optimizer.steps)
        return tiny.LOSS(outputs, labels % tiny.CLASSES)

    def times(sample: int) -> Callable[[Tensor, np.ndarray], float]:
        return lambda outputs, labels: float((labels // tiny.CLASSES == sample).sum())

    return fit(
        parallel, loss, data, epochs=4, validation=tiny.data(9, seed=6), clip_norm=0.5,
        metrics={f"sample {i}": times(i) for i in range(SAMPLES)}, micro_batches=2,
        check_every=2, callbacks=[*callbacks, replica], resume=replica.resume(parallel),
    )  # fmt: skip


def training(world: Communicator, turn: int, when: str) -> None:
    """``turn``: which of the victims this rank is, or -1."""
    dies = turn >= 0
    replica = Replica()
    step = {"update": 6, "in turn": (3, 10)[turn % 2]}.get(when, -1)
    callbacks: list[Callback] = [Dies(step, 2 if when == "epoch" else -1)] * dies

    def before_loss(steps: int) -> None:
        if dies and when == "forward" and steps == 5:
            killed()

    def work(comm: Communicator) -> Run:
        run = trained(comm, replica, callbacks, before_loss)
        if dies and when == "after":
            killed()
        comm.barrier()
        return run

    run = outlive(world, work)
    alone = trained(SerialCommunicator(), Replica(), [], lambda steps: None)
    tiny.same(run, alone, 1e-10)
    for record in run.history:
        np.testing.assert_allclose([record[f"sample {i}"] * SAMPLES for i in range(SAMPLES)], 1)
        assert 0 < record["samples_per_s"] < 1e6
    print(f"{world.rank} is {run.comm.rank} of {run.comm.size} and holds what one process has")


def shards(world: Communicator, turn: int, when: str) -> None:
    """A vector whose parts are counted up, each on its rank; a victim goes before the sixth."""
    copies = NeighbourCopy(world)
    mine = np.arange(3.0 + world.rank) * 10**world.rank

    def work(comm: Communicator) -> tuple[int, list[np.ndarray]]:
        if comm is not world:
            return copies.restore(comm)
        for step in range(1, 10):
            world.barrier()
            if turn >= 0 and step == 6:
                killed()
            copies.keep(step, mine + step)
        raise AssertionError("nobody was killed")

    step, found = outlive(world, work)
    assert step == 5
    for rank, shard in enumerate(found):
        np.testing.assert_array_equal(shard, np.arange(3.0 + rank) * 10**rank + 5)
    assert len(found) == world.size
    print(f"{world.rank} holds all shards")


def failing(world: Communicator, turn: int, when: str) -> None:
    """What is no loss of ranks ends the job."""

    def work(comm: Communicator) -> None:
        try:
            for step in range(10):
                if turn >= 0 and step == 5:
                    if when == "exit":
                        sys.exit(0)
                    raise ValueError("boom")
                comm.all_reduce(np.ones(100))
        except RanksLost:
            print("unexpected")

    outlive(world, work)
    print("came to the end")


if __name__ == "__main__":
    body, victims, when = sys.argv[1:]
    world = elastic_world()
    of = [int(rank) for rank in victims.split(",")]
    turn = of.index(world.rank) if world.rank in of else -1
    {"training": training, "shards": shards, "failing": failing}[body](world, turn, when)
