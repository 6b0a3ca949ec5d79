"""What several demos share: a problem, counted communication, times, colours."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from minigrad import nn, ops
from minigrad.autograd import Tensor, no_grad
from minigrad.data import Dataset, load
from minigrad.distributed import Call, Communicator, MPICommunicator, Request, Wrapper

__all__ = [
    "COLOURS", "Counted", "cost", "digits", "judge", "library", "network", "seconds", "table",
    "tell", "worst",
]  # fmt: skip

COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999",
)  # fmt: skip
"""Those of Okabe and Ito, which people with any colour vision can tell apart."""


def tell(comm: Communicator, *lines: str) -> None:
    """Print on rank 0."""
    if comm.rank == 0:
        print("\n".join(lines))


def table(*rows: tuple[object, ...]) -> str:
    """Rows of words in columns, the first one to the left, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in cells
    )


def library(comm: Communicator) -> str:
    """Whose collectives ``comm`` has when nothing is written out."""
    return "MPI" if isinstance(comm, MPICommunicator) else "threads"


def digits() -> Dataset:
    """Pictures of digits, 1,437 to train on and 360 to test, in float64."""
    return load("digits", dtype="float64")


def network(*sizes: int, dtype: str = "float64", tanh: bool = False) -> nn.Sequential:
    """Dense layers of these sizes with an activation between them; on all ranks the same."""
    rng = np.random.default_rng(0)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [
            nn.Dense(inputs, outputs, rng=rng, dtype=dtype),
            nn.Tanh() if tanh else nn.ReLU(),
        ]
    return nn.Sequential(*layers[:-1])


def cost(outputs: Tensor, part: Any) -> Tensor:
    """This rank's losses, summed."""
    return ops.cross_entropy(outputs, part.y, reduction="sum")


def judge(model: nn.Module, data: Dataset) -> tuple[float, float]:
    """The mean loss on the test part, and the share of its samples that are recognised."""
    with no_grad():
        outputs = model(data.x_test)
        loss = ops.cross_entropy(outputs, data.y_test).item()
    return loss, float((outputs.data.argmax(axis=-1) == data.y_test).mean())


def worst(comm: Communicator, one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two arrays, on any rank."""
    found = np.array([np.abs(one - other).max(initial=0.0)], np.float64)
    comm.all_reduce(found, "max")
    return float(found[0])


def seconds(comm: Communicator, work: Callable[[], object], budget: float = 0.1) -> float:
    """How long the quickest of several calls takes, of 3 at least, on the slowest rank."""
    times: list[float] = []
    first = np.zeros(1)
    for number in range(52):
        comm.barrier()
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
        if number == 1:  # the first may have to open connections
            first[0] = times[1]
            comm.all_reduce(first, "max")
        if number > 2 and number > budget / first[0]:
            break
    slowest = np.array(times[1:])
    comm.all_reduce(slowest, "max")
    return float(slowest.min())


class Counted(Wrapper):
    """``inner``, and what is split off it, with this rank's calls and bytes counted.

    ``calls`` are by kind, ``sent`` is in bytes: of a collective, what each rank sends on average
    in the way that sends least, such as a ring.
    """

    def __init__(self, inner: Communicator, calls: Counter[str] | None = None) -> None:
        super().__init__(inner)
        self.calls: Counter[str] = Counter() if calls is None else calls

    @property
    def sent(self) -> int:
        """Bytes that this rank has sent so far."""
        return self.calls["bytes"]

    def _start(self, call: Call) -> Request:
        self.calls[call.kind] += 1
        self.calls["bytes"] += round(_SENDS.get(call.kind, 0.0) * self._passed_on(call))
        return self.inner._start(call)

    def _passed_on(self, call: Call) -> float:
        """The bytes of ``call`` that concern other ranks."""
        return call.nbytes if call.kind == "send" else call.nbytes * (self.size - 1) / self.size

    def _wrap(self, inner: Communicator) -> Communicator:
        return Counted(inner, self.calls)


_SENDS = {
    "all_reduce": 2.0, "all_to_all": 1.0, "broadcast": 1.0, "gather_into": 1.0,
    "reduce_scatter": 1.0, "send": 1.0,
}  # fmt: skip
