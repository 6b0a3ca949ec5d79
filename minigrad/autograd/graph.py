"""The graph: nodes, leaves, and the walk that runs the gradient rules over them.

A node points to the nodes of its inputs, never to a Tensor, so the engine makes no reference cycles
and a graph is freed with its loss. The walk visits every node once, newest first: an op's inputs
exist before its output, so the order of creation is a topological order, and it is the same on
every rank. It is a loop, not a recursion, so depth costs nothing.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.errors import InputError

if TYPE_CHECKING:
    from minigrad.autograd.plan import Plan

__all__ = [
    "Hook", "Leaf", "Node", "Version", "Watch", "delivery", "fit", "leaf_behind", "number",
    "propagate", "run_hooks", "stamp", "walk",
]  # fmt: skip

Hook = Callable[[Any], Any]


class Version:
    """A count that rises when data which a graph may have kept is overwritten.

    It catches ``loss = (w * w).sum(); w.data = 0; loss.backward()``: the rule of ``mul`` would take
    the new w for the one that the loss was computed with.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Leaf:
    """Where backward ends: the gradient of a Tensor that was made with ``requires_grad=True``.

    ``data`` is that Tensor's array. ``buffer`` holds the gradient; while it is ``fresh``, all zeros
    that nobody has seen, the first contribution is written into it instead of added. Whoever is
    given the buffer may write to it, so it is fresh no more: without that, ``p.grad += decay *
    p.data`` between zero_grad and backward would be lost. ``on_ready`` is called once per backward,
    after the last contribution.
    """

    __slots__ = (
        "buffer", "data", "dtype", "fresh", "hooks", "in_arena", "name", "on_ready", "shape",
        "version",
    )  # fmt: skip

    def __init__(self, data: Array, name: str = "") -> None:
        self.data = data
        self.shape = tuple(data.shape)
        self.dtype = data.dtype
        self.name = name
        self.buffer: Array | None = None
        self.fresh = False
        self.version = Version()
        self.hooks: list[Hook] | None = None
        self.on_ready: Callable[[Leaf], None] | None = None
        self.in_arena = False

    @property
    def grad(self) -> Array | None:
        """The gradient so far. Who holds it may write to it, so it is fresh no more."""
        self.fresh = False
        return self.buffer

    def accumulate(self, g: Array) -> None:
        """Add ``g`` to the gradient, in place; ``g`` may be the buffer, already written."""
        if self.buffer is None:
            self.buffer = array_module(g).array(g)
        elif not self.fresh:
            self.buffer += g
        elif g is not self.buffer:
            self.buffer[...] = g
        self.fresh = False


class Node:
    """One application of an op: where it came from, and what its gradient rules named.

    ``edges`` are the nodes of the inputs that want a gradient. ``kept`` becomes ``None`` when
    backward has used and freed it. ``shape`` and ``dtype`` are the output's, ``number`` its place
    in the order of creation. ``stamp`` is that of the leaves whose data is kept.
    Where the output is a view of a leaf's data, ``views`` is that leaf. For explanations: the
    ``constants`` among its arguments that a person has named, and the modules whose call it was
    the last op of, ``made_by``, each with the number at which the call began.

    An op sets the fields itself: a call of ``__init__`` is 2% of a small op.
    """

    plan: Plan
    edges: list[Node | Leaf]
    kept: tuple[Any, ...] | None
    shape: tuple[int, ...]
    dtype: Any
    number: int
    stamp: int
    hooks: list[Hook] | None = None
    name = ""
    views: Leaf | None = None
    constants: dict[int, str] | None = None
    made_by: tuple[tuple[Any, int], ...] = ()


class Watch(Protocol):
    """What is told of a backward pass while it runs."""

    def arrives(self, node: Node, g: Any) -> None:
        """``g`` is all of the gradient of ``node``; its rules run next."""

    def sends(self, node: Node, edge: int, g: Any) -> None:
        """A rule of ``node`` gave ``g`` for that edge; :func:`fit` is yet to come."""


number = itertools.count().__next__
"""``number()``: the next of the numbers by which nodes are ordered in time."""


def leaf_behind(edge: Node | Leaf) -> Leaf | None:
    """The leaf whose data an edge's Tensor holds or is a view of."""
    return edge if isinstance(edge, Leaf) else edge.views


def stamp(places: list[int], edges: list[Node | Leaf]) -> int:
    """The sum of the versions of the leaves behind ``edges`` at ``places``. Versions only rise,
    so while the sum is the same, so is each."""
    total = 0
    for i in places:
        edge = edges[i]
        leaf = edge if type(edge) is Leaf else edge.views  # type: ignore[union-attr]
        if leaf is not None:
            total += leaf.version.count
    return total


def walk(roots: Iterable[Node | Leaf]) -> tuple[list[Node], dict[Leaf, int]]:
    """All nodes behind ``roots``, newest first, and how many contributions each leaf will get."""
    found: dict[Node, int] = {}
    uses: dict[Leaf, int] = {}
    stack = [root for root in roots if type(root) is Node]
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = node.number
            for edge in node.edges:
                if type(edge) is Node:
                    stack.append(edge)
                else:
                    uses[edge] = uses.get(edge, 0) + 1  # type: ignore[index, arg-type]
    return sorted(found, key=found.__getitem__, reverse=True), uses


