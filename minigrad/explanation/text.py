"""Explanations as text: numbered steps for a terminal, a table of layers."""

from __future__ import annotations

from minigrad.explanation.explanation import Explanation, Step
from minigrad.explanation.numbers import numbers
from minigrad.explanation.story import headline, tell
from minigrad.explanation.texts import say
from minigrad.language import columns

__all__ = ["by_module", "step_text", "text", "verdict"]


def text(explanation: Explanation) -> str:
    """All steps, one after another, and at the end which rules are wrong, if any is."""
    parts = [step_text(explanation, step) for step in explanation]
    return "\n\n".join([*parts, *filter(None, [verdict(explanation)])])


def verdict(explanation: Explanation) -> str:
    """Which steps have a rule that is wrong; "" where none has."""
    wrong = explanation.wrong
    if not wrong:
        return ""
    steps = ", ".join(str(step.number) for step in wrong)
    names = ", ".join(dict.fromkeys(step.vertex.op.name for step in wrong if step.vertex.op))
    return say("wrong rules", explanation.lang, steps=steps, names=names)


def step_text(explanation: Explanation, step: Step) -> str:
    """One step: its number, what it computes, and what there is to say of it."""
    lang = explanation.lang
    number = say("step", lang, number=step.number, count=len(explanation))
    lines = [f"{number} · {say(step.phase, lang)} · {headline(step)}"]
    for line in tell(explanation, step):
        colon = "：" if lang == "zh" else ": "
        label = f"{line.label}{colon}" if line.label else ""
        first, *rest = f"{label}{line.text}".splitlines()
        indent = "  " * (line.level + 1)
        lines += [indent + first, *(f"{indent}    {more}" for more in rest)]
    return "\n".join(lines)


def by_module(explanation: Explanation) -> str:
    """A table of layers: how many values each computed, the norms of its output and gradient."""
    lang = explanation.lang
    rows = [tuple(say(key, lang) for key in ("layer", "values", "norm", "gradient norm"))]
    groups: dict[str, list[int]] = {}
    for i, vertex in enumerate(explanation.vertices):
        if vertex.kind == "result":
            groups.setdefault(vertex.module, []).append(i)
    for module, places in groups.items():
        last = explanation.vertices[places[-1]]
        norms = (f"{numbers(a).norm:.4g}" for a in (last.value, last.gradient) if a is not None)
        rows.append((module or say("outside", lang), str(len(places)), *norms))
    return columns(rows)
