"""What all optimizers share: parameter groups, the walk over the arena, state in and out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal, TypeAlias, TypedDict

import numpy as np

from minigrad.arena import Arena
from minigrad.backend import Array, array_module, device_of, to_numpy
from minigrad.errors import InputError
from minigrad.optim._checks import Check, checked, non_negative, one_of, positive, rate
from minigrad.optim.groups import arenas_and_groups
from minigrad.optim.regularisation import (
    decayed,
    effective_gradient,
    effective_gradient_,
    soft_threshold,
    soft_threshold_,
)

__all__ = ["Block", "Common", "Hyper", "Optimizer", "Parameters", "Rate"]

Parameters: TypeAlias = Any
"""A Module, a mapping from names to Parameters, an iterable of Parameters, or an Arena or more."""

Rate: TypeAlias = float | Callable[[int], float]
"""A learning rate above 0, or a schedule: number of updates done -> learning rate."""

Hyper: TypeAlias = Mapping[str, Any]
"""One group's hyper-parameters in one step: plain Python numbers, with ``lr`` and ``t`` from 1."""

CHUNK = 131072
"""Elements a NumPy rule handles at a time. Adam on 109,386 and on 6 million float32 parameters, in
times of this choice: 16k 1.24 and 1.30 (calls), 32k 1.12 and 1.16, 64k 0.98 and 1.01, 256k 1.01
and 0.94, the whole of 6 million 1.46 (memory)."""


