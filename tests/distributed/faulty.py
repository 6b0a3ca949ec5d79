"""A training in which one rank fails: ``faulty.py WHERE RANK``; it says when, on its way."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tiny

from minigrad import nn
from minigrad.autograd import Tensor, op
from minigrad.backend import Array
from minigrad.data import Batch, DataLoader
from minigrad.distributed import DataParallel, world
from minigrad.distributed.host import launched_rank
from minigrad.train import Callback, Run, fit

STEP = 3


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # in one piece, as other ranks write too
    sys.stdout.flush()


def fail(where: str) -> None:
    say(f"failed at {time.time()}")
    if where == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("boom" + " from" + " within")


class Fails(Callback):
    """A failure in one of a callback's methods."""

    def __init__(self, method: str) -> None:
        def method_that_fails(run: Run) -> None:
            if method != "on_step" or run.optimizer.steps == STEP:
                fail("killed" if method == "killed" else "")

        setattr(self, "on_step" if method == "killed" else method, method_that_fails)


class Loader(DataLoader):
    """A file that cannot be read any more, in the middle of the second epoch."""

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        for batch in super().epoch(number, first):
            if (number, batch.index) == (1, 1):
                fail("loader")
            yield batch


class Layer(nn.Module):
    """The identity, whose gradient rule fails at one of the steps."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        steps = iter(range(100))

        def rule(g: Array) -> Array:
            if fails and next(steps) == STEP:
                fail("backward")
            return g

        @op(x=rule)
        def through(xp: Any, x: Array) -> Array:
            return x * 1

        self.through: Callable[[Tensor], Tensor] = through

    def forward(self, x: Tensor) -> Tensor:
        return self.through(x)


def main(where: str, rank: str) -> None:
    mine = launched_rank(os.environ) == int(rank)
    say(f"process {os.getpid()}")
    if mine and where == "before world":
        fail(where)
    comm = world()
    if mine and where == "after world":
        fail(where)
    model = nn.Sequential(tiny.network(), Layer(mine and where == "backward"))
    parallel = DataParallel(model, tiny.OPTIMIZERS["adam"](model), comm, bucket_bytes=64)
    kind = Loader if mine and where == "loader" else DataLoader
    data = kind(*tiny.data(24), batch_size=8, rank=comm.rank, size=comm.size)
    named = where.startswith("on_") or where == "killed"
    fit(parallel, tiny.LOSS, data, epochs=3, callbacks=[Fails(where)] if mine and named else [])
    assert np.isfinite(model.parameters()[0].data).all()
    say("ended well")


if __name__ == "__main__":
    main(*sys.argv[1:])
