"""Data parallelism: every rank holds the whole model and a share of the batch (D3 §3.1.2).

The gradient is the *sum* over all samples of all ranks, divided by their number: the caller
divides by the global number, and here the ranks' gradients are added. N ranks then equal one
process on the same batch, for uneven shares too; the mean of the ranks' means would not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from minigrad.arena import Arena, Span
from minigrad.autograd import Leaf, Tensor
from minigrad.backend import Array, to_numpy
from minigrad.distributed.communicator import Communicator, Request
from minigrad.errors import SharedError
from minigrad.nn import Module

__all__ = ["DataParallel", "ReplicasDiffer", "buckets_of"]


class ReplicasDiffer(RuntimeError):
    """The ranks' copies of the model are no longer the same; the message says where."""


def buckets_of(arena: Arena, bucket_bytes: int) -> list[list[Span]]:
    """The arena's spans in runs of at most ``bucket_bytes`` (or one span, if that is larger)."""
    limit = max(1, bucket_bytes // arena.grad.itemsize)
    buckets: list[list[Span]] = []
    for span in arena.spans:
        if buckets and span.stop - buckets[-1][0].start <= limit:
            buckets[-1].append(span)
        else:
            buckets.append([span])
    return buckets


class DataParallel:
    """Keeps the replicas of ``model`` on all ranks of ``comm`` equal.

    ``arenas`` are those of the optimizer. Rank 0's weights and buffers are sent to all. In
    :meth:`backward` a bucket's sum over the ranks starts as soon as the bucket is full, while
    backward goes on; all ranks start the buckets in the order of their index. Raises
    an error on every rank where the ranks' models differ in names, shapes or dtypes.
    """

    def __init__(
        self,
        model: Module,
        arenas: Sequence[Arena],
        comm: Communicator,
        *,
        bucket_bytes: int = 1 << 20,
    ) -> None:
        self.model = model
        self.arenas = list(arenas)
        self.comm = comm
        model.distribute(comm)
        self._buckets: list[Array] = []
        self._leaves: list[int] = []  # of each bucket: how many gradients it waits for
        if comm.size > 1:
            self._agree_on_the_model()
            self._send_from_rank_0()
            for arena in self.arenas:
                for spans in buckets_of(arena, bucket_bytes):
                    self._watch(arena, spans)
        self._missing: list[int] = []
        self._requests: list[Request] = []
        self._armed = False

    def backward(self, loss: Tensor, gradient: float = 1.0, *, last: bool = True) -> None:
        """``loss.backward(gradient)``, then the gradients' sum over all ranks.

        ``loss`` is this rank's sum over its samples, ``gradient`` one over the global number of
        samples. With accumulation pass ``last=False`` for all micro-batches but the last: those
        only add to this rank's gradients, and nothing is sent.
        """
        if not last or self.comm.size == 1:
            loss.backward(gradient)
            return
        self._missing = list(self._leaves)
        self._requests = []
        self._armed = True
        try:
            loss.backward(gradient)
            self._start_full_buckets(unused=True)
            for request in self._requests:
                request.wait()
        finally:
            self._armed = False
            self._requests = []

    def check_replicas(self) -> None:
        """Compare a hash of all parameters over the ranks; every rank raises where they differ."""
        digests = self.comm.all_gather_text(_digest(*(arena.data for arena in self.arenas)))
        if len(set(digests)) == 1:
            return
        mine = [
            f"{span.name} {_digest(arena.data[span.start : span.stop])}"
            for arena in self.arenas
            for span in arena.spans
        ]
        theirs = [text.split("\n") for text in self.comm.all_gather_text("\n".join(mine))]
        found = [
            f"'{line.split()[0]}' on rank {rank}"
            for rank, lines in enumerate(theirs)
            for line, first in zip(lines, theirs[0], strict=True)
            if line != first
        ]
        raise ReplicasDiffer(
            f"the replicas have drifted apart: compared with rank 0, different numbers in "
            f"{', '.join(found)}; something changed a parameter on one rank only"
        )

    def _agree_on_the_model(self) -> None:
        mine = "\n".join(
            [f"{name} {a.dtype}{list(a.shape)}" for name, a in self.model.state_dict().items()]
            + [f"{span.name} is trained" for arena in self.arenas for span in arena.spans]
        )
        texts = self.comm.all_gather_text(mine)
        for rank, text in enumerate(texts):
            if text != texts[0]:
                only = "; ".join(sorted(set(text.split("\n")) ^ set(texts[0].split("\n"))))
                raise SharedError(
                    f"rank {rank} built another model than rank 0: they differ in "
                    f"{only or 'the order of parameters'}; all ranks must build the same one"
                )

    def _send_from_rank_0(self) -> None:
        inside = {name for arena in self.arenas for name in arena.leaves}
        for arena in self.arenas:
            self.comm.broadcast(arena.data)
            arena.touch()
        for name, array in self.model.state_dict().items():
            if name not in inside:
                whole = array.copy()  # contiguous, which what is frozen need not be
                self.comm.broadcast(whole)
                array[...] = whole

    def _watch(self, arena: Arena, spans: list[Span]) -> None:
        index = len(self._buckets)
        self._buckets.append(arena.grad[spans[0].start : spans[-1].stop])
        self._leaves.append(len(spans))

        def ready(leaf: Leaf) -> None:
            if self._armed:
                self._missing[index] -= 1
                self._start_full_buckets()

        for span in spans:
            arena.leaves[span.name].on_ready = ready

    def _start_full_buckets(self, unused: bool = False) -> None:
        """Start the next buckets in order, as long as they are full; ``unused``: all that are
        left, for parameters that this backward did not reach."""
        while len(self._requests) < len(self._buckets) and (
            unused or self._missing[len(self._requests)] == 0
        ):
            bucket = self._buckets[len(self._requests)]
            self._requests.append(self.comm.start_all_reduce(bucket))


def _digest(*arrays: Any) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for array in arrays:
        hashed.update(to_numpy(array).data)
    return hashed.hexdigest()
