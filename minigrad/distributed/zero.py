"""ZeRO: what data parallelism holds p times, divided among the p ranks (Rajbhandari et al. 2020).

Every rank has one slice of each arena. The gradients' sum over the ranks arrives as that slice
alone (reduce-scatter), the optimizer updates it with state of that length, and the ranks tell
each other the new parameters (all-gather): as many bytes as an all-reduce takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from minigrad.arena import Arena, Span
from minigrad.autograd import Leaf
from minigrad.backend import Array, aligned_zeros, array_module
from minigrad.distributed.call import Request
from minigrad.distributed.reducers import Bucketed
from minigrad.errors import InputError
from minigrad.optim.executor import Owned
from minigrad.shares import shares

__all__ = ["ZeRO", "slices_of"]


def slices_of(arena: Arena, ranks: int, *, whole_spans: bool = False) -> list[slice]:
    """Each rank's slice of an arena, as equal as can be; with ``whole_spans`` no parameter is cut,
    as optimizers need that look at whole tensors."""
    ends = list(itertools.accumulate(shares(len(arena), ranks)))
    if whole_spans:
        stops = [0, *(span.stop for span in arena.spans)]
        ends = [min(stops, key=lambda stop: (abs(stop - end), stop)) for end in ends]
        ends[-1] = len(arena)
    return [slice(start, stop) for start, stop in itertools.pairwise([0, *ends])]


class ZeRO(Bucketed):
    """Stage 1 divides the optimizer's state, stage 2 the gradients too.

    For optimizers that treat each element by itself the parameters are, bit for bit, those of
    undivided training, as long as the communicator adds up in the same order (on two ranks and on
    threads always; elsewhere through the algorithm "ordered"), and no clipping by norm is active,
    whose sum of squares is taken in another order. Stage 2 keeps a gradient only until its bucket
    is sent; so accumulated micro-batches are sent one by one, and their sums added up here.
    """

    def __init__(self, stage: int = 1, bucket_bytes: int = 1 << 20) -> None:
        if stage not in (1, 2):
            raise InputError(f"ZeRO has stages 1 and 2 here, and {stage} was asked for")
        super().__init__(bucket_bytes)
        self.stage = stage
        self.every_backward = stage == 2

    def __repr__(self) -> str:
        return f"ZeRO({self.stage}, {self.bucket_bytes})"

    def prepare(self) -> None:
        optimizer, rank = self.optimizer, self.comm.rank
        self.slices = [
            slices_of(arena, self.comm.size, whole_spans=optimizer.per_span)
            for arena in optimizer.arenas
        ]
        self.owned = [
            Owned(slices[rank], zeros_for(arena, slices[rank]))
            for arena, slices in zip(optimizer.arenas, self.slices)
        ]
        optimizer.own(self.owned)
        self.over = self.comm
        self._zeroed = -1
        self._filling: dict[int, Array] = {}
        if self.stage == 1:
            super().prepare()
        else:
            for arena in optimizer.arenas:
                arena.release_grad()

    def begin(self) -> None:
        if self.stage == 2 and (zeroed := self.optimizer.arenas[0].zeroed) != self._zeroed:
            self._zeroed = zeroed  # a new step; else a further micro-batch
            for own in self.owned:
                own.g.fill(0)
        super().begin()

    def start(self, index: int) -> Request:
        bucket = self.buckets[index]
        counts = [overlap(bucket.part, part) for part in self.slices[bucket.arena]]
        mine = self.owned[bucket.arena]
        start = max(0, bucket.part.start - mine.part.start)
        into = mine.g[start : start + counts[self.comm.rank]]
        if self.stage == 1:
            gradient = self._gradients[index]
            return self._bucket_comm.start_reduce_scatter(gradient, into, counts=counts)
        if index > 1:
            self._requests[index - 2].wait()  # so that only two buckets are under way
        gradient, out = self._bucket(index), array_module(into).empty_like(into)
        del self._filling[index]
        request = self._bucket_comm.start_reduce_scatter(gradient, out, counts=counts)
        return _Adding(request, into, out, gradient)

    def arrived(self, index: int, span: Span, leaf: Leaf) -> None:
        if self.stage == 2 and leaf.buffer is not None:
            start = span.start - self.buckets[index].part.start
            self._bucket(index)[start : start + leaf.buffer.size] = leaf.buffer.reshape(-1)
            leaf.buffer = None

    def updated(self) -> None:
        requests = [
            self.comm.start_gather_into(arena.data, lengths(slices))
            for arena, slices in zip(self.optimizer.arenas, self.slices)
        ]
        for request in requests:
            request.wait()

    def gradients(self, arena: int) -> tuple[Array, int]:
        return self.owned[arena].g, self.owned[arena].part.start

    def whole(self, arena: int, part: Array) -> Array:
        full = array_module(part).zeros(len(self.optimizer.arenas[arena]), part.dtype)
        full[self.owned[arena].part] = part
        self.comm.gather_into(full, lengths(self.slices[arena]))
        return full

    def _bucket(self, index: int) -> Array:
        """Stage 2: the bucket's gradients, made when its first one arrives."""
        if index not in self._filling:
            bucket = self.buckets[index]
            arena = self.optimizer.arenas[bucket.arena]
            self._filling[index] = zeros_for(arena, bucket.part)
        return self._filling[index]


class _Adding(Request):
    """A reduce-scatter whose result is added to what earlier micro-batches left. What it held
    until it was sent, it lets go."""

    def __init__(self, request: Request, into: Array, out: Array, sent: Array) -> None:
        self._into = into
        self._held: tuple[Request, Array, Array] | None = (request, out, sent)

    def wait(self) -> None:
        if self._held is not None:
            request, out, _ = self._held
            request.wait()
            self._into += out
            self._held = None

    def done(self) -> bool:
        return self._held is None or self._held[0].done()


def overlap(one: slice, other: slice) -> int:
    """How many places two slices share."""
    return len(range(max(one.start, other.start), min(one.stop, other.stop)))


def lengths(slices: Sequence[slice]) -> list[int]:
    """How many places each slice has."""
    return [part.stop - part.start for part in slices]


def zeros_for(arena: Arena, part: slice) -> Array:
    """Zeros of an arena's kind, as many as ``part`` has places."""
    return aligned_zeros(array_module(arena.data), part.stop - part.start, arena.data.dtype)
