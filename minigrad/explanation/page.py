"""Explanations as a page: one file that loads nothing else, with all steps as data."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from minigrad.backend import Array
from minigrad.errors import InputError, MissingExtra
from minigrad.explanation.drawing import boxes, svg
from minigrad.explanation.explanation import Explanation
from minigrad.explanation.graph import Vertex
from minigrad.explanation.mathml import mathml
from minigrad.explanation.numbers import numbers
from minigrad.explanation.story import Line, headline, shown, tell
from minigrad.explanation.text import verdict
from minigrad.explanation.texts import say
from minigrad.files import write_whole

__all__ = ["frame", "page", "page_data", "write_page"]

_HEIGHT = 720  # pixels of the frame in a notebook
_SAID_BY_SCRIPT = ("forward", "backward", "step", "value", "gradient")
_LANGUAGES = {"en": "en", "zh": "zh-Hans"}


def write_page(
    explanation: Explanation, path: str | os.PathLike[str], depth: int | None = None
) -> None:
    """Write :func:`page` to ``path``, whole or not at all; :class:`InputError` where it cannot."""
    write_whole(path, page(explanation, depth).encode("utf-8", "replace"))


def frame(explanation: Explanation) -> str:
    """The page as an element for a notebook; of a graph too large to draw, a table by module."""
    title = html.escape(say("title", explanation.lang))
    try:
        whole = html.escape(page(explanation))
    except (InputError, MissingExtra) as error:
        return f"<pre>{html.escape(f'{error}')}\n\n{html.escape(explanation.by_module())}</pre>"
    return (
        f'<iframe title="{title}" sandbox="allow-scripts" srcdoc="{whole}" '
        f'style="width:100%;height:{_HEIGHT}px;border:0"></iframe>'
    )


def page(explanation: Explanation, depth: int | None = None) -> str:
    """The page as HTML. ``depth`` and errors as in :meth:`Explanation.to_html`.

    A policy in its head forbids every request and every script but its own, so that nothing that
    stands in a name could run.
    """
    lang = explanation.lang
    data = json.dumps(page_data(explanation, depth), separators=(",", ":"))
    template = resources.files("minigrad.explanation").joinpath("page.html").read_text("utf-8")
    script = template.partition("<script>")[2].partition("</script>")[0]
    backward = sum(step.phase == "backward" for step in explanation)
    parts = {
        "lang": _LANGUAGES[lang],
        "hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "graph": re.sub(r'(<text[^>]*?) font-family="[^"]*"', r"\1", svg(explanation, depth)),
        "data": data.replace("<", "\\u003c"),
        "count": f"{len(explanation)}",
        "turn": f"{100 * (1 - backward / len(explanation)):.2f}%",
        "summary": html.escape(_summary(explanation, backward)),
        "verdict": html.escape(verdict(explanation)),
    }
    return _fill(template, parts, lang)


def _fill(template: str, parts: Mapping[str, str], lang: str) -> str:
    """Put a part, or the text of that key, for each {{name}}; what is put in is not read again."""

    def part(found: re.Match[str]) -> str:
        name = found[1]
        return parts[name] if name in parts else html.escape(say(name, lang))

    return re.sub(r"\{\{(.+?)\}\}", part, template)


def _summary(explanation: Explanation, backward: int) -> str:
    loss = explanation.loss
    facts = {"label": loss.label, "value": shown(loss.value, explanation.lang)}
    forward = len(explanation) - backward
    return say("summary", explanation.lang, forward=forward, backward=backward, **facts)


def page_data(explanation: Explanation, depth: int | None = None) -> dict[str, Any]:
    """What the page's script shows. Texts, which repeat, stand once in ``words``; all else names
    them by their places there.

    ``steps``: [0 forward, 1 backward; vertex, from 0; headline; lines of label, text, kind, level].
    ``vertices``: [label, id of the box, value, value exactly, gradient, gradient exactly]; the
    exact ones are nested lists as JSON, "" where there are more than
    :data:`~minigrad.explanation.numbers.SMALL` elements or none.
    """
    lang = explanation.lang
    words = _Words(lang)
    place = {vertex: i for i, vertex in enumerate(explanation.vertices)}
    box, told = boxes(explanation, depth), [_told(v, lang) for v in explanation.vertices]
    steps = []
    for step in explanation:
        i, back = place[step.vertex], step.phase == "backward"
        lines = words.lines(tell(explanation, step), result=told[i][2 * back])
        steps.append([int(back), i, words.place(headline(step)), lines])
    vertices = [
        [words.place(text) for text in (vertex.label, box[vertex.number], *texts)]
        for vertex, texts in zip(explanation.vertices, told)
    ]
    return {
        "words": list(words.places),
        "steps": steps,
        "vertices": vertices,
        "texts": {
            key: say(key, lang, number="{number}", count="{count}") for key in _SAID_BY_SCRIPT
        },
    }


class _Words:
    """Texts, each kept once."""

    def __init__(self, lang: str) -> None:
        self.places: dict[str, int] = {}
        self._check = say("check", lang)

    def place(self, word: str) -> int:
        return self.places.setdefault(word, len(self.places))

    def lines(self, lines: list[Line], result: str) -> list[list[Any]]:
        """The lines of a step; what it is about, its value or gradient, is of kind "result"."""
        placed = [
            [
                self.place(line.label),
                self.place(mathml(line.latex) if line.latex else line.text),
                self._kind(line),
                line.level,
            ]
            for line in lines
        ]
        about = [
            one for one, line in zip(placed, lines) if self._kind(line) == "text" and not line.level
        ]
        for one in [one for one in about if one[1] == self.places.get(result)][-1:]:
            one[2] = "result"
        return placed

    def _kind(self, line: Line) -> str:
        if line.latex:
            return "formula"
        if line.code:
            return "code"
        return {"": "note", self._check: "prose"}.get(line.label, "text")


def _told(vertex: Vertex, lang: str) -> list[str]:
    """Value and gradient, each as a step tells it and exactly."""
    arrays = (vertex.value, vertex.gradient)
    return [text for a in arrays for text in (("", "") if a is None else _twice(a, lang))]


def _twice(array: Array, lang: str) -> tuple[str, str]:
    values = numbers(array).values
    return shown(array, lang), "" if values is None else json.dumps(values)
