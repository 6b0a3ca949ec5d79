"""How the ranks' gradients become their sum: three ways that a reader can compare (D3 §3.1.2).

:class:`Naive` sends every parameter by itself, :class:`Flat` all of them at once, after backward;
:class:`Bucketed` sends a stretch of the arena as soon as backward has filled it, while backward
goes on. The sums are the same.
"""

from __future__ import annotations

import abc
from typing import NamedTuple, Protocol

from minigrad.arena import Arena, Span
from minigrad.autograd import Leaf
from minigrad.backend import Array
from minigrad.distributed.call import Request
from minigrad.distributed.communicator import Communicator
from minigrad.optim import Optimizer

__all__ = ["Bucket", "Bucketed", "Compression", "Flat", "Naive", "Reducer", "buckets_of"]


class Reducer(abc.ABC):
    """Sums gradients over the ranks of ``comm``, which all hold the same parameters."""

    every_backward = False
    """Whether accumulated micro-batches are sent one by one; else only the last backward's sums."""
    scale = 1.0
    """What the update multiplies the gradients by."""
    over: Communicator | None = None
    """The ranks whose gradients make the norm together; ``None`` where each has all of them."""
    replicas_equal = True
    """Whether all ranks hold the same parameters now, as they do but between averagings."""

    def __repr__(self) -> str:
        """The same on ranks that will make the same calls."""
        return type(self).__name__

    def attach(self, comm: Communicator, optimizer: Optimizer) -> None:
        """Called once, before the first step, by all ranks."""
        self.comm, self.optimizer = comm, optimizer

    def begin(self) -> None:  # noqa: B027
        """A backward whose gradients will be sent is about to run."""

    @abc.abstractmethod
    def finish(self) -> None:
        """It has run; return when the sums are there."""

    def updated(self) -> None:  # noqa: B027
        """The optimizer has made its step."""

    def synchronise(self) -> None:  # noqa: B027
        """Make all ranks' parameters the same, where they need not be; called by all ranks."""

    def gradients(self, arena: int) -> tuple[Array, int]:
        """The summed gradients that this rank answers for, and where in the arena they begin."""
        return self.optimizer.arenas[arena].grad, 0

    def abandon(self) -> None:  # noqa: B027
        """The backward that had begun has failed."""

    def whole(self, arena: int, part: Array) -> Array:
        """All ranks' parts of a buffer of optimizer state, put together."""
        return part


class Naive(Reducer):
    """One blocking all-reduce for each parameter."""

    def finish(self) -> None:
        for arena in self.optimizer.arenas:
            for span in arena.spans:
                self.comm.all_reduce(arena.grad[span.start : span.stop])


class Flat(Reducer):
    """One blocking all-reduce for all gradients: as few messages as can be."""

    def finish(self) -> None:
        for arena in self.optimizer.arenas:
            self.comm.all_reduce(arena.grad)


class Bucket(NamedTuple):
    """A stretch of an arena whose gradients are sent together."""

    arena: int
    spans: list[Span]

    @property
    def part(self) -> slice:
        """Where in the arena it lies."""
        return slice(self.spans[0].start, self.spans[-1].stop)


class Compression(Protocol):
    """A way to send less: see :mod:`minigrad.distributed.compression`."""

    def start(self, comm: Communicator, bucket: Bucket, gradient: Array) -> Request:
        """Begin to replace ``gradient`` (n,), a bucket's, by about its sum over the ranks."""


def buckets_of(arena: Arena, bucket_bytes: int) -> list[list[Span]]:
    """The arena's spans in runs of at most ``bucket_bytes`` (or one span, if that is larger)."""
    limit = max(1, bucket_bytes // arena.data.itemsize)
    buckets: list[list[Span]] = []
    for span in arena.spans:
        if buckets and span.stop - buckets[-1][0].start <= limit:
            buckets[-1].append(span)
        else:
            buckets.append([span])
    return buckets


class Bucketed(Reducer):
    """A sum for each bucket of about ``bucket_bytes``, begun when the bucket is full on this rank.

    All ranks start the buckets in the order of their index, on a communicator of their own, so
    that layers which communicate cannot come between. ``compression`` sends less than the
    gradients themselves.
    """

    def __init__(self, bucket_bytes: int = 1 << 20, compression: Compression | None = None) -> None:
        self.bucket_bytes = bucket_bytes
        self.compression = compression
        self.buckets: list[Bucket] = []
        self._requests: list[Request] = []
        self._missing: list[int] = []
        self._armed = False

    def __repr__(self) -> str:
        sent = "" if self.compression is None else f", {self.compression!r}"
        return f"{type(self).__name__}({self.bucket_bytes}{sent})"

    def attach(self, comm: Communicator, optimizer: Optimizer) -> None:
        super().attach(comm, optimizer)
        self._bucket_comm = comm.duplicate()
        for number, arena in enumerate(optimizer.arenas):
            for spans in buckets_of(arena, self.bucket_bytes):
                self._watch(arena, len(self.buckets), spans)
                self.buckets.append(Bucket(number, spans))
        self.prepare()

    def abandon(self) -> None:
        self._armed = False

    def begin(self) -> None:
        for request in self._requests:  # of a backward that failed
            request.wait()
        self._missing = [len(bucket.spans) for bucket in self.buckets]
        self._requests = []
        self._armed = True

    def finish(self) -> None:
        self._armed = False
        self._start_full_buckets(unused=True)
        for request in self._requests:
            request.wait()

    def prepare(self) -> None:
        """The buckets are known. Their gradients are looked up once: while backward runs, whoever
        asks an arena for its gradients makes it add where it could have written."""
        arenas = self.optimizer.arenas
        self._gradients = [arenas[bucket.arena].grad[bucket.part] for bucket in self.buckets]

    def start(self, index: int) -> Request:
        """Begin to sum bucket ``index``, which is full."""
        gradient = self._gradients[index]
        if self.compression is not None:
            return self.compression.start(self._bucket_comm, self.buckets[index], gradient)
        return self._bucket_comm.start_all_reduce(gradient)

    def arrived(self, index: int, span: Span, leaf: Leaf) -> None:
        """The gradient of one of bucket ``index``'s parameters is complete."""

    def _watch(self, arena: Arena, index: int, spans: list[Span]) -> None:
        for span in spans:

            def ready(leaf: Leaf, span: Span = span) -> None:
                if self._armed:
                    self.arrived(index, span, leaf)
                    self._missing[index] -= 1
                    self._start_full_buckets()

            arena.leaves[span.name].on_ready = ready

    def _start_full_buckets(self, unused: bool = False) -> None:
        """Start the next buckets in order, as long as they are full; ``unused``: all that are
        left, for parameters that this backward did not reach."""
        while len(self._requests) < len(self.buckets) and (
            unused or self._missing[len(self._requests)] == 0
        ):
            self._requests.append(self.start(len(self._requests)))
