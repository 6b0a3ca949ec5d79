"""Two conventions of one rule side by side, until they part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrad.errors import InputError, unknown
from minigrad.language import language, width
from minigrad.optim._checks import count, non_negative, rate
from minigrad.optim._telling import say, shown, table
from minigrad.optim.adam import adam_step, adam_step_hat
from minigrad.optim.adaptive import rmsprop_step
from minigrad.optim.base import Rate
from minigrad.optim.regularisation import decayed
from minigrad.optim.schedules import StepDecay
from minigrad.optim.sgd import momentum_step

__all__ = ["CONVENTIONS", "ConventionTable", "compare_conventions"]

Gradients = Sequence[float] | Callable[[float], float]
_State = tuple[Any, ...]
_Update = Callable[[_State, Any, int, float, float], _State]
"""((theta, *state), g, t, eta, eta of the first update) -> (theta, *state)"""


class _Pair(NamedTuple):
    names: tuple[str, str]
    updates: tuple[_Update, _Update]
    buffers: int
    gradients: Gradients
    lr: Rate


_ADAM: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


def _momentum(convention: Any, nesterov: bool) -> _Update:
    return lambda s, g, t, eta, _: momentum_step(
        s[0], g, s[1], eta=eta, mu=0.9, nesterov=nesterov, convention=convention
    )


def _adamw(decoupled: bool) -> _Update:
    def update(s: _State, g: Any, t: int, eta: float, first: float) -> _State:
        theta = decayed(s[0], eta if decoupled else first, 0.1)
        return adam_step(theta, g, s[1], s[2], t, eta=eta, **_ADAM)

    return update


def _slope(theta: float) -> float:
    """The gradient of θ²/2."""
    return theta


_TWO_RATES = StepDecay(0.1, size=5)

CONVENTIONS: dict[str, _Pair] = {
    "momentum": _Pair(
        ("Keras: v ← μv − ηg, θ ← θ + v", "PyTorch: v ← μv + g, θ ← θ − ηv"),
        (_momentum("keras", False), _momentum("pytorch", False)), 1, _slope, _TWO_RATES,
    ),
    "nesterov": _Pair(
        ("Keras: v ← μv − ηg, θ ← θ + μv − ηg", "PyTorch: v ← μv + g, θ ← θ − η(g + μv)"),
        (_momentum("keras", True), _momentum("pytorch", True)), 1, _slope, _TWO_RATES,
    ),
    "adam": _Pair(
        ("PyTorch: ηm̂/(√v̂ + ε)", "Keras: η√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + ε)"),
        (lambda s, g, t, eta, _: adam_step(s[0], g, s[1], s[2], t, eta=eta, **_ADAM),
         lambda s, g, t, eta, _: adam_step_hat(s[0], g, s[1], s[2], t, eta=eta, **_ADAM)),
        2, [1e-8] * 10, 1e-3,
    ),
    "adamw": _Pair(
        ("PyTorch: θ ← (1 − ηₜλ)θ", "θ ← (1 − λ′)θ, λ′ = η₁λ"),
        (_adamw(True), _adamw(False)), 2, _slope, _TWO_RATES,
    ),
    "rmsprop": _Pair(
        ("PyTorch: ηg/(√v + ε)", "Keras: ηg/√(v + ε)"),
        (lambda s, g, t, eta, _: rmsprop_step(s[0], g, s[1], eta=eta, rho=0.99, epsilon=1e-8),
         lambda s, g, t, eta, _: rmsprop_step(
             s[0], g, s[1], eta=eta, rho=0.99, epsilon=1e-8, epsilon_placement="inside")),
        1, [1e-4] * 10, 1e-3,
    ),
}  # fmt: skip
"""What can be compared: each rule's two forms, in words of their own."""


