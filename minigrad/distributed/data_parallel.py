"""Data parallelism: every rank holds the whole model and a share of the batch (D3 §3.1.2).

The gradient is the *sum* over all samples of all ranks, divided by their number: the caller
divides by the global number, and here the ranks' gradients are added. N ranks then equal one
process on the same batch, for uneven shares too; the mean of the ranks' means would not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from minigrad.autograd import Tensor
from minigrad.backend import Array
from minigrad.distributed.agreement import agree, compare_replicas, refuse_what_does_not_fit
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.host import launched_ranks
from minigrad.distributed.mesh import Mesh
from minigrad.distributed.pipeline import Pipeline
from minigrad.distributed.reducers import Bucketed, Reducer
from minigrad.distributed.serial import SerialCommunicator
from minigrad.distributed.traced import NO_TRACE, Trace
from minigrad.distributed.whole import own_part, put_together, shards_of, undivided
from minigrad.errors import InputError
from minigrad.nn import Context, Module
from minigrad.optim import GradientNorm, Optimizer

__all__ = ["DataParallel", "Part"]


class Part(Protocol):
    """A micro-batch: this rank's rows of it, and the number of the first in the epoch."""

    @property
    def x(self) -> Array:
        """This rank's rows, (count, …)."""

    @property
    def number(self) -> int:
        """The number in the epoch of this rank's first row."""


P = TypeVar("P", bound=Part)


