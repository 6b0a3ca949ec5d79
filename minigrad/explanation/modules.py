"""Which layer computed what: paths for results, names for parameters.

A module's call leaves on the last node that it made the number at which it began; the nodes with
numbers in between are what it computed, so calls lie in each other like brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minigrad.autograd import Leaf, Node
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
    for vertex in vertices:
        if isinstance(vertex.node, Node):
            inside = [c for c in calls if c.begin < vertex.node.number <= c.end]
            if inside:
                module = inside[-1].module
                vertex.module = paths.get(id(module), type(module).__name__)
                used |= {paths[id(c.module)]: c.module for c in inside if id(c.module) in paths}
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
    """Paths of modules by id, and (path of the module, name) of parameters by leaf."""
    paths: dict[int, str] = {}
    names: dict[Leaf, tuple[str, str]] = {}
    for root in roots:
        title = type(root).__name__
        taken = sum(path.partition(".")[0].partition(" ")[0] == title for path in paths.values())
        top = f"{title} {taken + 1}" if taken and title in paths.values() else title
        for path, module in root.named_modules():
            paths.setdefault(id(module), f"{top}.{path}" if path else top)
        for name, parameter in root.named_parameters().items():
            if isinstance(parameter._node, Leaf):
                inside = name.rpartition(".")[0]
                names.setdefault(parameter._node, (f"{top}.{inside}" if inside else top, name))
    return paths, names
