"""The communicator whose collectives run by a schedule instead of by MPI's own code."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.distributed.algorithms.catalogue import ALGORITHMS, schedule
from minigrad.distributed.algorithms.run import Part, Runner, part_of
from minigrad.distributed.algorithms.schedule import Collective
from minigrad.distributed.call import Call, Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.serial import Wrapper
from minigrad.errors import unknown
from minigrad.shares import shares

__all__ = ["WrittenOut"]


class WrittenOut(Wrapper):
    """``inner`` with all-reduce, reduce-scatter and gather by ``algorithm``, one of
    :data:`~minigrad.distributed.algorithms.ALGORITHMS`; all else is left to ``inner``.

    All ranks get the same bits. With "ordered" and "root" each sum is x₀ + x₁ + … from the left,
    whatever the array's length, the element's place or the counts, so that a reduce-scatter agrees
    with an all-reduce in every bit; with "doubling", "tree" and "rabenseifner" it does too, in
    another order. What is started goes on while this communicator is waited for, in any order.
    ``node`` names the node of this rank, for "hierarchical"; by default it is the host's name. All
    ranks make it together.
    """

    def __init__(
        self, inner: Communicator, algorithm: str = "ring", node: str | None = None
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise unknown("algorithm", algorithm, ALGORITHMS)
        super().__init__(inner)
        self.algorithm = algorithm
        self.node = socket.gethostname() if node is None else node
        self.nodes = (0,) * inner.size
        """The node of each rank, named by its first rank."""
        if algorithm == "hierarchical":
            names = inner.all_gather_text(self.node)
            self.nodes = tuple(map(names.index, names))
        self._runner = Runner(inner.duplicate())
        self._running: deque[_Running] = deque()
        self._part = lru_cache(maxsize=256)(self._plan)

    def _plan(self, collective: Collective, counts: tuple[int, ...]) -> Part:
        return part_of(self.rank, schedule(self.algorithm, collective, counts, self.nodes))

    def _wrap(self, inner: Communicator) -> Communicator:
        return WrittenOut(inner, self.algorithm, self.node)

    def _start(self, call: Call) -> Request:
        if call.kind not in _RUN:
            return self.inner._start(call)
        request = _Running(self._running, _RUN[call.kind](self, call))
        if call.blocking:
            request.wait()
        return request

    def _all_reduce(self, call: Call) -> Iterator[Request]:
        array = call.array.reshape(-1)
        total = _summable(array, call.op)
        part = self._part("all_reduce", shares(array.size, self.size))
        yield from self._runner.run(part, total, call.op)
        if total is not array:
            _round_into(array, total)

    def _reduce_scatter(self, call: Call) -> Iterator[Request]:
        total = _summable(call.array, call.op)
        room = self._runner.take(total.size, total)
        room[: total.size] = total  # what came in is left as it was
        part = self._part("reduce_scatter", call.counts)
        yield from self._runner.run(part, room[: total.size], call.op)
        _round_into(call.out, room[call.part(self.rank)])
        self._runner.give(room)

    def _gather_into(self, call: Call) -> Iterator[Request]:
        return self._runner.run(self._part("gather_into", call.counts), call.array)


_RUN: dict[str, Callable[[WrittenOut, Call], Iterator[Request]]] = {
    "all_reduce": WrittenOut._all_reduce,
    "reduce_scatter": WrittenOut._reduce_scatter,
    "gather_into": WrittenOut._gather_into,
}


class _Running(Request):
    """A schedule under way. It goes on while somebody waits for it, or asks if it is done; those
    begun before it go first, in one order on all ranks, so that ranks may wait in any order."""

    def __init__(self, running: deque[_Running], work: Iterator[Request]) -> None:
        self._running = running
        self._work = work
        self._next: Request | None = None
        running.append(self)
        self._go_on()

    def wait(self) -> None:
        while self._next is not None:
            first = self._running[0]
            if first._next is not None:
                first._next.wait()
            first._go_on()

    def done(self) -> bool:
        while self._next is not None:
            first = self._running[0]
            if first._next is not None and not first._next.done():
                return False
            first._go_on()
        return True

    def _go_on(self) -> None:
        self._next = next(self._work, None)
        if self._next is None:
            self._running.remove(self)


def _summable(array: Array, op: str) -> Array:
    """float16 is summed in float32 and rounded once."""
    half = op == "sum" and array.dtype == np.float16
    return array.astype(array_module(array).float32) if half else array


def _round_into(out: Array, total: Array) -> None:
    with np.errstate(over="ignore"):
        out[...] = total
