"""One stage of a pipeline: it holds some layers, and carries out its part of a schedule."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from minigrad.autograd import Leaf, Tensor, is_recording, no_grad
from minigrad.backend import Array, array_module
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.pipeline import message
from minigrad.distributed.pipeline.schedules import SCHEDULES, Instruction, make_schedule
from minigrad.distributed.pipeline.stage import divide
from minigrad.distributed.pipeline.timeline import Slot
from minigrad.errors import InputError, SharedError, unknown
from minigrad.nn import Module, Sequential

__all__ = ["Backward", "Loss", "Pipeline"]

Loss: TypeAlias = Callable[[int, Tensor], Tensor]
"""``loss(m, outputs)``: a scalar, this rank's part of the loss for micro-batch m."""

Backward: TypeAlias = Callable[[Tensor, Any, bool], None]
"""``backward(tensor, gradient, last)``: what does ``tensor.backward(gradient)``; ``last`` is True
in this stage's last backward of the step."""


class Pipeline(Module):
    """The stage ``comm.rank`` of ``model``, which all ranks of ``comm`` build alike.

    Only this stage's layers remain, under the names they have in the whole model ("layers.3.weight"
    is the fourth layer's on whichever rank): the stages' state_dicts together are the model's. Its
    other layers are freed with ``model``. ``schedule`` is a name of :data:`SCHEDULES`; ``cuts``
    are the layers at which the stages after the first begin, by default so that the stages have as
    equal numbers of parameters as can be.

    After :meth:`run`, ``slots`` are the times of this stage's instructions, as read from
    :func:`time.perf_counter`, and ``peak`` is how many micro-batches were alive at most. Raises
    :class:`SharedError` for fewer layers than stages, and as ``stage.divide`` does.
    """

    def __init__(
        self,
        model: Sequential,
        comm: Communicator,
        *,
        schedule: str = "1f1b",
        cuts: Sequence[int] | None = None,
    ) -> None:
        if schedule not in SCHEDULES:
            raise unknown("pipeline schedule", schedule, SCHEDULES)
        parts = divide(model, comm.size, cuts)
        self.comm = comm
        self.stage, self.stages = comm.rank, comm.size
        self.schedule = schedule
        self.cuts = tuple(part.start for part in parts[1:])
        self.layers = {number: model[number] for number in parts[comm.rank]}
        parameters = model.parameters()
        self._device = parameters[0].device if parameters else "cpu"
        self.slots: list[Slot] = []
        self.peak = 0

    @property
    def is_first(self) -> bool:
        """Whether this rank's stage takes the inputs."""
        return self.stage == 0

    @property
    def is_last(self) -> bool:
        """Whether this rank's stage gives the outputs."""
        return self.stage == self.stages - 1

    def to(self, device: str) -> Module:
        self._device = device  # a stage without parameters receives there, too
        return super().to(device)

    def forward(self, x: Tensor) -> Tensor:
        """The whole model's outputs for ``x``, on all ranks, which call this with the same x.

        It keeps nothing for backward. In training mode call it under ``no_grad``; otherwise, and
        for an x that requires a gradient, it raises :class:`SharedError`.
        """
        if is_recording() and (self.training or x.requires_grad):
            raise SharedError(
                "no gradient goes back through a pipeline's forward: train it with "
                "pipeline.run(…), or evaluate it after pipeline.eval(), or under no_grad()"
            )
        with no_grad():
            if not self.is_first:
                x = Tensor(message.receive(self.comm, self.stage - 1, 0, self._device)[0])
            y = self._through(x)
            if not self.is_last:
                outbox = message.Outbox(self.comm)
                outbox.send_described(y.data, self.stage + 1, 0, wants_gradient=False)
                outbox.wait()
        return Tensor(message.broadcast(self.comm, y.data, self.stages - 1, self._device))

    def run(
        self,
        inputs: Sequence[Any],
        loss: Loss,
        *,
        backward: Backward,
        before: Callable[[int], None] | None = None,
    ) -> None:
        """Take the micro-batches ``inputs`` through the schedule, forward and back.

        All ranks give the same number of them; only the first stage looks at the arrays, which may
        have different numbers of rows, or none. The last stage calls ``loss(m, outputs)``, and
        starts ``backward`` from that scalar with the gradient 1; the others start it from their
        outputs with the gradient that arrives. It is not called where nothing behind an output is
        trained. ``before(m)`` is called on every stage before its forward of micro-batch m. Warns,
        on the first stage, where there are fewer micro-batches than stages.
        """
        if not len(inputs):
            raise SharedError("a pipeline was run on no micro-batches; give at least one")
        plan = make_schedule(self.schedule, self.stages, len(inputs), warn=self.is_first)
        alive: dict[int, tuple[Tensor, Tensor]] = {}
        outbox = message.Outbox(self.comm)
        unfinished = len(inputs)
        self.slots, self.peak = [], 0
        for do in plan[self.stage]:
            m = do.micro_batch
            if do.kind == "forward":
                x = self._arriving(inputs, m, outbox)
                begin = time.perf_counter()
                if before is not None:
                    before(m)
                y = self._through(x)
                if self.is_last:
                    y = loss(m, y)
                else:
                    outbox.send_described(y.data, self.stage + 1, m, y.requires_grad)
                alive[m] = x, y
                self.peak = max(self.peak, len(alive))
            else:
                x, y = alive.pop(m)
                gradient = self._gradient_of(y, m)
                begin = time.perf_counter()
                unfinished -= 1
                if self.is_last or y.requires_grad:
                    backward(y, gradient, unfinished == 0)
                if x.requires_grad and x.grad is None:  # the outputs do not depend on it
                    outbox.send(array_module(x.data).zeros_like(x.data), self.stage - 1, m)
            self.slots.append(Slot(self.stage, do, begin, time.perf_counter()))
            outbox.clear_arrived()
        outbox.wait()

    def timeline(self) -> list[Slot]:
        """The ``slots`` of all stages, in seconds from the first begin; called by all ranks.

        Ranks of one machine have one clock. Between machines, clocks are taken to agree at the end
        of a barrier, which is true to within some message times.
        """
        self.comm.barrier()
        zero = time.perf_counter() if self.comm.local_size < self.comm.size else 0.0
        mine = [
            (stage, kind == "backward", number, begin - zero, end - zero)
            for stage, (kind, number), begin, end in self.slots
        ]
        rows = np.concatenate(self.comm.all_gather(np.array(mine, np.float64).reshape(-1, 5)))
        first = rows[:, 3].min(initial=np.inf)
        return [
            Slot(
                int(stage),
                Instruction("backward" if back else "forward", int(number)),
                begin - first,
                end - first,
            )
            for stage, back, number, begin, end in sorted(rows.tolist(), key=lambda row: row[3])
        ]

    # --- a micro-batch ----------------------------------------------------------------------------

    def _through(self, x: Tensor) -> Tensor:
        for number, layer in self.layers.items():
            try:
                x = layer(x)
            except InputError as error:
                raise InputError(f"layer {number}: {error}") from error
        return x

    def _arriving(self, inputs: Sequence[Any], m: int, outbox: message.Outbox) -> Tensor:
        """The input of micro-batch m, whose gradient goes back as soon as it is complete: while
        backward goes on, and before what is done in it with the gradients of parameters."""
        if self.is_first:
            return Tensor(inputs[m])
        array, wants_gradient = message.receive(self.comm, self.stage - 1, m, self._device)
        x = Tensor(array, requires_grad=wants_gradient)
        if isinstance(x._node, Leaf):
            x._node.on_ready = lambda leaf: outbox.send(leaf.grad, self.stage - 1, m)
        return x

    def _gradient_of(self, y: Tensor, m: int) -> Array | float:
        """What backward starts with at the output ``y`` of micro-batch m."""
        if self.is_last or not y.requires_grad:
            return 1.0
        gradient = array_module(y.data).empty(y.shape, y.dtype)
        self.comm.receive(gradient, self.stage + 1, m)
        return gradient
