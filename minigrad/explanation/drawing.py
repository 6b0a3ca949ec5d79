"""Explanations as pictures: boxes for values, frames for modules, laid out by Graphviz."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from minigrad.backend import Array
from minigrad.errors import InputError, require, unknown
from minigrad.explanation.explanation import Explanation
from minigrad.explanation.graph import Vertex
from minigrad.explanation.numbers import numbers
from minigrad.explanation.texts import say
from minigrad.files import write_whole

__all__ = ["LIMIT", "boxes", "draw", "svg"]

LIMIT = 2500  # boxes in one picture
_ENDINGS = (".pdf", ".png", ".svg")
_WIDE, _LONG = 28, 40  # letters: of a row of numbers, and of a name
_OFTEN = 8  # uses of a leaf up to which one box is enough
_LARGE = 300  # boxes from which on edges are straight, which takes a fraction of the time

# The first are as wide as each other, so that text fits its box in whichever a reader has.
_FONTS = (
    "Helvetica,Arial,Liberation Sans,Noto Sans CJK SC,Source Han Sans SC,PingFang SC,"
    "Microsoft YaHei,WenQuanYi Micro Hei,sans-serif"
)
_GRADIENT = "#A03C00"  # on each of the fills at least 4.5 to 1
_STYLES = {
    "leaf": 'shape=octagon style=filled fillcolor="#FFE9BF" color="#C07F00" margin="0.02,0.02"',
    "constant": 'shape=box style=filled fillcolor="#F2F2F2" color="#BBBBBB" fontcolor="#5F5F5F" '
    'fontsize=9 margin="0.06,0.03" height=0.2',
    "result": 'shape=box style="rounded,filled" fillcolor="#DCEBF7" color="#0072B2"',
    "module": 'shape=box3d style=filled fillcolor="#D8F0E7" color="#007A5A"',
}


@dataclass(eq=False)
class _Box:
    """What is drawn as one: a vertex, or all of a module; ``inside`` names its frames."""

    id: str
    kind: str
    inside: tuple[str, ...]
    vertices: list[Vertex] = field(default_factory=list)
    path: str = ""


def draw(explanation: Explanation, path: str | os.PathLike[str], depth: int | None = None) -> None:
    """Draw the graph to ``path``, which ends in .svg, .png or .pdf; data flows downwards.

    Leaves are octagons, results rounded boxes, constants small and grey, modules frames; each box
    has value and gradient. ``depth`` draws each module that many levels below the model as one box;
    0 the whole model. A Chinese name in a .png or .pdf needs a font on this machine that has it;
    an .svg leaves that to whoever shows it. Raises :class:`InputError` for another ending, for more
    than :data:`LIMIT` boxes and where ``path`` cannot be written, and :class:`MissingExtra`
    without the extra ``explain``.
    """
    ending = Path(path).suffix.lower()
    if ending not in _ENDINGS:
        raise unknown("ending of a picture", ending, _ENDINGS)
    write_whole(path, _render(explanation, depth, ending[1:]))


def svg(explanation: Explanation, depth: int | None = None) -> str:
    """The picture as one <svg> element for a page. Each box is a group with the id that
    :func:`boxes` gives, of class "node" and its kind ("leaf", "constant", "result" or "module");
    an edge's <title> is "v1->v2". A further box of a leaf or constant that is used very often has
    an id such as "v1_7" and the class "copy" as well. All colours are attributes, so a page's style
    sheet overrides them. ``depth`` and errors as in :func:`draw`.
    """
    text = _render(explanation, depth, "svg").decode()
    text = re.sub(r"<!--.*?-->\n", "", text[text.index("<svg") :], flags=re.DOTALL)
    fonts = f' font-family="{_FONTS}"'
    return text.replace(fonts, "").replace("<svg", f"<svg{fonts}", 1)


def boxes(explanation: Explanation, depth: int | None = None) -> dict[int, str]:
    """The id of the box in :func:`svg` that each vertex is drawn in, by the vertex's number."""
    return {v.number: box.id for box in _boxes(explanation, depth) for v in box.vertices}


