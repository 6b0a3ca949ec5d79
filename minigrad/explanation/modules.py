"""Which layer computed what: paths for results, names for parameters.

A module's call leaves on the last node that it made the number at which it began; the nodes with
numbers in between are what it computed, so calls lie in each other like brackets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from minigrad.autograd import Leaf, Node, Tensor
from minigrad.explanation.graph import Vertex
from minigrad.nn import Module

__all__ = ["name_modules"]


class _Call(NamedTuple):
    """What one call of a module computed: nodes with numbers from ``begin`` to ``end``."""

    begin: int
    end: int
    module: Module


def name_modules(vertices: Sequence[Vertex]) -> dict[str, Module]:
    """Give each vertex the path of its layer, and each parameter without a name its own path.

    Paths begin with the name of the class of the model that was called; the result holds every
    module that computed something, by path.
    """
    calls = [
        _Call(began, vertex.node.number, module)
        for vertex in vertices
        if isinstance(vertex.node, Node)
        for module, began in vertex.node.made_by
    ]
    calls.sort(key=lambda call: (call.begin, -call.end))
    paths, names = _paths(_outermost(calls))
    used: dict[str, Module] = {}
    waiting, inside = iter([*calls, None]), list[_Call]()
    coming = next(waiting)
    for vertex in vertices:
        if isinstance(vertex.node, Node):
            number = vertex.node.number
            while coming is not None and coming.begin < number:
                while inside and inside[-1].end < coming.begin:
                    inside.pop()
                inside.append(coming)
                coming = next(waiting)
            while inside and inside[-1].end < number:
                inside.pop()
            for call in inside:  # one that was made during the call has no path
                vertex.module = paths.get(id(call.module), type(call.module).__name__)
                used[vertex.module] = call.module
        elif isinstance(vertex.node, Leaf) and vertex.node in names:
            vertex.module, name = names[vertex.node]
            vertex.name = vertex.name or name
    return used


def _outermost(calls: Sequence[_Call]) -> list[Module]:
    """The modules that were called by no other, each once."""
    found: dict[int, Module] = {}
    end = -1
    for call in calls:
        if call.begin > end:
            end = call.end
            found.setdefault(id(call.module), call.module)
    return list(found.values())


def _paths(roots: Sequence[Module]) -> tuple[dict[int, str], dict[Leaf, tuple[str, str]]]:
    """Paths of modules by id, and (path of the module, name) of parameters by leaf.

    A parameter's name is its path in the model, with the model's before it where there are several.
    """
    paths: dict[int, str] = {}
    names: dict[Leaf, tuple[str, str]] = {}
    kinds = Counter(type(root).__name__ for root in roots)
    met: Counter[str] = Counter()
    for root in roots:
        top = type(root).__name__
        met[top] += 1
        if kinds[top] > 1:
            top = f"{top} {met[top]}"
        for path, module in root.named_modules():
            here = paths.setdefault(id(module), f"{top}.{path}" if path else top)
            for name, value in module._members():
                if isinstance(value, Tensor) and isinstance(value._node, Leaf):
                    own = f"{path}.{name}" if path else name
                    full = f"{top}.{own}" if len(roots) > 1 else own
                    names.setdefault(value._node, (here, full))
    return paths, names
