"""explain: every step of forward and backward, with its numbers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from minigrad.autograd import Tensor
from minigrad.backend import Array
from minigrad.errors import InputError
from minigrad.explanation.check import Check, check
from minigrad.explanation.graph import Contribution, Vertex, run_again
from minigrad.explanation.modules import name_modules
from minigrad.language import language

__all__ = ["Explanation", "Step", "explain"]


class Step(NamedTuple):
    """One step: ``vertex`` is computed (phase "forward"), or its gradient is complete and handed
    on ("backward"). ``number`` counts from 1."""

    number: int
    phase: Literal["forward", "backward"]
    vertex: Vertex


class Explanation(Sequence[Step]):
    """A computation, step by step: a sequence of :class:`Step`, forward first.

    ``vertices`` are the values in the order of computation. ``str()`` gives numbered text; in a
    notebook it shows itself as the page that :meth:`to_html` writes.
    """

    def __init__(self, vertices: Sequence[Vertex], *, lang: str | None = None) -> None:
        self.vertices = list(vertices)
        self.lang = language(lang)
        self.modules = name_modules(self.vertices)
        self._tell_apart()
        self._checks: dict[Contribution, Check | None] = {}
        ways = [*(("forward", v) for v in self.vertices), *(("backward", v) for v in self._back())]
        self.steps = [Step(i, phase, v) for i, (phase, v) in enumerate(ways, 1)]  # type: ignore[arg-type]

    def _back(self) -> Iterator[Vertex]:
        """The vertices with a gradient, each after all that contributes to it."""
        waiting = {vertex: len(vertex.contributions) for vertex in self.vertices}
        if self.vertices[-1].kind == "leaf":
            yield self.vertices[-1]
        for vertex in reversed(self.vertices):
            if vertex.kind != "result":
                continue
            yield vertex
            for target in dict.fromkeys(c.target for c in vertex.sent):
                waiting[target] -= sum(c.target is target for c in vertex.sent)
                if target.kind == "leaf" and not waiting[target]:
                    yield target

    def _tell_apart(self) -> None:
        """Vertices of one name get their numbers added to it."""
        names = Counter(vertex.name for vertex in self.vertices)
        for vertex in self.vertices:
            if vertex.name and names[vertex.name] > 1:
                vertex.name = f"{vertex.name} (v{vertex.number})"

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, i):  # type: ignore[no-untyped-def]
        return self.steps[i]

    @cached_property
    def loss(self) -> Vertex:
        """The scalar that is explained."""
        return self.vertices[-1]

    def check(self, contribution: Contribution) -> Check | None:
        """The rule's result beside a central difference; worked out when first asked for."""
        if contribution not in self._checks:
            self._checks[contribution] = check(contribution)
        return self._checks[contribution]

    @cached_property
    def wrong(self) -> list[Step]:
        """The steps with a rule that its check says is wrong; empty where all is well."""
        return [
            step
            for step in self.steps
            if step.phase == "backward"
            and any(
                found is not None and found.verdict == "wrong"
                for found in map(self.check, step.vertex.sent)
            )
        ]

    def vertex(self, tensor: Tensor | str) -> Vertex:
        """The vertex of a Tensor of this computation, or of a name or label such as v7."""
        if isinstance(tensor, str):
            found = [
                vertex
                for vertex in self.vertices
                if vertex.label == tensor or vertex.label == f"{tensor} (v{vertex.number})"
            ]
            what = f"Tensor '{tensor}'"
        else:
            node, data = tensor._node, tensor._data
            found = [
                vertex
                for vertex in self.vertices
                if (vertex.node is node if node is not None else vertex.origin is data)
            ]
            what = f"such Tensor, '{tensor.name}' of shape {tensor.shape},"
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{len(found)} Tensors of this computation are called '{tensor}': give the Tensor "
                "itself, or names that differ"
            )
        known = ", ".join(vertex.label for vertex in self.vertices[:20])
        raise InputError(f"there is no {what} in this computation, but there are {known}")

    def gradient(self, tensor: Tensor | str) -> Array:
        """dL/d(tensor), what backward would add to its ``grad``."""
        gradient = self.vertex(tensor).gradient
        if gradient is None:
            raise InputError(f"'{self.vertex(tensor).label}' is a constant and has no gradient")
        return gradient

    def __str__(self) -> str:
        from minigrad.explanation.text import text

        return text(self)

    def __repr__(self) -> str:
        return (
            f"<Explanation of {self.loss.label} = {self.loss.value.item():g}, {len(self)} steps: "
            "print it, or .to_html('steps.html')>"
        )

    def by_module(self) -> str:
        """A table of layers: values computed, gradient norm; for graphs too large to look at."""
        from minigrad.explanation.text import by_module

        return by_module(self)

    def _repr_html_(self) -> str:
        from minigrad.explanation.page import frame

        return frame(self)

    def to_html(self, path: str | os.PathLike[str], *, depth: int | None = None) -> None:
        """Write a page that steps through this computation: one file that loads nothing else.

        ``depth`` draws each module that many levels below the model as one box; 0 the whole model.
        Raises :class:`InputError` for more than ``drawing.LIMIT`` boxes,
        and where the file cannot be written; :class:`MissingExtra` without the extra ``explain``.
        """
        from minigrad.explanation.page import write_page

        write_page(self, path, depth)

    def draw(self, path: str | os.PathLike[str], *, depth: int | None = None) -> None:
        """Draw the graph into a file that ends in .svg, .png or .pdf: value and gradient on every
        node, modules as frames around what they computed. ``depth`` and errors as in
        :meth:`to_html`.
        """
        from minigrad.explanation.drawing import draw

        draw(self, path, depth)


def explain(loss: Tensor, *, lang: str | None = None) -> Explanation:
    """Every step of ``loss``'s forward and backward, made from its graph and the ops' own rules.

    Call it before ``loss.backward()``, which frees the graph; nothing is added to any ``grad``.
    ``loss`` is a scalar. Names come from ``tensor.name = "w1"`` and from the layers' paths. The
    forward is run once more, and hooks are called: on several ranks with ops that communicate, all
    call it together.
    ``lang`` is "en" or "zh"; by default the locale's. Raises :class:`InputError` where ``loss`` is
    no scalar, where nothing behind it wants a gradient, where backward has freed the graph, and
    where data that it used has been overwritten since. (Backpropagation: D1 §3.2.)

    >>> w = Tensor(3.0, requires_grad=True, name="w")
    >>> story = mg.explain(w * w, lang="en")
    >>> story.gradient("w"), story.wrong
    (array(6., dtype=float32), [])
    >>> [f"{step.phase} {step.vertex.label}" for step in story]
    ['forward w', 'forward v2', 'backward v2', 'backward w']
    """
    return Explanation(run_again(loss), lang=lang)
