"""The communicator whose collectives run by a schedule instead of by MPI's own code."""

from __future__ import annotations

import socket
from functools import lru_cache

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.distributed.algorithms.catalogue import ALGORITHMS, schedule
from minigrad.distributed.algorithms.run import Part, Runner, part_of
from minigrad.distributed.algorithms.schedule import Collective
from minigrad.distributed.call import Call, Finished, Request
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
    another order. What is started is finished before ``start_…`` returns. ``node`` names the node
    of this rank, for "hierarchical"; by default it is the host's name. All ranks make it together.
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
        self._part = lru_cache(maxsize=256)(self._plan)

    def _plan(self, collective: Collective, counts: tuple[int, ...]) -> Part:
        return part_of(self.rank, schedule(self.algorithm, collective, counts, self.nodes))

    def _wrap(self, inner: Communicator) -> Communicator:
        return WrittenOut(inner, self.algorithm, self.node)

    def _start(self, call: Call) -> Request:
        if call.kind == "all_reduce":
            self._all_reduce(call.array.reshape(-1), call.op)
        elif call.kind == "reduce_scatter":
            self._reduce_scatter(call)
        elif call.kind == "gather_into":
            self._runner.run(self._part("gather_into", call.counts), call.array)
        else:
            return self.inner._start(call)
        return Finished()

    def _all_reduce(self, array: Array, op: str) -> None:
        total = _summable(array, op)
        self._runner.run(self._part("all_reduce", shares(array.size, self.size)), total, op)
        if total is not array:
            _round_into(array, total)

    def _reduce_scatter(self, call: Call) -> None:
        total = _summable(call.array, call.op)
        if total is call.array:
            total = call.array.copy()
        self._runner.run(self._part("reduce_scatter", call.counts), total, call.op)
        _round_into(call.out, total[call.part(self.rank)])


def _summable(array: Array, op: str) -> Array:
    """float16 is summed in float32 and rounded once."""
    half = op == "sum" and array.dtype == np.float16
    return array.astype(array_module(array).float32) if half else array


def _round_into(out: Array, total: Array) -> None:
    with np.errstate(over="ignore"):
        out[...] = total
