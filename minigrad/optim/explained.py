"""One update of one parameter, line by line, from the formula that the optimizer itself runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.errors import InputError, unknown
from minigrad.language import language
from minigrad.latex import latex
from minigrad.optim._checks import non_negative, positive
from minigrad.optim._following import Executed, followed
from minigrad.optim._telling import NAMES, formula, math, say, shown, symbols, table, written
from minigrad.optim.base import Optimizer
from minigrad.optim.regularisation import decayed, effective_gradient, soft_threshold
from minigrad.optim.schedules import Schedule

__all__ = ["Line", "StepExplanation", "explain_step"]

SMALL = 6
"""Elements up to which a parameter is shown whole."""


@dataclass(frozen=True)
class Line:
    """One line of an update: ``name`` ← formula.

    ``source`` is the code that ran and ``latex`` its formula ("" where it is none), ``values`` what
    its names stood for before, ``substituted`` (LaTeX) and ``text`` the formula with these numbers,
    ``result`` what came out: a number, or an array in the parameter's shape. ``reason`` is one of
    rate, scaled, clipped, penalised, decayed, rule, threshold.
    """

    name: str
    source: str
    latex: str
    values: Mapping[str, Any]
    substituted: str
    text: str
    result: Any
    reason: str


@dataclass(frozen=True)
class StepExplanation:
    """The lines of one update, in the order in which they run; the last gives the new θ.

    ``before`` holds θ, g and the optimizer's state; ``str()`` is a numbered text, and a notebook
    shows a table with formulas (needs the extra ``explain``).
    """

    optimizer: str
    parameter: str
    index: tuple[int, ...] | None
    t: int
    before: Mapping[str, Any]
    lines: tuple[Line, ...]
    lang: str

    @property
    def title(self) -> str:
        """Which update of what."""
        at = "" if self.index is None else f"[{', '.join(map(str, self.index))}]"
        many = np.ndim(self.before["theta"]) > 0
        return (
            say(self.lang, "title", rule=self.optimizer, t=self.t, what=self.parameter + at)
            + say(self.lang, "elements") * many
        )

    def __str__(self) -> str:
        state = ", ".join(f"{name} = {shown(value)}" for name, value in self.before.items())
        parts = [self.title, f"{say(self.lang, 'before')}: {state}"]
        for number, line in enumerate(self.lines, 1):
            steps = dict.fromkeys(text for text in (line.text, shown(line.result)) if text)
            parts.append(f"{number:2}. {line.source or line.name}   ({self._why(line)})")
            parts.append(f"    {line.name} = {' = '.join(steps)}")
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        head = [say(self.lang, key) for key in ("line", "formula", "numbers", "why")]
        before = r",\quad ".join(
            f"{latex(name)} = {symbols(value, alone=True)}" for name, value in self.before.items()
        )
        rows = [["", "", math(before), escape(say(self.lang, "before"))]]
        for number, line in enumerate(self.lines, 1):
            name = latex(line.name)
            rule = math(rf"{name} \leftarrow {line.latex}") if line.latex else ""
            steps = dict.fromkeys(
                t for t in (line.substituted, symbols(line.result, alone=True)) if t
            )
            source = escape(line.source)
            shown_rule = f'<span title="{source}">{rule or f"<code>{source}</code>"}</span>'
            numbers = math(f"{name} = {' = '.join(steps)}")
            rows.append([str(number), shown_rule, numbers, escape(self._why(line))])
        return table(self.title, head, rows)

    def _why(self, line: Line) -> str:
        return say(self.lang, line.reason)


def explain_step(
    optimizer: Optimizer,
    parameter: str | None = None,
    index: tuple[int, ...] | None = None,
    *,
    scale: float = 1.0,
    clip_value: float | None = None,
    lang: str | None = None,
) -> StepExplanation:
    """What the coming ``optimizer.step(scale=…, clip_value=…)`` will do to one parameter.

    Give it before the step, with gradients in place; nothing is changed. ``parameter`` is a name
    (the first one by default); ``index`` picks an element, by default the one whose gradient is
    largest, and a parameter of up to 6 elements is shown whole. The lines come from running the
    functions themselves on the parameter: with ``form="formula"`` the step gives the last line's
    result bit for bit. ``lang`` is "en" or "zh". Raises :class:`InputError` for an unknown name, an
    index out of range, no gradient yet, and a parameter that ranks have divided (ZeRO).

    >>> theta = nn.Parameter([1.0])
    >>> optimizer = optim.SGD([theta], lr=0.1)
    >>> theta.grad = 2.0
    >>> print(optim.explain_step(optimizer, "0", lang="en"))
    SGD: update 1 of 0 (element by element)
    before: theta = [1], g = [2]
     1. eta = 0.1   (the learning rate of this update)
        eta = 0.1
     2. theta = theta - eta * g   (the optimizer's own formula)
        theta = [1] - 0.1 * [2] = [0.8]
    """
    if not isinstance(optimizer, Optimizer):
        raise InputError(
            f"explain_step was given {type(optimizer).__name__}, and explains an update of an "
            "optimizer: pass the optimizer, such as optim.Adam(model, 1e-3)"
        )
    scale = non_negative("explain_step: scale", scale)
    if clip_value is not None:
        clip_value = positive("explain_step: clip_value", clip_value)
    lang = language(lang)
    name, shape, theta, g, state = _found(optimizer, parameter)
    if index is None and theta.size > SMALL:
        largest = int(np.argmax(np.abs(to_numpy(g))))
        index = tuple(int(i) for i in np.unravel_index(largest, shape))
    at = _flat(name, index, shape)

    def pick(value: Any) -> Any:
        if getattr(value, "shape", None) != theta.shape:
            return float(value) if np.ndim(value) == 0 else np.array(to_numpy(value))
        found = np.array(to_numpy(value))
        return float(found[at]) if at is not None else found.reshape(shape)

    group = optimizer.groups[optimizer._group_of[name]]
    eta = optimizer._rate(group.get("lr", optimizer._lr))
    h = {**group, "eta": eta, "t": optimizer.steps + 1, "scale": scale, "clip_value": clip_value}
    before = {"theta": pick(theta), "g": pick(g)}
    before |= {key: pick(buffer) for key, buffer in zip(optimizer.state, state)}
    return StepExplanation(
        type(optimizer).__name__, name, index, optimizer.steps + 1, before,
        (_rate_line(optimizer, group, eta), *_lines(optimizer, h, theta, g, state, pick)), lang,
    )  # fmt: skip


def _lines(
    rule: Optimizer,
    h: Mapping[str, Any],
    theta: Array,
    g: Array,
    state: tuple[Array, ...],
    pick: Callable[[Any], Any],
) -> list[Line]:
    """As the executor has it: penalties look at θ before it decays, the threshold comes last."""
    told: list[Line] = []
    g, executed = followed(effective_gradient, ("g",), pick, theta, g, h)
    for line in executed:
        reason = "scaled" if "scale" in line.before else "penalised"
        reason = "clipped" if "clip_value" in line.before else reason
        idle = (reason == "scaled" and h["scale"] == 1) or (
            reason == "penalised" and not h["l1"] and not h["l2"]
        )
        if not idle:
            told.append(_line(line, reason))
    inputs = {name: h[name] for name in (*rule.hyper, *rule.takes)}
    start = theta
    if "weight_decay" not in inputs:
        start, executed = followed(decayed, ("theta",), pick, theta, h["eta"], h["weight_decay"])
        told += [_line(line, "decayed") for line in executed if h["weight_decay"]]
    names = ("theta", *rule.state)
    results, executed = followed(rule.formula, names, pick, start, g, *state, **inputs)
    told += [_line(line, "rule") for line in executed]
    if tau := h["eta"] * h["proximal_l1"]:
        new = (results[0] if isinstance(results, tuple) else results).astype(theta.dtype)
        _, executed = followed(soft_threshold, ("theta",), pick, new, tau)
        told += [_line(line, "threshold") for line in executed]
    return told


def _line(line: Executed, reason: str) -> Line:
    numbers = {name: symbols(value) for name, value in line.before.items()}
    filled = formula(line.filled, {**NAMES, **numbers})
    text = written(line.filled, line.before) if line.filled is not None else ""
    return Line(
        line.name, line.source, formula(line.shown), line.before, filled, text, line.after, reason
    )


def _rate_line(optimizer: Optimizer, group: Mapping[str, Any], eta: float) -> Line:
    """η is set, or a schedule's value after the updates done."""
    given = group.get("lr", optimizer._lr)
    if not callable(given):
        return Line("eta", f"eta = {given!r}", "", {}, "", "", eta, "rate")
    name = repr(given) if isinstance(given, Schedule) else getattr(given, "__name__", "schedule")
    call = f"{name}({optimizer.steps})"
    symbol = rf"\eta\left({optimizer.steps}\right)"
    return Line("eta", f"eta = {call}", symbol, {"t": optimizer.steps}, "", call, eta, "rate")


def _found(
    optimizer: Optimizer, name: str | None
) -> tuple[str, tuple[int, ...], Array, Array, tuple[Array, ...]]:
    """A parameter's name and shape, and its stretches of θ, g and state: views, 1-D."""
    places = {span.name: (i, span) for i, a in enumerate(optimizer.arenas) for span in a.spans}
    if name is None:
        name = next(known for known in optimizer._group_of if known in places)
    if name not in places:
        raise unknown("parameter", name, places)
    number, span = places[name]
    arena, own = optimizer.arenas[number], optimizer.state_buffers.owned[number]
    arena.refuse_if_moved()
    first, last, _ = own.part.indices(len(arena))
    if (first, last) != (0, len(arena)):
        raise InputError(
            f"explain_step: parameter '{name}' is divided among ranks (ZeRO), and this rank has "
            "the state of its own part only; explain a step of the same optimizer without ZeRO"
        )
    here = slice(span.start, span.stop)
    if not own.g.any():  # one parameter's zeros may be its gradient; a model's are none
        raise InputError(
            "explain_step: there is no gradient yet, all are zeros; run backward, then explain, "
            "then step"
        )
    buffers = optimizer.state_buffers.of_arena[number]
    return name, span.shape, arena.data[here], own.g[here], tuple(b[here] for b in buffers)


def _flat(name: str, index: Any, shape: tuple[int, ...]) -> int | None:
    """Where ``index`` is in the 1-D stretch."""
    if index is None:
        return None
    if (
        not isinstance(index, tuple)
        or len(index) != len(shape)
        or not all(isinstance(i, int | np.integer) and 0 <= i < n for i, n in zip(index, shape))
    ):
        raise InputError(
            f"explain_step: index {index!r} is not in parameter '{name}', whose shape is {shape}; "
            f"give a tuple of {len(shape)} whole numbers, each from 0 to below its axis's length"
        )
    return int(np.ravel_multi_index(index, shape)) if shape else 0