def delivery(uses: dict[Leaf, int]) -> Callable[[Leaf, Array], None]:
    """The function that backward hands a leaf and one of its ``uses[leaf]`` contributions.

    A contribution is added to the gradient at once, but for a leaf with hooks they are summed
    first: a hook sees the sum. After the last one ``on_ready`` is called.
    """
    if not any(leaf.hooks or leaf.on_ready for leaf in uses):
        return Leaf.accumulate
    arrived: dict[Leaf, Array] = {}

    def deliver(leaf: Leaf, g: Array) -> None:
        uses[leaf] -= 1
        if leaf.hooks is None:
            leaf.accumulate(g)
        else:
            arrived[leaf] = arrived[leaf] + g if leaf in arrived else g
            if uses[leaf] == 0:
                leaf.accumulate(run_hooks(leaf, arrived.pop(leaf)))
        if uses[leaf] == 0 and leaf.on_ready is not None:
            leaf.on_ready(leaf)

    return deliver


def propagate(
    nodes: list[Node],
    grads: dict[Any, Any],
    deliver: Callable[[Leaf, Any], None],
    *,
    needed: set[Node | Leaf] | None = None,
    wanted: dict[Node | Leaf, Any] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    watch: Watch | None = None,
) -> None:
    """Run the gradient rules of ``nodes``, newest first.

    ``grads`` holds the gradient that has arrived at each node so far; one for a leaf goes to
    ``deliver``. ``needed`` limits the run to the nodes that lead somewhere, and a node that is a
    key of ``wanted`` leaves its gradient there. ``watch`` is told of every gradient.
    """
    on_gpu = "cupy" in sys.modules
    xp = np
    for node in nodes:
        if needed is not None and node not in needed:
            continue
        g = grads.pop(node)
        if node.hooks is not None:
            g = run_hooks(node, g)
        if watch is not None:
            watch.arrives(node, g)
        plan, edges, kept = node.plan, node.edges, node.kept
        if needed is not None and wanted is not None and node in wanted:
            wanted[node] = g
            if needed.isdisjoint(edges):
                continue
        if kept is None:
            raise InputError(
                f"backward reached a '{plan.name}' whose graph has already been used and freed: "
                "call backward once per forward pass, or pass retain_graph=True the first time"
            )
        if plan.kept_edges and stamp(plan.kept_edges, edges) != node.stamp:
            raise _overwritten(node)
        if on_gpu and not create_graph:
            xp = array_module(g)  # of this node: .to() may have moved the others elsewhere
        pool = plan.tied(node, g) if create_graph else (xp, g, plan.wants, *kept)
        for rule, pick, targets, writes in plan.rules:
            if needed is not None and not any(edges[i] in needed for _, i in targets):
                continue
            if writes:
                out = _writable(edges[targets[0][1]], node) if needed is None else None
                result = rule(*pick(pool), out=out)
            else:
                result = rule(*pick(pool))
            for place, i in targets:
                edge = edges[i]
                if needed is not None and edge not in needed:
                    continue
                gradient = result if place is None else result[place]
                if watch is not None:
                    watch.sends(node, i, gradient)
                if gradient.shape != edge.shape or gradient.dtype is not edge.dtype:
                    gradient = fit(gradient, edge, plan.name)
                if type(edge) is Leaf:
                    deliver(edge, gradient)
                elif edge in grads:
                    grads[edge] = grads[edge] + gradient
                else:
                    grads[edge] = gradient
        if not retain_graph:
            node.kept = None
            if node.made_by:  # a loss that is kept should not hold the model
                node.made_by = ()


def _writable(edge: Node | Leaf, node: Node) -> Array | None:
    """The gradient buffer of a leaf, if a rule of ``node`` may write its result there."""
    if type(edge) is Leaf and edge.fresh and edge.hooks is None and edge.dtype is node.dtype:
        return edge.buffer
    return None


def fit(g: Any, edge: Node | Leaf, op: str) -> Any:
    """Undo broadcasting: sum ``g`` over the axes along which the input was repeated."""
    shape = edge.shape
    if g.shape != shape:
        extra = len(g.shape) - len(shape)
        if extra > 0:
            g = g.sum(axis=tuple(range(extra)))
        if g.shape != shape and len(g.shape) == len(shape):
            ones = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
            g = g.sum(axis=ones, keepdims=True)
        if g.shape != shape:
            raise RuntimeError(
                f"the gradient rule of '{op}' gave shape {g.shape} for an input of shape {shape}"
            )
    return g if g.dtype == edge.dtype else g.astype(edge.dtype)


def run_hooks(node: Node | Leaf, g: Any) -> Any:
    """The gradient ``g`` of ``node`` after its hooks."""
    for hook in node.hooks or ():
        changed = hook(g)
        if changed is None:
            continue
        # arithmetic makes NumPy's scalars of its arrays without axes
        kind = np.ndarray if isinstance(g, np.generic) else type(g)
        if not isinstance(changed, (kind, np.generic)) or changed.shape != node.shape:
            raise InputError(
                f"a hook was given a gradient of shape {node.shape} and returned "
                f"{type(changed).__name__} of shape {getattr(changed, 'shape', None)}; return "
                f"{kind.__name__} of the same shape, or None to leave the gradient as it is"
            )
        g = changed if changed.dtype == node.dtype else changed.astype(node.dtype)
    return g


def _overwritten(node: Node) -> InputError:
    """The error for a node that kept a leaf's data before a write. Its stamp does not say which
    leaf was written to where it kept several, so all are named."""
    leaves = [leaf_behind(node.edges[i]) for i in node.plan.kept_edges]
    names = {f"'{leaf.name or leaf.shape}'": None for leaf in leaves if leaf is not None}
    return InputError(
        f"'{node.plan.name}' kept parameter {' or '.join(names)} for backward, but it has been "
        "overwritten since (by an optimizer's step or a write to .data); run the forward pass "
        "again before backward"
    )