def _boxes(explanation: Explanation, depth: int | None) -> list[_Box]:
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise InputError(
            f"depth counts levels of modules below the model, from 0, and was given as {depth!r}"
        )
    found: dict[str, _Box] = {}
    modules = 0
    for vertex in explanation.vertices:
        frames = _frames(explanation, vertex.module)
        if depth is not None and len(frames) > depth:
            path = frames[depth]
            if path not in found:
                modules += 1
                found[path] = _Box(f"m{modules}", "module", frames[:depth], path=path)
            found[path].vertices.append(vertex)
        else:
            name = f"v{vertex.number}"
            found[f"\0{name}"] = _Box(name, vertex.kind, frames, [vertex])
    if len(found) > LIMIT:
        smaller = (
            "draw each module as one box with depth=1 (0 for the whole model), or print "
            "explanation.by_module(), a table"
            if explanation.modules
            else "it has no modules to draw as one box each: explain a part of it, or print it"
        )
        raise InputError(
            f"this computation has {len(explanation.vertices)} values, which make {len(found)} "
            f"boxes, and a picture takes {LIMIT}: {smaller}"
        )
    return list(found.values())


def _frames(explanation: Explanation, path: str) -> tuple[str, ...]:
    """The paths of the modules around and at ``path``, the model's first."""
    parts = path.split(".")
    prefixes = (".".join(parts[: i + 1]) for i in range(len(parts)))
    return tuple(p for p in prefixes if p and (p in explanation.modules or p == path))


def _render(explanation: Explanation, depth: int | None, format: str) -> bytes:
    found = _boxes(explanation, depth)
    source = "\n".join(_source(explanation, found, dpi=144 if format == "png" else 72))
    graph = require("pygraphviz", "explain").AGraph(string=source)
    with contextlib.redirect_stderr(io.StringIO()):  # it warns of more than 1000 nodes
        picture: bytes = graph.draw(format=format, prog="dot")
    return picture


def _source(explanation: Explanation, found: list[_Box], dpi: int) -> Iterator[str]:
    """The graph in Graphviz's language."""
    lines = "polyline" if len(found) > _LARGE else "true"
    yield f"digraph {{ rankdir=TB bgcolor=transparent splines={lines} ranksep=0.3 nodesep=0.25"
    yield f'dpi={dpi} fontname="{_FONTS}" fontsize=11 fontcolor="#444444" pad=0.15'
    if len(found) > _LARGE:
        yield "nslimit=2 nslimit1=2 mclimit=0.5"
    yield f'node [fontname="{_FONTS}" fontsize=11 fontcolor="#111111" margin="0.12,0.07"]'
    yield 'edge [color="#666666" arrowsize=0.6 penwidth=1]'
    yield from _framed(explanation, found)
    yield from _edges(found)
    yield "}"


def _framed(explanation: Explanation, found: list[_Box]) -> Iterator[str]:
    """The boxes, each within its frames; those of one frame stand together."""
    groups: dict[tuple[str, ...], list[_Box]] = {}
    for box in found:
        for i in range(len(box.inside) + 1):
            groups.setdefault(box.inside[:i], [])
        groups[box.inside].append(box)
    open_: tuple[str, ...] = ()
    for number, frames in enumerate(sorted(groups)):  # a frame directly before what is in it
        while open_ != frames[: len(open_)]:
            yield "}"
            open_ = open_[:-1]
        if frames:
            title = _title(explanation, frames[-1], frames[-2] if len(frames) > 1 else "")
            yield f"subgraph cluster{number} {{ label=<{title}> labeljust=l style=rounded"
            yield 'color="#9A9A9A" class=module margin=10'
            open_ = frames
        for box in groups[frames]:
            label = "<BR/>".join(_label(explanation, box))
            style = _STYLES[box.kind]
            if explanation.loss in box.vertices:
                style += " peripheries=2"
            yield f"{box.id} [id={box.id} class={box.kind} label=<{label}>{style}]"
    yield from "}" * len(open_)


