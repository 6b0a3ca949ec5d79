"""What is told of a step: labelled lines, from which text and pages are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array
from minigrad.explanation.explanation import Explanation, Step
from minigrad.explanation.formulas import FORWARD, forward_formula, rule_formula
from minigrad.explanation.graph import Argument, Contribution, Vertex, total
from minigrad.explanation.numbers import numbers
from minigrad.explanation.texts import say
from minigrad.latex import plain, source_of

__all__ = ["Line", "headline", "shown", "tell"]


class Line(NamedTuple):
    """One line of a step: a label and a text. ``latex`` is a formula that stands for the text where
    formulas can be shown, ``code`` marks source text, ``level`` says how far it is indented."""

    label: str
    text: str
    latex: str = ""
    code: bool = False
    level: int = 0


def shown(array: Array, lang: str) -> str:
    """Small arrays whole, large ones by shape, mean, norm and range."""
    facts = numbers(array)
    if not array.size:
        return say("empty", lang, shape=facts.shape)
    if facts.values is not None:
        return np.array2string(
            np.asarray(facts.values),
            separator=", ",
            formatter={"all": _short},
            max_line_width=10**6,
        ).replace("\n", "")
    told = {key: _short(getattr(facts, key)) for key in ("mean", "norm", "low", "high")}
    return say("large", lang, shape=facts.shape, **told)


def headline(step: Step) -> str:
    """What the step computes: ``v7 = tanh(x=v6)``, or whose gradient is complete: ``dL/dv6``."""
    vertex = step.vertex
    if step.phase == "backward":
        return f"dL/d{vertex.label}" if vertex.label.isidentifier() else f"dL/d({vertex.label})"
    if vertex.op is None:
        return vertex.label
    inputs = ", ".join(
        argument.vertex.label if argument.vertex else f"{argument.name}={_constant(argument)}"
        for argument in _worth_telling(vertex)
    )
    return f"{vertex.label} = {vertex.op.name}({inputs})"


def tell(explanation: Explanation, step: Step) -> list[Line]:
    """The lines of ``step``, in the explanation's language."""
    told = _forward if step.phase == "forward" else _backward
    return list(told(explanation, step.vertex, explanation.lang))


def _forward(explanation: Explanation, vertex: Vertex, lang: str) -> Iterator[Line]:
    if vertex.op is None:
        yield Line("", say(vertex.kind, lang))
    if vertex.module:
        key = "of module" if vertex.op is None else "in module"
        yield Line("", say(key, lang, module=vertex.module))
    if vertex.op is not None:
        formula = forward_formula(vertex)
        yield Line(say("formula", lang), plain(formula), formula)
        text = (vertex.op.forward.__doc__ or "").partition("\n\n")[0]
        if vertex.op.name not in FORWARD and text:
            yield Line("", " ".join(text.split()))
        for argument in _worth_telling(vertex):
            yield Line(say("input", lang, argument=argument.name), _given(argument, lang))
    yield Line(say("value", lang), shown(vertex.value, lang))


def _backward(explanation: Explanation, vertex: Vertex, lang: str) -> Iterator[Line]:
    assert vertex.gradient is not None
    if vertex is explanation.loss:
        yield Line("", say("starts", lang))
    came = [
        (say("from", lang, source=c.source.label, argument=c.argument), shown(c.value, lang))
        for c in vertex.contributions
    ]
    label = say("arrives", lang)
    if len(came) == 1:
        label = f"{label}{'' if lang == 'zh' else ' '}{came[0][0]}"
    elif came:
        yield Line("", say("paths meet", lang, count=len(came)))
        yield from (Line(*one, level=1) for one in came)
        label = say("sum", lang)
    if vertex.hooked and vertex.contributions:
        yield Line(label, shown(total(vertex.contributions), lang))
        label = say("hook", lang)
    yield Line(label, shown(vertex.gradient, lang))
    for c in vertex.sent:
        yield from _rule(explanation, c, lang)
    if vertex.kind == "leaf":
        yield Line("", say("done", lang, name=vertex.label))


def _rule(explanation: Explanation, c: Contribution, lang: str) -> Iterator[Line]:
    formula, source = rule_formula(c), source_of(c.rule)
    yield Line(say("rule", lang, argument=c.argument), plain(formula), formula)
    if source:
        yield Line(say("source", lang), source, code=True, level=1)
    if c.axes:
        axes = ", ".join(map(str, c.axes))
        yield Line("", say("summed", lang, argument=c.argument, axes=axes), level=1)
    yield Line(say("to", lang, target=c.target.label), shown(c.value, lang), level=1)
    found = explanation.check(c)
    if found is None:
        yield Line(say("check", lang), say("unchecked", lang), level=1)
    else:
        facts = {key: _short(getattr(found, key)) for key in ("rule", "difference", "tolerance")}
        facts["error"] = f"{found.error:.1e}"
        yield Line(say("check", lang), say(found.verdict, lang, **facts), level=1)


def _worth_telling(vertex: Vertex) -> list[Argument]:
    """The arguments, without scratch and those that are as they are by default."""
    assert vertex.op is not None
    usual = dict(zip(vertex.op.names, vertex.op.defaults))
    return [
        argument
        for argument in vertex.arguments
        if argument.name not in vertex.op.writes
        and (argument.vertex or repr(argument.constant) != repr(usual.get(argument.name, ...)))
    ]


def _given(argument: Argument, lang: str) -> str:
    if argument.vertex is None:
        return _constant(argument)
    return f"{argument.vertex.label}: {shown(argument.vertex.value, lang)}"


def _constant(argument: Argument) -> str:
    text = repr(argument.constant)
    return text if len(text) <= 40 else text[:39] + "…"


def _short(x: Any) -> str:
    """A number with six digits; a large count of zeros becomes an exponent."""
    return f"{x:.6g}" if isinstance(x, float | np.floating) else str(x)