class Common(TypedDict, total=False):
    """The keywords that every optimizer takes; :class:`Optimizer` says what they mean."""

    weight_decay: float
    l1: float
    l2: float
    proximal_l1: float
    groups: Mapping[str, Mapping[str, Any]] | None
    form: Literal["in_place", "formula"]


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of an arena under one group's hyper-parameters: 1-D views of equal length.

    ``chunks`` are the same views cut into pieces for the cache, each with three work arrays.
    """

    group: str
    theta: Array
    g: Array
    state: tuple[Array, ...]
    chunks: list[tuple[Array, Array, tuple[Array, ...], Array]]


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
    for all of them, biases too. ``form="formula"`` runs the teaching step in place of the fast
    one. Raises :class:`InputError` for values out of range, unknown names, patterns that match
    nothing, and a schedule that gives a negative rate or NaN (0 is allowed there).
    """

    checks: ClassVar[dict[str, Check]] = {}
    per_span: ClassVar[bool] = False
    decay_in_rule: ClassVar[bool] = False

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate,
        *,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
        proximal_l1: float = 0.0,
        groups: Mapping[str, Mapping[str, Any]] | None = None,
        form: Literal["in_place", "formula"] = "in_place",
        **hyper: Any,
    ) -> None:
        owner = type(self).__name__
        penalties = {"weight_decay": weight_decay, "l1": l1, "l2": l2, "proximal_l1": proximal_l1}
        checks = {**self.checks, **dict.fromkeys(penalties, non_negative), "lr": rate}
        values = checked({**hyper, **penalties, "lr": lr}, checks, owner)
        self._lr: Rate = values.pop("lr")
        self.form = one_of("in_place", "formula")(f"form of {owner}", form)
        self.arenas: list[Arena]
        self.groups: dict[str, dict[str, Any]]
        self.arenas, self.groups, group_of = arenas_and_groups(
            parameters, groups or {}, values, list(penalties), checks, owner
        )
        self.steps = 0
        self._names = self._state_names()
        self._state = [
            tuple(array_module(arena.data).zeros_like(arena.data) for _ in self._names)
            for arena in self.arenas
        ]
        self._buffers: dict[tuple[str, Any, str], Array] = {}
        self._blocks = list(self._cut(group_of))
        together = dict.fromkeys(group_of, next(iter(self.groups)))
        self._merged = self._blocks if self.per_span else list(self._cut(together))

    @abstractmethod
    def _state_names(self) -> tuple[str, ...]:
        """Names of the state buffers, each as long as the arena's."""

    @abstractmethod
    def _formula(self, theta: Array, g: Array, state: tuple[Array, ...], h: Hyper) -> Any:
        """The teaching step: ``(theta, *state)`` after one update, in new arrays."""

    @abstractmethod
    def _in_place(self, block: Block, h: Hyper) -> None:
        """The fast step, equal to the formula with regularisation; a kernel's place too."""

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

    def step(self, *, scale: float = 1.0, clip_value: float | None = None) -> None:
        """One update from the arenas' gradients, which are left as they are.

        ``scale`` multiplies the gradient first (``clip_scale(norm, limit)``, 1/loss scale), then
        each element is clipped to ±``clip_value``, then the penalties are added.
        """
        if not 0 <= scale < math.inf:
            raise InputError(f"step: scale is {scale!r}, but must be 0 or a number above it")
        if clip_value is not None:
            clip_value = positive("step: clip_value", clip_value)
        now = {"t": self.steps + 1, "scale": float(scale), "clip_value": clip_value}
        hyper = {
            name: {**h, **now, "lr": self._rate(h.get("lr", self._lr))}
            for name, h in self.groups.items()
        }
        update = self._in_place if self.form == "in_place" else self._by_formula
        first, *others = hyper.values()
        for block in self._blocks if any(h != first for h in others) else self._merged:
            update(block, hyper[block.group])
        self.steps += 1
        for arena in self.arenas:
            arena.touch()

    def zero_grad(self) -> None:
        """Write zeros to all gradients."""
        for arena in self.arenas:
            arena.zero_grad()

    def observe(self, metric: float) -> None:
        """Pass an epoch's metric on to schedules that follow it (:class:`ReduceOnPlateau`)."""
        for _, schedule in self._stateful_schedules():
            schedule.observe(metric)

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of all state on the CPU, by name, whatever the order of the buffer.

        ``"m/layers.0.weight"``: state m in that parameter's shape; ``"steps"``; ``"lr"`` where it
        is a number; ``"schedule/…"`` where a schedule has a state.
        """
        state = {name: np.array(to_numpy(view)) for name, view in self._views()}
        state["steps"] = np.array(self.steps, np.int64)
        if not callable(self._lr):
            state["lr"] = np.array(self._lr)
        for prefix, schedule in self._stateful_schedules():
            state |= {f"{prefix}/{key}": value for key, value in schedule.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over what :meth:`state_dict` gave; the updates to come have the same bits.

        Raises :class:`InputError` that lists all that is missing, unexpected, of another shape or
        dtype; then nothing is changed.
        """
        expected = self.state_dict()
        problems = [f"{name} is missing" for name in expected.keys() - state.keys()]
        problems += [f"{name} is unexpected" for name in state.keys() - expected.keys()]
        problems += [
            f"{name} is {state[name].dtype}{list(state[name].shape)}, "
            f"expected {value.dtype}{list(value.shape)}"
            for name, value in expected.items()
            if name in state
            and (state[name].shape, state[name].dtype) != (value.shape, value.dtype)
        ]
        if not problems and int(state["steps"]) < 0:
            problems = [f"steps is {int(state['steps'])}, expected 0 or more"]
        if problems:
            raise InputError(
                f"this is no state of this {type(self).__name__}: {'; '.join(sorted(problems))}; "
                "load it into the optimizer and the model that it was saved from"
            )
        if "lr" in state:
            self.lr = float(state["lr"])
        for prefix, schedule in self._stateful_schedules():
            keys = schedule.state_dict()
            schedule.load_state_dict({key: state[f"{prefix}/{key}"] for key in keys})
        for name, view in self._views():
            view[...] = array_module(view).asarray(state[name])
        self.steps = int(state["steps"])

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

    def _views(self) -> Iterator[tuple[str, Array]]:
        """Every state buffer, cut to parameters: ``("m/layers.0.weight", view)``."""
        for arena, buffers in zip(self.arenas, self._state, strict=True):
            for span in arena.spans:
                for name, buffer in zip(self._names, buffers, strict=True):
                    view = buffer[span.start : span.stop].reshape(span.shape)
                    yield f"{name}/{span.name}", view

    def _cut(self, group_of: Mapping[str, str]) -> Iterator[Block]:
        """Runs of spans of one group: one block each, or a block a span (``per_span``)."""
        for arena, buffers in zip(self.arenas, self._state, strict=True):
            for group, run in groupby(arena.spans, lambda span: group_of[span.name]):
                spans = list(run)
                pieces: Iterable[Sequence[Any]] = ([s] for s in spans) if self.per_span else [spans]
                for piece in pieces:
                    cut = slice(piece[0].start, piece[-1].stop)
                    if cut.start < cut.stop:
                        state = tuple(buffer[cut] for buffer in buffers)
                        theta, g = arena.data[cut], arena.grad[cut]
                        yield Block(group, theta, g, state, self._chunked(theta, g, state))

    def _chunked(
        self, theta: Array, g: Array, state: tuple[Array, ...]
    ) -> list[tuple[Array, Array, tuple[Array, ...], Array]]:
        size = theta.size
        # on a GPU a pass is a launch: larger pieces, yet no scratch as large as the model
        length = min(size, CHUNK if array_module(theta) is np else 64 * CHUNK)
        work = self._scratch(theta, 3 * length).reshape(3, length)
        cuts = [slice(i, min(i + length, size)) for i in range(0, size, length)]
        return [
            (theta[cut], g[cut], tuple(b[cut] for b in state), work[:, : cut.stop - cut.start])
            for cut in cuts
        ]

    def _by_formula(self, block: Block, h: Hyper) -> None:
        theta, tau = block.theta, h["lr"] * h["proximal_l1"]
        g = effective_gradient(theta, block.g, h)
        if not self.decay_in_rule:
            theta = decayed(theta, h["lr"], h["weight_decay"])
        theta, *state = self._formula(theta, g, block.state, h)
        block.theta[...] = soft_threshold(theta, tau) if tau else theta
        for buffer, value in zip(block.state, state, strict=True):
            buffer[...] = value

    def _chunks(
        self, block: Block, h: Hyper
    ) -> Iterator[tuple[Array, Array, tuple[Array, ...], tuple[Array, Array]]]:
        """``theta, g, state`` of a block and two work arrays, a cache-sized piece at a time.

        What holds for every rule happens here, while the piece is in cache: ``g`` arrives scaled,
        clipped and penalised, θ decayed; the soft threshold follows when the rule is through.
        """
        tau = h["lr"] * h["proximal_l1"]
        keep = 1.0 if self.decay_in_rule else 1 - h["lr"] * h["weight_decay"]
        for theta, g, state, (penalised, s, other) in block.chunks:
            g = effective_gradient_(theta, g, h, penalised, s)
            if keep != 1:
                theta *= keep
            yield theta, g, state, (s, other)
            if tau:
                soft_threshold_(theta, tau, s)

    def _scratch(self, like: Array, size: int, use: str = "work") -> Array:
        """``size`` elements of ``like``'s dtype and device, kept from step to step."""
        key = (use, like.dtype, device_of(like))
        buffer = self._buffers.get(key)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[key] = array_module(like).empty(size, like.dtype)
        return buffer[:size]