def _edges(found: list[_Box]) -> Iterator[str]:
    """The arrows. What is no result and used very often gets a box of its name beside each further
    use: arrows across the whole picture would hide it, and take Graphviz minutes."""
    where = {vertex: box for box in found for vertex in box.vertices}
    pairs = [
        (where[argument.vertex], box)
        for target, box in where.items()
        for argument in target.arguments
        if argument.vertex is not None
    ]
    arrows = Counter(pair for pair in pairs if pair[0] is not pair[1])
    uses = Counter(source for source, _ in arrows)
    met = set()
    for number, ((source, box), count) in enumerate(arrows.items()):
        merged = "module" in (source.kind, box.kind)
        grey = 'color="#BBBBBB" class=constant' if source.kind == "constant" else ""
        start = source.id
        if source in met and uses[source] > _OFTEN and source.kind in ("leaf", "constant"):
            start = f"{source.id}_{number}"
            facts = f'id={start} class="copy {source.kind}" {_STYLES[source.kind]}'
            yield f"{start} [label=<{_text(source.vertices[0].label)}> {facts}]"
        met.add(source)
        for _ in range(1 if merged else count):
            yield f"{start} -> {box.id} [{grey}]"


def _title(explanation: Explanation, path: str, above: str) -> str:
    """``layers.0 · Dense``: where it is in the module around it, and its class."""
    name = path.removeprefix(f"{above}.") if above else path
    module = explanation.modules.get(path)
    kind = type(module).__name__ if module is not None else ""
    return f"<B>{_text(name)}</B>" + (f" · {_text(kind)}" if kind and kind != name else "")


def _label(explanation: Explanation, box: _Box) -> Iterator[str]:
    lang = explanation.lang
    if box.kind == "module":
        results = [v for v in box.vertices if v.kind == "result"] or box.vertices
        yield _title(explanation, box.path, box.inside[-1] if box.inside else "")
        yield f"{say('values', lang)}: {len(results)}"
        yield from _numbers("output", results[-1].value, lang, whole=False)
        yield from _gradient(results[-1], lang, whole=False)
        return
    (vertex,) = box.vertices
    label = _text(vertex.label)
    shape = f" {vertex.value.shape}" if vertex.value.ndim else ""
    if vertex.op is None:
        yield f"<B>{label}</B>{shape}" if vertex.kind == "leaf" else f"{label}{shape}"
    else:
        yield f"<B>{_text(vertex.op.name)}</B>  {label}{shape}"
    yield from _numbers("value", vertex.value, lang)
    yield from _gradient(vertex, lang)


def _gradient(vertex: Vertex, lang: str, whole: bool = True) -> Iterator[str]:
    if vertex.gradient is not None:
        for line in _numbers("gradient", vertex.gradient, lang, whole):
            yield f'<FONT COLOR="{_GRADIENT}">{line}</FONT>'


def _numbers(key: str, array: Array, lang: str, whole: bool = True) -> Iterable[str]:
    """All numbers where they fit into two short lines, else their norm."""
    facts, word = numbers(array), say(key, lang)
    if facts.values is not None and whole:
        text = _row(facts.values)
        if len(text) <= _WIDE:
            return [f"{word}: {text}"]
        rows = [_row(row) for row in facts.values]
        if len(rows) == 2 and all(len(row) <= _WIDE for row in rows):
            return [f"{word}: [{rows[0]},", f"{rows[1]}]"]
    return [f"{word}: {say('length', lang, norm=f'{facts.norm:.4g}')}"]


def _row(values: object) -> str:
    if isinstance(values, list):
        return f"[{', '.join(map(_row, values))}]"
    return f"{values:.4g}" if isinstance(values, float | np.floating) else str(values)


def _text(name: str) -> str:
    """A name as text for a label: short, and without what XML cannot hold."""
    name = name if len(name) <= _LONG else f"{name[: _LONG - 1]}…"
    name = "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in name)
    text = escape(name, quote=False)
    return text.replace("\\", "\\\\")  # else Graphviz would take \N for the node's name
