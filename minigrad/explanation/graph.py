"""What a computation is made of, with all its numbers: the graph run again, forward and backward.

The forward of every op is called once more on its own arguments, and the gradient rules by the
engine's own :func:`~minigrad.autograd.graph.propagate`, which reports to a watch. So what is shown
is what backward does, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.autograd import Leaf, Node, Op, Tensor
from minigrad.autograd.graph import fit, propagate, run_hooks, stamp, walk
from minigrad.autograd.plan import Rule
from minigrad.backend import Array, array_module
from minigrad.distributed.communicator import Communicator
from minigrad.errors import InputError

__all__ = ["Argument", "Contribution", "Vertex", "communicates", "run_again", "total"]


@dataclass(eq=False, repr=False)
class Vertex:
    """A value of the computation: a leaf, a constant, or what an op gave.

    ``number`` counts from 1 in the order of computation. ``kind`` is "leaf" (it wants a gradient),
    "constant" (it does not) or "result". ``gradient`` is dL/d(value), ``contributions`` what it is
    the sum of, in the order in which they arrived. ``module`` is the path of the layer, or "".
    ``value`` of a leaf or a constant is a copy of ``origin``, so what happens to the model later
    changes nothing that is told here.
    """

    number: int
    kind: str
    value: Array
    name: str = ""
    op: Op | None = None
    arguments: list[Argument] = field(default_factory=list)
    gradient: Array | None = None
    contributions: list[Contribution] = field(default_factory=list)
    sent: list[Contribution] = field(default_factory=list)
    module: str = ""
    node: Node | Leaf | None = None
    hooked: bool = False
    origin: Array | None = None

    @property
    def label(self) -> str:
        """Its name, or v and its number."""
        return self.name or f"v{self.number}"

    def __repr__(self) -> str:
        op = f" = {self.op.name}(…)" if self.op is not None else ""
        return f"<{self.kind} {self.label}{op}, shape {self.value.shape}>"


@dataclass(eq=False, repr=False)
class Argument:
    """One argument of an op: a vertex, or a plain ``constant`` such as an axis or a number."""

    name: str
    vertex: Vertex | None = None
    constant: Any = None

    def __repr__(self) -> str:
        return f"{self.name}={self.constant if self.vertex is None else self.vertex!r}"


@dataclass(eq=False, repr=False)
class Contribution:
    """What the rule of ``source``'s op for one argument gives to ``target``'s gradient.

    ``axes`` are those of the broadcast result that were summed because the argument had been
    repeated along them; ``value`` is the sum.
    """

    source: Vertex
    position: int
    target: Vertex
    rule: Rule
    value: Array
    axes: tuple[int, ...]

    @property
    def argument(self) -> str:
        """The name of the argument that the rule is for."""
        return self.source.arguments[self.position].name

    def __repr__(self) -> str:
        return f"<from {self.source.label} to {self.target.label}, shape {self.value.shape}>"


class _Watch:
    """Notes every gradient that a backward pass hands on."""

    def __init__(self) -> None:
        self.arrived: dict[Node, Array] = {}
        self.sent: list[tuple[Node, int, Array]] = []

    def arrives(self, node: Node, g: Array) -> None:
        self.arrived[node] = g

    def sends(self, node: Node, edge: int, g: Array) -> None:
        self.sent.append((node, edge, g))


def run_again(loss: Tensor) -> list[Vertex]:
    """All vertices behind ``loss``, in the order of computation, ``loss`` last.

    Raises :class:`InputError` where ``loss`` is no scalar, where nothing behind it wants a
    gradient, where backward has freed the graph, and where data has been overwritten since.
    """
    root = _root(loss)
    nodes, _ = walk([root])
    _refuse_what_is_gone(nodes)
    vertices = _forward(root, nodes)
    again = vertices[root].value
    talks = any(communicates(vertex) for vertex in vertices.values())  # sums may come in any order
    if not np.allclose(again, loss.data, rtol=1e-5 if talks else 0, atol=0, equal_nan=True):
        raise InputError(
            f"run again, this computation gives {again.item():.9g} and no more {loss.item():.9g}: "
            "an array that it used has been overwritten since (compute it again before it is "
            "explained), or one of its ops gives another result each time"
        )
    _backward(root, nodes, vertices)
    return sorted(vertices.values(), key=lambda vertex: vertex.number)


def _root(loss: Tensor) -> Node | Leaf:
    if not isinstance(loss, Tensor):
        raise InputError(
            f"explain was given {type(loss).__name__}, and needs a Tensor: the scalar that "
            "backward() would be called on"
        )
    if loss.size != 1:
        raise InputError(
            f"explain starts at a scalar, as backward does, and this Tensor has shape "
            f"{loss.shape}: reduce it with .sum() or .mean()"
        )
    if loss._node is None:
        raise InputError(
            "there is nothing to explain: no input of this Tensor was made with "
            "requires_grad=True, or it was computed under no_grad"
        )
    return loss._node


def _refuse_what_is_gone(nodes: list[Node]) -> None:
    for node in nodes:
        if node.kept is None:
            raise InputError(
                f"backward has used and freed the graph of this '{node.plan.name}': explain before "
                "backward, or call backward(retain_graph=True)"
            )
        if node.plan.kept_edges and stamp(node.plan.kept_edges, node.edges) != node.stamp:
            raise InputError(
                f"a parameter that '{node.plan.name}' used has been overwritten since (by an "
                "optimizer's step or a write to .data): compute the loss again, then explain it"
            )


def _forward(root: Node | Leaf, nodes: list[Node]) -> dict[Any, Vertex]:
    """The vertices by node, leaf, or id of a constant array, their values computed again."""
    found: dict[Any, Vertex] = {}

    def add(key: Any, **facts: Any) -> Vertex:
        found[key] = vertex = Vertex(len(found) + 1, **facts)
        return vertex

    def leaf(edge: Node | Leaf) -> Vertex:
        if isinstance(edge, Leaf) and edge not in found:
            hooked = bool(edge.hooks)
            add(
                edge, kind="leaf", value=edge.data.copy(order="K"), name=edge.name, node=edge,
                hooked=hooked, origin=edge.data,
            )  # fmt: skip
        return found[edge]

    if isinstance(root, Leaf):
        leaf(root)
    for node in reversed(nodes):
        plan, op = node.plan, node.plan.op
        raw, arguments = plan.arguments(node), list[Argument]()
        for i, value in enumerate(raw):
            name = _name(op, i, len(raw))
            if plan.wants[i]:
                arguments.append(Argument(name, leaf(value)))
                raw[i] = value = leaf(value).value
            elif hasattr(value, "dtype") and name not in op.writes:
                given = (node.constants or {}).get(i, "")
                if id(value) not in found:
                    add(id(value), kind="constant", value=value.copy(order="K"), origin=value)
                constant = found[id(value)]
                told = name if len(name) > 2 else ""  # labels, ids: better than v9; x and a are not
                constant.name = constant.name or given or told
                arguments.append(Argument(name, constant))
            else:
                arguments.append(Argument(name, constant=value))
            if name in op.writes:
                raw[i] = value.copy(order="K")
        y = op.call(array_module(*raw, op=op.name), *raw)
        if isinstance(y, np.generic) or not hasattr(y, "dtype"):
            y = array_module(*raw).asarray(y)
        add(
            node, kind="result", value=y.astype(node.dtype, copy=False), name=node.name, op=op,
            arguments=arguments, node=node, hooked=bool(node.hooks),
        )  # fmt: skip
    return found


def _name(op: Op, i: int, count: int) -> str:
    """The name of argument ``i`` of ``count``; those of a variadic op are numbered."""
    name = op.name_of(i, count)
    several = op.variadic and name == op.names[0]
    return f"{name}[{i}]" if several else name


def _backward(root: Node | Leaf, nodes: list[Node], vertices: dict[Any, Vertex]) -> None:
    """Give every vertex its gradient and its contributions."""
    top = vertices[root]
    top.gradient = array_module(top.value).ones(top.value.shape, top.value.dtype)
    watch, everything = _Watch(), {*nodes, *(edge for node in nodes for edge in node.edges)}
    if nodes:
        try:
            propagate(
                nodes, {root: top.gradient}, lambda leaf, g: None,
                needed=everything, retain_graph=True, watch=watch,
            )  # fmt: skip
        except InputError:
            raise
        except Exception as error:
            *_, last = watch.arrived
            raise InputError(
                f"a gradient rule of '{last.plan.name}' fails where a gradient of shape "
                f"{last.shape} arrives: {type(error).__name__}: {error}; mend the rule, then "
                "explain again"
            ) from error
    for node, g in watch.arrived.items():
        vertices[node].gradient = g
    for node, edge, g in watch.sent:
        source, target = vertices[node], vertices[node.edges[edge]]
        contribution = Contribution(
            source, _position(node, edge), target, _rule(node, edge),
            fit(g, node.edges[edge], node.plan.name), _summed(g.shape, target.value.shape),
        )  # fmt: skip
        source.sent.append(contribution)
        target.contributions.append(contribution)
    for vertex in vertices.values():
        if isinstance(vertex.node, Leaf):
            whole = top.gradient if vertex is top else total(vertex.contributions)
            vertex.gradient = run_hooks(vertex.node, whole)


def _position(node: Node, edge: int) -> int:
    """Which argument of ``node`` its edge stands for."""
    return [i for i, wanted in enumerate(node.plan.wants) if wanted][edge]


def _rule(node: Node, edge: int) -> Callable[..., Any]:
    return next(
        rule for rule, _, targets, _ in node.plan.rules if any(i == edge for _, i in targets)
    )


def communicates(vertex: Vertex) -> bool:
    """Whether its op talks to other ranks."""
    return any(isinstance(argument.constant, Communicator) for argument in vertex.arguments)


def total(contributions: list[Contribution]) -> Array:
    """Their sum, one after the other, as a leaf adds them up."""
    parts: Iterator[Array] = (part.value for part in contributions)
    first = next(parts)
    result = array_module(first).array(first)
    for part in parts:
        result += part
    return result


def _summed(result: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a gradient of shape ``result`` that are summed for an argument of ``shape``."""
    extra = len(result) - len(shape)
    ones = (extra + i for i, n in enumerate(shape) if n == 1 and result[extra + i] != 1)
    return (*range(extra), *ones)