class DataParallel:
    """How the ranks of ``comm`` share a training step; with one rank, the plain step.

    ``comm`` is :func:`minigrad.distributed.world` where a launcher may have started several ranks;
    without one it is this process alone. A :class:`Mesh` has replicas that are themselves shared
    by several ranks: ``model`` is then what :func:`~minigrad.distributed.layout.arrange` gave this
    rank, and the micro-batches of a pipeline go through its stages one behind another.

    Rank 0's weights and buffers are sent to all. ``reducer`` is how gradients become sums over the
    ranks: :class:`Bucketed` by default, of ``bucket_bytes``;
    :class:`~minigrad.distributed.zero.ZeRO` divides the optimizer's state too. ``trace`` records
    forward, backward and update, where ``comm`` is of :meth:`Trace.wrap`. Raises
    :class:`SharedError` where the ranks' models differ in names, shapes, dtypes, or in what is
    trained, where their devices are of different kinds, and where they run different versions.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        comm: Communicator | Mesh | None = None,
        *,
        reducer: Reducer | None = None,
        bucket_bytes: int = 1 << 20,
        trace: Trace = NO_TRACE,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        if comm is None and launched_ranks(os.environ) != 1:
            raise InputError(
                "DataParallel was given no communicator, but several ranks were started, and each "
                "would train a model of its own: pass comm=minigrad.distributed.world()"
            )
        comm = SerialCommunicator() if comm is None else comm
        self.mesh = comm if isinstance(comm, Mesh) else Mesh(comm)
        self.comm, self.replicas = self.mesh.comm, self.mesh.data
        self.context = Context(self.replicas)
        model.attach(self.context)
        self.reducer = Bucketed(bucket_bytes) if reducer is None else reducer
        self.trace = trace
        self._norm: GradientNorm | None = None
        self._steps = optimizer.steps
        self._reduced = -1  # which zero_grad the gradients that were summed last belong to
        refuse_what_does_not_fit(model, optimizer, self.mesh)
        for arena in optimizer.arenas:
            for leaf in arena.leaves.values():
                leaf.on_ready = None  # of a DataParallel before this one
        if self.comm.size > 1:
            agree(model, optimizer, self.mesh, self.reducer)
            self._send_from_rank_0()
        if self.replicas.size > 1:
            self.reducer.attach(self.replicas, optimizer)

    # --- a step -----------------------------------------------------------------------------------

    def run(
        self,
        parts: Sequence[P],
        cost: Callable[[Tensor, P], Tensor],
        gradient: float,
        first: int = 0,
    ) -> None:
        """All gradients of one batch: zeros, then forward and backward of each micro-batch.

        ``cost(outputs, part)`` is the sum of this rank's losses, ``gradient`` one over the number
        of samples in the batch, of all ranks and parts; ``first`` the number of the epoch's first
        sample in the whole training.
        """
        self.zero_grad()
        if isinstance(self.model, Pipeline):
            self._run_pipeline(self.model, parts, cost, gradient, first)
            return
        for part in parts:
            self.context.seek(first + part.number)
            with self.trace.span("forward"):
                loss = cost(self.model(part.x), part)
            self.backward(loss, gradient, last=part is parts[-1])

    def _run_pipeline(
        self,
        pipeline: Pipeline,
        parts: Sequence[P],
        cost: Callable[[Tensor, P], Tensor],
        gradient: float,
        first: int,
    ) -> None:
        def backward(tensor: Tensor, arriving: Array | float, last: bool) -> None:
            self.backward(tensor, gradient if pipeline.is_last else arriving, last=last)

        pipeline.run(
            [part.x for part in parts],
            lambda m, outputs: cost(outputs, parts[m]),
            backward=backward,
            before=lambda m: self.context.seek(first + parts[m].number),
        )

    def zero_grad(self) -> None:
        """Begin a step: write zeros to all gradients."""
        self.optimizer.zero_grad()

    def backward(self, loss: Tensor, gradient: float | Array = 1.0, *, last: bool = True) -> None:
        """``loss.backward(gradient)``, then the gradients' sum over all ranks.

        ``loss`` is this rank's sum over its samples, ``gradient`` one over the global number of
        samples. With accumulation pass ``last=False`` for all micro-batches but the last: those
        only add to this rank's gradients, and nothing is sent. After the last, the next
        ``backward`` needs a :meth:`zero_grad` first, or the sums would be summed again.
        """
        with self.trace.span("backward"):
            self._backward(loss, gradient, last)

    def _backward(self, loss: Tensor, gradient: float | Array, last: bool) -> None:
        if self.replicas.size == 1:
            loss.backward(gradient)
            return
        if self.optimizer.steps != self._steps and self.reducer.over is not None:
            raise InputError(
                f"with {self.reducer!r} the ranks bring their parameters together after an update: "
                "call parallel.step(), not optimizer.step()"
            )
        zeroed = self.optimizer.arenas[0].zeroed
        if zeroed == self._reduced:
            raise InputError(
                "these gradients are summed over the ranks already, and would be counted again: "
                "call zero_grad() first, or pass last=False to all but the last backward of a step"
            )
        if not last and not self.reducer.every_backward:
            loss.backward(gradient)
            return
        self.reducer.begin()
        try:
            loss.backward(gradient)
        except BaseException:
            self.reducer.abandon()
            raise
        self.reducer.finish()
        if last:
            self._reduced = zeroed

    def norm(self, limit: float | None = None) -> GradientNorm:
        """The global norm of the gradient, measured now; called by all ranks. Nothing waits until
        it is read, but where ranks hold different parts of the gradient, for each other."""
        if self._norm is None or self._norm.limit != (math.inf if limit is None else limit):
            parts, over = self._counted()
            self._norm = GradientNorm(self.optimizer.arenas, limit, parts=parts, over=over)
        return self._norm.measure()

    def step(self, norm: GradientNorm | None = None) -> None:
        """Update the parameters, with the gradient clipped to the norm's limit; a gradient that is
        not finite updates nothing."""
        with self.trace.span("update"):
            self.optimizer.step(norm=norm, scale=self.reducer.scale)
            self._steps = self.optimizer.steps
            if self.replicas.size > 1:
                self.reducer.updated()

    def synchronise(self) -> None:
        """Average what a reducer such as :class:`~minigrad.distributed.averaging.LocalSGD` lets
        differ; called by all ranks, before the model is judged or saved."""
        if self.replicas.size > 1:
            self.reducer.synchronise()

    @property
    def counts(self) -> bool:
        """Whether losses and metrics that this rank sees count; parts of one layer see the same."""
        return self.mesh.tensor.rank == 0

    def _counted(self) -> tuple[list[Array] | None, Communicator | None]:
        """Which gradients this rank counts, and among whom the whole is divided.

        What every part of a layer holds alike is counted by the first of them.
        """
        arenas = self.optimizer.arenas
        divided = self.replicas.size > 1 and self.reducer.over is not None
        over = self.comm if divided else self.mesh.model
        if over.size == 1:
            return None, None
        found: list[Array] = []
        for index, arena in enumerate(arenas):
            g, first = self.reducer.gradients(index) if divided else (arena.grad, 0)
            for span in arena.spans:
                start, stop = max(span.start - first, 0), min(span.stop - first, g.size)
                if start < stop and (self.counts or self._is_split(span.name)):
                    found.append(g[start:stop])
        return found, over

    def _is_split(self, name: str) -> bool:
        return shards_of(self.model)(name) is not None

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """What a checkpoint holds, ``model/…`` and ``optimizer/…``; called by all ranks.

        It is that of the whole model, undivided, whatever the layout; every rank holds all of it
        for the moment.
        """
        gather = self.reducer.whole if self.replicas.size > 1 else None
        state = _prefixed(self.model.state_dict(), self.optimizer.state_dict(gather))
        if self.mesh.model.size == 1:
            return state
        return put_together(state, shards_of(self.model), self.mesh.model)

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over what :meth:`state_dict` gave, on any layout; nothing is changed where anything
        misfits."""
        if self.mesh.model.size > 1:
            mine = _prefixed(self.model.state_dict(), self.optimizer.state_like())
            state = own_part(state, mine, shards_of(self.model))
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
        self._steps = self.optimizer.steps

    def check_replicas(self) -> None:
        """Compare a hash of all weights and buffers over the ranks; all raise if they differ and
        should not."""
        if not self.reducer.replicas_equal:
            return
        compare_replicas(self.replicas, self.model.state_dict())
        compare_replicas(self.mesh.tensor, undivided(self.model))

    # --- the ranks --------------------------------------------------------------------------------

    def _send_from_rank_0(self) -> None:
        for arena in self.optimizer.arenas:
            self.replicas.broadcast(arena.data)
            arena.touch()
        inside = {name for arena in self.optimizer.arenas for name in arena.leaves}
        for name, array in self.model.state_dict().items():
            if name not in inside:
                whole = array.copy()  # contiguous, which what is frozen need not be
                self.replicas.broadcast(whole)
                array[...] = whole


def _prefixed(model: Mapping[str, Array], optimizer: Mapping[str, Array]) -> dict[str, Array]:
    return {f"model/{name}": array for name, array in model.items()} | {
        f"optimizer/{name}": array for name, array in optimizer.items()
    }
