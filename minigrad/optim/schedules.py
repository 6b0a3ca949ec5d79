"""Learning rates as closed forms of the step: number of updates done -> rate (D2 §3.4, D3 §4).

Each is a frozen dataclass to be called with a step or an array of steps, 0 for the first update.
A closed form cannot compound: multiplying the current rate by γᵗ each time, a common slip, gives
0.9⁶ = 0.531 where 0.9³ = 0.729 is meant. :class:`ReduceOnPlateau` is the one exception, as
it has to be told how training goes.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from minigrad.backend import Array
from minigrad.errors import InputError, unknown
from minigrad.optim._checks import Check, count, fraction, non_negative, one_of, positive

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "InverseTime",
    "Linear",
    "Polynomial",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "Warmup",
    "schedule_from",
]


def _decay_factor(what: str, value: Any) -> float:
    if positive(what, value) > 1:
        raise InputError(f"{what} is {value!r}, but a rate decays with a factor of at most 1")
    return float(value)


_CHECKS: dict[str, Check] = {
    "lr": positive,
    "T": positive,
    "alpha": positive,
    "end": non_negative,
    "decay": non_negative,
    "gamma": _decay_factor,
    "size": count,
    "steps": count,
    "factor": fraction,
    "patience": non_negative,
    "threshold": non_negative,
    "minimum": non_negative,
    "mode": one_of("min", "max"),
}


class Schedule(ABC):
    """``schedule(step)``: the learning rate after ``step`` updates; for an array, an array.

    Raises :class:`InputError` when made with values out of range.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field, value in vars(self).items():
            if field in _CHECKS:
                checked = _CHECKS[field](f"{self.name} schedule: {field}", value)
                object.__setattr__(self, field, checked)

    def __call__(self, step: Any) -> Any:
        rate = self._rate(np.asarray(step, np.float64))
        return float(rate) if np.ndim(rate) == 0 else rate

    @abstractmethod
    def _rate(self, t: Array) -> Array: ...

    def describe(self) -> dict[str, Any]:
        """Plain data for a configuration file; :func:`schedule_from` reads it back."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(cast(Any, self))}
        return {"name": self.name} | {
            name: value.describe() if isinstance(value, Schedule) else value
            for name, value in values.items()
        }


@dataclass(frozen=True)
class Constant(Schedule):
    """η_t = η₀.

    >>> optim.Constant(0.1)(1000)
    0.1
    """

    name: ClassVar[str] = "constant"
    lr: float

    def _rate(self, t: Array) -> Array:
        return np.full_like(t, self.lr)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """η_t = (η₀ − end)(1 − t/T)^α + end, with t clamped to [0, T] (F5, D2 §3.4; end 0 there).

    α is an exponent, not a rate of decay (E3). Keras's ``end`` is 1e-4 by default.

    >>> optim.Polynomial(1.0, T=4, alpha=2)(np.arange(6))
    array([1.    , 0.5625, 0.25  , 0.0625, 0.    , 0.    ])
    """

    name: ClassVar[str] = "polynomial"
    lr: float
    T: float
    alpha: float = 1.0
    end: float = 0.0

    def _rate(self, t: Array) -> Array:
        return self.end + (self.lr - self.end) * (1 - np.clip(t, 0, self.T) / self.T) ** self.alpha


@dataclass(frozen=True)
class Linear(Schedule):
    """η_t = η₀·max(0, 1 − decay·t) (F6, D3 §4; without the floor the model climbs, E9).

    >>> optim.Linear(1.0, decay=0.25)(np.arange(6))
    array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ])
    """

    name: ClassVar[str] = "linear"
    lr: float
    decay: float

    def _rate(self, t: Array) -> Array:
        return self.lr * np.maximum(0, 1 - self.decay * t)


@dataclass(frozen=True)
class InverseTime(Schedule):
    """η_t = η₀/(1 + decay·t): what Adam(decay=…) meant in Keras (F7, D3 §4).

    >>> optim.InverseTime(1.0, decay=1.0)(np.arange(4))
    array([1.    , 0.5   , 0.3333, 0.25  ])
    """

    name: ClassVar[str] = "inverse_time"
    lr: float
    decay: float

    def _rate(self, t: Array) -> Array:
        return self.lr / (1 + self.decay * t)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """η_t = η₀·γ^⌊t/size⌋.

    >>> optim.StepDecay(1.0, size=2)(np.arange(5))
    array([1.  , 1.  , 0.1 , 0.1 , 0.01])
    """

    name: ClassVar[str] = "step"
    lr: float
    size: int
    gamma: float = 0.1

    def _rate(self, t: Array) -> Array:
        return self.lr * self.gamma ** (t // self.size)


@dataclass(frozen=True)
class Exponential(Schedule):
    """η_t = η₀·γᵗ.

    >>> optim.Exponential(1.0, gamma=0.5)(np.arange(4))
    array([1.   , 0.5  , 0.25 , 0.125])
    """

    name: ClassVar[str] = "exponential"
    lr: float
    gamma: float

    def _rate(self, t: Array) -> Array:
        return self.lr * self.gamma**t


@dataclass(frozen=True)
class Cosine(Schedule):
    """η_t = end + (η₀ − end)(1 + cos(πt/T))/2, t clamped to [0, T] (Loshchilov & Hutter 2017).

    >>> optim.Cosine(1.0, T=4)(np.arange(6))
    array([1.    , 0.8536, 0.5   , 0.1464, 0.    , 0.    ])
    """

    name: ClassVar[str] = "cosine"
    lr: float
    T: float
    end: float = 0.0

    def _rate(self, t: Array) -> Array:
        half = (1 + np.cos(np.pi * np.clip(t, 0, self.T) / self.T)) / 2
        return self.end + (self.lr - self.end) * half


@dataclass(frozen=True)
class Warmup(Schedule):
    """η_t = η₀·(t + 1)/steps for t < steps, η₀ = then(0); afterwards ``then(t − steps)``.

    The first update moves already, and update number ``steps`` is the first at the full rate.

    >>> optim.Warmup(4, optim.Constant(1.0))(np.arange(6))
    array([0.25, 0.5 , 0.75, 1.  , 1.  , 1.  ])
    """

    name: ClassVar[str] = "warmup"
    steps: int
    then: Schedule

    def __post_init__(self) -> None:
        if not isinstance(self.then, Schedule) or hasattr(self.then, "observe"):
            raise InputError(
                f"warmup schedule: then is {self.then!r}, but must be a closed-form schedule, "
                "Cosine(0.1, T=1000) for instance"
            )
        super().__post_init__()

    def _rate(self, t: Array) -> Array:
        rising = self.then(0) * (t + 1) / self.steps
        return np.where(t < self.steps, rising, self.then(np.maximum(t - self.steps, 0)))


@dataclass
class ReduceOnPlateau(Schedule):
    """The rate is multiplied by ``factor`` when a metric has stopped improving.

    ``observe(metric)``, called by the trainer once an epoch: more than ``patience`` calls in a
    row that better the best so far by no more than ``threshold`` (relative) lower the rate, not
    below ``minimum``. NaN is no improvement. It has a state, so it is not a function of the step;
    ``state_dict`` keeps it for checkpoints, and all ranks must observe the same metric.

    >>> rate = optim.ReduceOnPlateau(1.0, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     rate.observe(loss)
    >>> rate(0)
    0.1
    """

    name: ClassVar[str] = "plateau"
    lr: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    minimum: float = 0.0
    mode: str = "min"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._rate_now, self._best, self._bad = self.lr, math.inf, 0

    def _rate(self, t: Array) -> Array:
        return np.full_like(t, self._rate_now)

    def observe(self, metric: float) -> None:
        """Take note of a metric: the smaller (``mode="min"``) or larger, the better."""
        value = float(metric) if self.mode == "min" else -float(metric)
        margin = self.threshold * abs(self._best) if math.isfinite(self._best) else 0.0
        if value < self._best - margin:
            self._best, self._bad = value, 0
            return
        self._bad += 1
        if self._bad > self.patience:
            floor = min(self.minimum, self._rate_now)
            self._rate_now, self._bad = max(self._rate_now * self.factor, floor), 0

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """``rate``, ``best`` and ``bad`` (calls without improvement), for checkpoints."""
        return {
            "rate": np.array(self._rate_now),
            "best": np.array(self._best),
            "bad": np.array(self._bad, np.int64),
        }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self._rate_now, self._best = float(state["rate"]), float(state["best"])
        self._bad = int(state["bad"])


SCHEDULES: dict[str, type[Schedule]] = {
    cls.name: cls for cls in (
        Constant, Polynomial, Linear, InverseTime, StepDecay, Exponential, Cosine, Warmup,
        ReduceOnPlateau,
    )
}  # fmt: skip
"""Schedules by the name that the command line and ``describe()`` use."""


def schedule_from(config: Mapping[str, Any]) -> Schedule:
    """The schedule that ``config`` describes: ``{"name": "cosine", "lr": 0.1, "T": 500}``.

    Raises :class:`InputError` for an unknown name, and for settings missing or unknown.

    >>> optim.schedule_from({"name": "step", "lr": 0.1, "size": 30})
    StepDecay(lr=0.1, size=30, gamma=0.1)
    """
    settings = dict(config)
    name = str(settings.pop("name", ""))
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    fields = {field.name: field for field in dataclasses.fields(cast(Any, SCHEDULES[name]))}
    for key in settings:
        if key not in fields:
            raise unknown(f"setting of schedule '{name}'", key, fields)
    for key, field in fields.items():
        if key not in settings and field.default is dataclasses.MISSING:
            raise InputError(f"schedule '{name}' needs a value for {key}")
    if isinstance(settings.get("then"), Mapping):
        settings["then"] = schedule_from(settings["then"])
    return SCHEDULES[name](**settings)
