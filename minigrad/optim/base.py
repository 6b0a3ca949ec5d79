"""What all optimizers share: parameter groups, the walk over the arena, state in and out."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.errors import InputError, unknown
from minigrad.optim._checks import Check, checked, non_negative, positive, rate
from minigrad.optim.buffers import Gather, StateBuffers
from minigrad.optim.compiled import FORMS, Form, executors
from minigrad.optim.executor import Hyper, Owned, cut
from minigrad.optim.groups import placed, settings_of
from minigrad.optim.norm import GradientNorm, use
from minigrad.state import check_names

__all__ = ["Defaults", "Hyper", "Optimizer", "Parameters", "Rate"]

Parameters: TypeAlias = Any
"""A Module, a mapping from names to Parameters, an iterable of Parameters, or an Arena or more."""

Rate: TypeAlias = float | Callable[[int], float]
"""A learning rate above 0, or a schedule: number of updates done -> learning rate."""

Defaults: TypeAlias = Mapping[str, tuple[Any, Check]]
"""Hyper-parameters by name: the default, and what a value may be."""


class Optimizer(ABC):
    """Updates parameters in place, one call per arena group.

    ``parameters``: a Module, a mapping name -> Parameter, an iterable of Parameters (named by
    their position), or an Arena or a list of them. ``lr``: a number above 0 or a schedule,
    which is called with the number of updates done.

    Regularisation, all 0 by default: ``l2`` adds λθ and ``l1`` adds λ·sign(θ) to the gradient,
    ``weight_decay`` is decoupled, θ ← (1 − ηλ)θ before the update, and ``proximal_l1`` is the
    soft threshold ηλ after it, which gives exact zeros. They act on weights, that is on the
    group ``decay`` (two axes or more); biases and gains, group ``no_decay``, are left alone.
    (PyTorch regularises all, and its SGD and Adam call ``weight_decay`` what is ``l2`` here.)

    ``groups={"head": {"match": "head.*", "lr": 0.1}}`` gives other hyper-parameters to the
    parameters whose names match a shell pattern (or one of a list); what a group states holds
    for all of them, biases too. ``optimizer.groups`` shows what holds, and is read-only.
    ``form`` is ``"compiled"`` (a kernel of kernels/, one launch a block), ``"in_place"`` (NumPy or
    CuPy, pass by pass) or ``"formula"`` (the teaching step); by default the first of them that can
    run here. Raises
    :class:`InputError` for values out of range, unknown names, patterns that match nothing,
    and a schedule that gives a negative rate or NaN (0 is allowed there).

    A subclass is a rule: the names of its ``state`` buffers, its hyper-parameters, and two forms.
    """

    state: ClassVar[tuple[str, ...]] = ()
    hyper: ClassVar[Defaults] = {}
    penalties: ClassVar[Mapping[str, float]] = {
        "weight_decay": 0.0, "l1": 0.0, "l2": 0.0, "proximal_l1": 0.0,
    }  # fmt: skip
    takes: ClassVar[tuple[str, ...]] = ("eta",)
    """What ``formula`` takes besides ``hyper``: the rate ``eta``, the step ``t`` from 1 on, or
    ``weight_decay``, where the rule decays by itself."""
    per_span: ClassVar[bool] = False
    """Whether the rule looks at whole tensors: then it has a ``finish``."""
    kernel: ClassVar[str]
    """The entry in kernels/ that does the update."""
    __signature__: ClassVar[inspect.Signature]

    @staticmethod
    @abstractmethod
    def formula(*arrays: Any, **h: Any) -> Any:
        """The teaching step of ``(theta, g, *state)``: ``(theta, *state)`` after it, new arrays."""

    @staticmethod
    @abstractmethod
    def in_place(*arrays: Any) -> None:
        """``formula`` in place, of ``(theta, g, *state, s, other, h)``; s and other are scratch."""

    @staticmethod  # noqa: B027
    def finish(theta: Array, update: Array, h: Hyper) -> None:
        """With ``per_span``: what a whole tensor needs; ``update`` was ``other`` in its pieces."""

    @staticmethod
    @abstractmethod
    def constants(h: Hyper) -> dict[str, float]:
        """The numbers of one step, in double, by the names in the kernel's struct."""

    @classmethod
    def kernel_of(cls, h: Hyper) -> str:
        """The kernel for a group with these hyper-parameters."""
        return cls.kernel

    def __init_subclass__(cls) -> None:
        _, *known, _ = inspect.signature(Optimizer.__init__).parameters.values()
        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in _defaults(cls).items()
        ]
        cls.__signature__ = inspect.Signature([*known, *keywords])

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate,
        *,
        groups: Mapping[str, Mapping[str, Any]] | None = None,
        form: Form | None = None,
        **hyper: Any,
    ) -> None:
        owner = type(self).__name__
        checks = {name: check for name, (_, check) in self.hyper.items()}
        checks |= {**dict.fromkeys(self.penalties, non_negative), "lr": rate}
        values = _defaults(type(self)) | checked({**hyper, "lr": lr}, checks, owner)
        self._lr: Rate = values.pop("lr")
        if form not in (None, *FORMS):
            raise unknown(f"form of {owner}", str(form), FORMS)
        patterns = {name: h.get("match") for name, h in (groups or {}).items()}
        overrides = {
            name: checked(
                {k: h[k] for k in h if k != "match"}, checks, owner, f" in group '{name}'"
            )
            for name, h in (groups or {}).items()
        }
        self.arenas, group_of = placed(parameters, patterns, owner)
        found = {
            group: settings_of(group, values, self.penalties, overrides)
            for group in dict.fromkeys(group_of.values())
        }
        self.groups = MappingProxyType({name: MappingProxyType(h) for name, h in found.items()})
        self.steps = 0
        self.captured: dict[str, Any] | None = None
        """While a CUDA graph captures this optimizer's step: what :meth:`step` was given."""
        self._group_of = {name: self._first_like(group) for name, group in group_of.items()}
        self._form: Form | None = form
        self.own([Owned(slice(0, len(arena)), arena.grad) for arena in self.arenas])

    def own(self, owned: Sequence[Owned]) -> None:
        """Update only this part of each arena from here on, from the gradients given with it.

        State is kept for that part alone, and begins anew. This is how ZeRO divides an optimizer
        among ranks. Raises :class:`InputError` after the first step, whose state would be lost.
        """
        if self.steps:
            raise InputError(
                f"this {type(self).__name__} has made {self.steps} steps, and dividing it among "
                "ranks would lose its state: make the DataParallel first, then load or step"
            )
        self.state_buffers = StateBuffers(self.arenas, self._state_names(), owned)
        self._blocks = [
            block
            for arena, buffers, own in zip(self.arenas, self.state_buffers.of_arena, owned)
            for block in cut(arena, buffers, self._group_of, own)
        ]
        self._now = {block.group: dict(self.groups[block.group]) for block in self._blocks}
        self._kernels, self._loops = executors(self, self._blocks, self._form)

    @property
    def form(self) -> str:
        """What runs the update: "compiled", "in_place" or "formula", or some, joined by "and"."""
        kinds = ["compiled"] * bool(self._kernels) + [loop.form for loop in self._loops]
        return " and ".join(kinds)

    def _state_names(self) -> tuple[str, ...]:
        """The buffers that these groups need."""
        return self.state

    @property
    def lr(self) -> float:
        """The rate of the coming update; can be set where it is a number, not a schedule."""
        return self._rate(self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        if callable(self._lr):
            raise InputError(
                f"{type(self).__name__}: lr was set to {value!r}, but it follows a schedule; "
                "give the constructor a number to set it by hand"
            )
        self._lr = positive(f"{type(self).__name__}: lr", value)

    def step(
        self,
        *,
        scale: float = 1.0,
        clip_value: float | None = None,
        norm: GradientNorm | None = None,
        zero_grad: bool = False,
    ) -> None:
        """One update from the arenas' gradients.

        ``scale`` multiplies the gradient first (``clip_scale(norm, limit)``, 1/loss scale), then
        each element is clipped at plus or minus ``clip_value``, then the penalties are added.
        ``norm`` is a :class:`GradientNorm` that was measured: its scale is applied too, and where
        it is not finite nothing is updated, without waiting for a GPU.
        ``zero_grad=True`` leaves zeros where the gradients were, in the same pass; otherwise they
        stay as they are. Raises
        :class:`InputError` for numbers out of range, for a norm that was not measured since the
        last update or is not of these arenas, and where the parameters have moved.

        >>> theta = nn.Parameter([1.0, 1.0])
        >>> optimizer = optim.SGD([theta], lr=0.1)
        >>> theta.grad = [1.0, -50.0]
        >>> optimizer.step(clip_value=2.0, zero_grad=True)
        >>> theta.data, theta.grad
        (array([0.9, 1.2], dtype=float32), array([0., 0.], dtype=float32))
        """
        if norm is not None:
            use(norm, self.arenas, captured=self.captured is not None)
        if self.captured is None:
            self.advance(scale=scale, clip_value=clip_value, zero_grad=zero_grad)
        else:  # a CUDA graph keeps the launches alone; its replays bring the numbers
            self.captured = {"scale": scale, "clip_value": clip_value, "zero_grad": zero_grad}
        for arena in self.arenas:
            arena.touch()
        self._update(norm)
        if zero_grad:
            done = not self._loops and all(
                own.g.size == len(arena)
                for arena, own in zip(self.arenas, self.state_buffers.owned)
            )
            for arena in self.arenas:
                arena.zero_grad(done=done)

    def advance(
        self, *, scale: float = 1.0, clip_value: float | None = None, zero_grad: bool = False
    ) -> None:
        """Count a step and bring its numbers to where the kernels read them.

        :meth:`step` does it by itself; the replay of a captured step needs it first.
        """
        if not 0 <= scale < math.inf:
            raise InputError(f"step: scale is {scale!r}, but must be 0 or a number above it")
        if clip_value is not None:
            clip_value = positive("step: clip_value", clip_value)
        for h in self._now.values():  # Python's time is a tenth of a small model's step
            h["eta"] = self._rate(h.get("lr", self._lr))
            h["t"], h["scale"], h["clip_value"] = self.steps + 1, float(scale), clip_value
            h["zero"] = zero_grad
        for compiled in self._kernels:
            compiled.advance(self._now)
        self.steps += 1

    def _update(self, norm: GradientNorm | None) -> None:
        for compiled in self._kernels:
            compiled.launch(None if norm is None else norm.record)
        if self._loops and (norm is None or norm.finite):
            scale = 1.0 if norm is None else norm.scale
            now = {g: {**h, "scale": h["scale"] * scale} for g, h in self._now.items()}
            for loop in self._loops:
                loop(now)

    def zero_grad(self) -> None:
        """Write zeros to all gradients."""
        for arena in self.arenas:
            arena.zero_grad()

    def observe(self, metric: float) -> None:
        """Pass an epoch's metric on to schedules that follow it (:class:`ReduceOnPlateau`)."""
        for _, schedule in self._stateful_schedules():
            schedule.observe(metric)

    def state_dict(self, gather: Gather | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of all state on the CPU, by name, whatever the order of the buffer.

        ``"m/layers.0.weight"``: state m in that parameter's shape; ``"steps"``; ``"lr"`` where it
        is a number; ``"schedule/…"`` where a schedule has a state. Where each rank has a part of
        it, ``gather`` puts the parts together.
        """
        whole = self.state_buffers.whole(gather)
        state = {name: np.array(to_numpy(view)) for name, view in whole}
        state["steps"] = np.array(self.steps, np.int64)
        if not callable(self._lr):
            state["lr"] = np.array(self._lr)
        for prefix, schedule in self._stateful_schedules():
            state |= {f"{prefix}/{key}": value for key, value in schedule.state_dict().items()}
        return state

    def state_like(self) -> dict[str, np.ndarray[Any, Any]]:
        """:meth:`state_dict` in names, shapes and dtypes, whichever part of it is here; the numbers
        mean nothing."""
        lengths = [len(arena) for arena in self.arenas]
        return self.state_dict(lambda i, part: np.broadcast_to(part.dtype.type(0), lengths[i]))

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over what :meth:`state_dict` gave; the updates to come have the same bits.

        Raises :class:`InputError` that lists all that is missing, unexpected, of another shape or
        dtype; then nothing is changed.
        """
        whole = self.state_like()
        check_names(whole, state, f"this is no state of this {type(self).__name__}")
        steps = int(state["steps"])
        if steps < 0:
            raise InputError(f"steps is {steps} in this state, but must be 0 or above")
        if "lr" in state:
            self.lr = float(state["lr"])
        for prefix, schedule in self._stateful_schedules():
            keys = schedule.state_dict()
            schedule.load_state_dict({key: state[f"{prefix}/{key}"] for key in keys})
        self.state_buffers.load(state)
        self.steps = steps

    def _rate(self, lr: Rate) -> float:
        if not callable(lr):
            return lr
        value = float(lr(self.steps))
        if not 0 <= value < math.inf:
            raise InputError(
                f"the schedule gave a learning rate of {value} after {self.steps} updates, but it "
                "must be 0 or above; end the run earlier or choose a schedule with a floor"
            )
        return value

    def _stateful_schedules(self) -> Iterator[tuple[str, Any]]:
        rates = {"schedule": self._lr}
        rates |= {f"schedule/{name}": h["lr"] for name, h in self.groups.items() if "lr" in h}
        return ((prefix, lr) for prefix, lr in rates.items() if hasattr(lr, "state_dict"))

    def _first_like(self, name: str) -> str:
        """The first group whose settings are those of ``name``: the two share blocks."""
        mine = self.groups[name]
        # schedules may be equal and yet apart in what they have observed
        alike = (k for k, h in self.groups.items() if h == mine and h.get("lr") is mine.get("lr"))
        return next(alike)


def _defaults(rule: type[Optimizer]) -> dict[str, Any]:
    return {**{name: default for name, (default, _) in rule.hyper.items()}, **rule.penalties}
