"""One rank of the benchmark ``bandwidth``: trains until it is accurate enough, prints what it took.

mpiexec -n 2 python -m benchmarks.bandwidth_rank VARIANT
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise

import numpy as np

from minigrad import nn, ops, optim
from minigrad.data import DataLoader, load
from minigrad.distributed import Communicator, world
from minigrad.distributed.averaging import LocalSGD
from minigrad.distributed.compression import Float16, PowerSGD, TopK
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Bucketed, Flat, Reducer

__all__ = ["BATCH", "SIZES", "TARGET", "VARIANTS", "train"]

SIZES = (64, 384, 384, 384, 10)
BATCH = 256  # of both ranks
LR = 3e-3
TARGET = 0.95
CHECK_EVERY = 8  # steps; local SGD's models are the same after so many, and only then
MOST_STEPS = 400
BUCKET_BYTES = 1 << 18  # of about one layer


VARIANTS: dict[str, Callable[[], Reducer]] = {
    "flat": Flat,
    "bucketed, overlapped": partial(Bucketed, BUCKET_BYTES),
    "float16": lambda: Bucketed(BUCKET_BYTES, Float16()),
    "top 5%": lambda: Bucketed(BUCKET_BYTES, TopK(0.05)),
    "PowerSGD, rank 4": lambda: Bucketed(BUCKET_BYTES, PowerSGD(4)),
    f"local SGD, every {CHECK_EVERY} steps": partial(LocalSGD, CHECK_EVERY),
}


def network() -> nn.Sequential:
    """The model, dense layers of ``SIZES`` with ReLU between them."""
    rng = np.random.default_rng(0)
    hidden = [nn.Dense(n, m, activation="relu", rng=rng) for n, m in pairwise(SIZES[:-1])]
    return nn.Sequential(*hidden, nn.Dense(*SIZES[-2:], rng=rng))


def train(comm: Communicator, variant: str) -> dict[str, list[float]]:
    """The seconds of each step until ``TARGET``; what the clock does not count is the validation,
    every ``CHECK_EVERY`` steps, and its accuracies."""
    data = load("digits")
    model = network()
    loader = DataLoader(
        data.x_train, data.y_train, batch_size=BATCH, seed=0, rank=comm.rank, size=comm.size
    )
    parallel = DataParallel(model, optim.Adam(model, LR), comm, reducer=VARIANTS[variant]())
    seconds: list[float] = []
    accuracies: list[float] = []
    for epoch in count():
        for batch in loader.epoch(epoch):
            began = time.perf_counter()
            parallel.zero_grad()
            loss = ops.cross_entropy(model(batch.x), batch.y, reduction="sum")
            parallel.backward(loss, 1 / batch.total)
            parallel.step()
            seconds.append(time.perf_counter() - began)
            if len(seconds) % CHECK_EVERY == 0:
                right = model(data.x_test).data.argmax(-1) == data.y_test
                mean = np.array([right.mean()])
                comm.broadcast(mean)
                accuracies.append(float(mean[0]))
                if accuracies[-1] >= TARGET or len(seconds) >= MOST_STEPS:
                    return {"seconds": seconds, "accuracies": accuracies}
                comm.barrier()
    raise AssertionError("unreachable")


if __name__ == "__main__":
    comm = world()
    found = train(comm, sys.argv[1])
    if comm.rank == 0:
        print(json.dumps(found), flush=True)
