"""Data parallelism: every rank holds the whole model and a share of the batch (D3 §3.1.2).

The gradient is the *sum* over all samples of all ranks, divided by their number: the caller
divides by the global number, and here the ranks' gradients are added. N ranks then equal one
process on the same batch, for uneven shares too; the mean of the ranks' means would not.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping

from minigrad.arena import Arena, Span
from minigrad.autograd import Leaf, Tensor
from minigrad.backend import Array, to_numpy
from minigrad.distributed.call import Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.host import launched_ranks
from minigrad.distributed.serial import SerialCommunicator
from minigrad.errors import InputError, SharedError
from minigrad.nn import Context, Module
from minigrad.optim import GradientNorm, Optimizer

__all__ = ["DataParallel", "ReplicasDiffer", "buckets_of"]


class ReplicasDiffer(RuntimeError):
    """The ranks' copies of the model are no longer the same; the message says where."""


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


class DataParallel:
    """How the ranks of ``comm`` share a training step; with one rank, the plain step.

    ``comm`` is :func:`minigrad.distributed.world` where a launcher may have started several ranks;
    without one it is this process alone.
    Rank 0's weights and buffers are sent to all. In :meth:`backward` a bucket's sum over the
    ranks starts as soon as the bucket is full, while backward goes on; all ranks start the buckets
    in the order of their index, on a communicator of their own, so that layers which communicate
    cannot come between. Raises :class:`SharedError` where the ranks' models differ in names,
    shapes, dtypes, or in what is trained.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        comm: Communicator | None = None,
        *,
        bucket_bytes: int = 1 << 20,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        if comm is None and launched_ranks(os.environ) != 1:
            raise InputError(
                "DataParallel was given no communicator, but several ranks were started, and each "
                "would train a model of its own: pass comm=minigrad.distributed.world()"
            )
        self.comm = SerialCommunicator() if comm is None else comm
        self.context = Context(self.comm)
        model.attach(self.context)
        self._norm: GradientNorm | None = None
        self._buckets: list[Array] = []
        self._expected: list[int] = []  # of each bucket: how many gradients it waits for
        self._missing: list[int] = []
        self._requests: list[Request] = []
        self._armed = False
        self._reduced = -1  # which zero_grad the gradients that were summed last belong to
        if self.comm.size > 1:
            self._bucket_comm = self.comm.duplicate()
            self._agree_on_the_model()
            self._agree_on_the_update()
            self._send_from_rank_0()
            for arena in optimizer.arenas:
                for spans in buckets_of(arena, bucket_bytes):
                    self._watch(arena, spans)

    # --- a step -----------------------------------------------------------------------------------

    def zero_grad(self) -> None:
        """Begin a step: write zeros to all gradients."""
        self.optimizer.zero_grad()

    def backward(self, loss: Tensor, gradient: float = 1.0, *, last: bool = True) -> None:
        """``loss.backward(gradient)``, then the gradients' sum over all ranks.

        ``loss`` is this rank's sum over its samples, ``gradient`` one over the global number of
        samples. With accumulation pass ``last=False`` for all micro-batches but the last: those
        only add to this rank's gradients, and nothing is sent. After the last, the next
        ``backward`` needs a :meth:`zero_grad` first, or the sums would be summed again.
        """
        if self.comm.size == 1:
            loss.backward(gradient)
            return
        zeroed = self.optimizer.arenas[0].zeroed
        if zeroed == self._reduced:
            raise InputError(
                "these gradients are summed over the ranks already, and would be counted again: "
                "call zero_grad() first, or pass last=False to all but the last backward of a step"
            )
        if not last:
            loss.backward(gradient)
            return
        self._missing = list(self._expected)
        self._requests = []
        self._armed = True
        try:
            loss.backward(gradient)
            self._start_full_buckets(unused=True)
            for request in self._requests:
                request.wait()
        finally:
            self._armed = False
        self._reduced = zeroed

    def norm(self, limit: float | None = None) -> GradientNorm:
        """The global norm of the gradient, measured now; nothing waits until it is read."""
        if self._norm is None or self._norm.limit != (math.inf if limit is None else limit):
            self._norm = GradientNorm(self.optimizer.arenas, limit)
        return self._norm.measure()

    def step(self, norm: GradientNorm | None = None) -> None:
        """Update the parameters, with the gradient clipped to the norm's limit; a gradient that is
        not finite updates nothing."""
        self.optimizer.step(norm=norm)

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """What a checkpoint holds, ``model/…`` and ``optimizer/…``; called by all ranks."""
        model, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        return {f"model/{name}": array for name, array in model.items()} | {
            f"optimizer/{name}": array for name, array in optimizer.items()
        }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over what :meth:`state_dict` gave; nothing is changed where anything misfits."""
        parts: dict[str, dict[str, Array]] = {"model": {}, "optimizer": {}}
        for name, array in state.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = array
        before = {name: array.copy() for name, array in self.model.state_dict().items()}
        self.model.load_state_dict(parts["model"])
        try:
            self.optimizer.load_state_dict(parts["optimizer"])
        except InputError:
            self.model.load_state_dict(before)
            raise

    def check_replicas(self) -> None:
        """Compare a hash of all weights and buffers over the ranks; all raise if they differ."""
        if self.comm.size == 1:
            return
        state = self.model.state_dict()
        if len(set(self.comm.all_gather_text(_digest(*state.values())))) == 1:
            return
        mine = "\n".join(f"{name} {_digest(array)}" for name, array in state.items())
        theirs = [text.split("\n") for text in self.comm.all_gather_text(mine)]
        found = [
            f"'{line.split()[0]}' on rank {rank}"
            for rank, lines in enumerate(theirs)
            for line, first in zip(lines, theirs[0], strict=True)
            if line != first
        ]
        raise ReplicasDiffer(
            f"the replicas have drifted apart: compared with rank 0, different numbers in "
            f"{', '.join(found)}; something changed them on one rank only"
        )

    # --- the ranks --------------------------------------------------------------------------------

    def _agree_on_the_model(self) -> None:
        spans = [span for arena in self.optimizer.arenas for span in arena.spans]
        mine = "\n".join(
            [f"{name} {a.dtype}{list(a.shape)}" for name, a in self.model.state_dict().items()]
            + [f"{span.name} is trained" for span in spans]
        )
        texts = self.comm.all_gather_text(mine)
        for rank, text in enumerate(texts):
            if text != texts[0]:
                only = "; ".join(sorted(set(text.split("\n")) ^ set(texts[0].split("\n"))))
                raise SharedError(
                    f"rank {rank} built another model than rank 0: they differ in "
                    f"{only or 'the order of parameters'}; all ranks must build the same one"
                )

    def _agree_on_the_update(self) -> None:
        forms = self.comm.all_gather_text(self.optimizer.form)
        for rank, form in enumerate(forms):
            if form != forms[0]:
                raise SharedError(
                    f"rank {rank} updates in the form '{form}', rank 0 in '{forms[0]}', and in the "
                    "last bits they would drift apart: 'minigrad doctor', run on both machines, "
                    "says why; or give every rank's optimizer form='in_place'"
                )

    def _send_from_rank_0(self) -> None:
        for arena in self.optimizer.arenas:
            self.comm.broadcast(arena.data)
            arena.touch()
        inside = {name for arena in self.optimizer.arenas for name in arena.leaves}
        for name, array in self.model.state_dict().items():
            if name not in inside:
                whole = array.copy()  # contiguous, which what is frozen need not be
                self.comm.broadcast(whole)
                array[...] = whole

    def _watch(self, arena: Arena, spans: list[Span]) -> None:
        index = len(self._buckets)
        self._buckets.append(arena.grad[spans[0].start : spans[-1].stop])
        self._expected.append(len(spans))

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
            self._requests.append(self._bucket_comm.start_all_reduce(bucket))


def _digest(*arrays: Array) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for array in arrays:
        hashed.update(to_numpy(array).tobytes())
    return hashed.hexdigest()