@dataclass(frozen=True)
class ConventionTable:
    """θ after each update under two conventions.

    ``rows``: (update, η, θ by the first, θ by the second, relative difference). ``parts`` is the
    first update after which that is above ``tolerance``, None where there is none.
    """

    kind: str
    names: tuple[str, str]
    rows: tuple[tuple[int, float, float, float, float], ...]
    tolerance: float
    lang: str

    @property
    def parts(self) -> int | None:
        """The first update at which the two differ."""
        return next((row[0] for row in self.rows if not row[4] <= self.tolerance), None)

    def _text(self) -> tuple[str, list[str], list[list[str]], str]:
        lang, facts = self.lang, {"tolerance": self.tolerance}
        head = [say(lang, "step"), "η", *self.names, say(lang, "difference")]
        rows = [
            [str(step), shown(eta), *(format(x, ".10g") for x in two), format(apart, ".1e")]
            for step, eta, *two, apart in self.rows
        ]
        last = (
            say(lang, "agree", steps=len(rows), **facts)
            if self.parts is None
            else say(lang, "parts", step=self.parts, **facts)
        )
        return say(lang, "sides", kind=self.kind), head, rows, last

    def __str__(self) -> str:
        title, (step, eta, first, second, apart), rows, last = self._text()
        lines = [title, f"  A  {first}", f"  B  {second}"]
        whole = [[step, eta, "A", "B", apart], *rows]
        widths = [max(map(width, column)) + 2 for column in zip(*whole)]
        for row in whole:
            lines.append("".join(" " * (w - width(cell)) + cell for cell, w in zip(row, widths)))
        return "\n".join([*lines, last])

    def _repr_html_(self) -> str:
        title, head, rows, last = self._text()
        return table(title, head, rows, last)


def compare_conventions(
    kind: str = "momentum",
    gradients: Gradients | None = None,
    schedule: Rate | None = None,
    steps: int | None = None,
    *,
    theta: float = 1.0,
    tolerance: float = 1e-6,
    lang: str | None = None,
) -> ConventionTable:
    """The two conventions of ``kind`` on one number θ, step by step: see ``CONVENTIONS``.

    ``gradients``: one for each update, or a function of θ (by default θ itself, the slope of
    θ²/2; for Adam and RMSprop gradients about as small as ε, where its place matters).
    ``schedule``: a rate, or a function of the updates done (by default 0.1 and, after 5 updates,
    0.01; for Adam and RMSprop 1e-3). ``steps`` is 10, or as many as there are gradients.
    Momentum is 0.9, the β are 0.9 and 0.999, ρ 0.99, ε 1e-8, AdamW's λ 0.1. Raises
    :class:`InputError` for an unknown kind, and for fewer gradients than steps.
    """
    if kind not in CONVENTIONS:
        raise unknown("kind of conventions", kind, CONVENTIONS)
    pair = CONVENTIONS[kind]
    given = pair.gradients if gradients is None else gradients
    lr = rate("compare_conventions: schedule", pair.lr if schedule is None else schedule)
    tolerance = non_negative("compare_conventions: tolerance", tolerance)
    if steps is None:
        steps = 10 if callable(given) else len(given)
    steps = count("compare_conventions: steps", steps)
    if not callable(given) and len(given) < steps:
        raise InputError(
            f"compare_conventions: {steps} steps need {steps} gradients, but {len(given)} were "
            "given; give more, or a function of θ"
        )
    states: list[_State] = [(np.float64(theta), *[np.float64(0)] * pair.buffers)] * 2
    rows = []
    for t in range(1, steps + 1):
        eta, first = (float(lr(n)) if callable(lr) else lr for n in (t - 1, 0))
        states = [
            update(
                state, given(float(state[0])) if callable(given) else given[t - 1], t, eta, first
            )
            for update, state in zip(pair.updates, states)
        ]
        a, b = (float(state[0]) for state in states)
        apart = abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0
        rows.append((t, eta, a, b, apart if math.isfinite(apart) else math.inf))
    return ConventionTable(kind, pair.names, tuple(rows), tolerance, language(lang))
