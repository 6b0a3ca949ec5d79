"""The graph: nodes, leaves, and the walk that runs the gradient rules over them.

A node points to the nodes of its inputs, never to a Tensor, so there are no reference cycles and
a graph is freed with its loss. The walk visits every node once, newest first: an op's inputs
exist before its output, so the order of creation is a topological order, and it is the same on
every rank. It is a loop, not a recursion, so depth costs nothing.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterable
from operator import attrgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from minigrad.backend import Array, array_module
from minigrad.errors import InputError

if TYPE_CHECKING:
    from minigrad.autograd.plan import Plan

__all__ = [
    "Leaf", "Node", "Version", "delivery", "is_recording", "no_grad", "propagate", "walk",
]  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")
Hook = Callable[[Any], Any]


class Version:
    """A count that rises when data which a graph may have kept is overwritten."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Leaf:
    """Where backward ends: the gradient of a Tensor that was made with ``requires_grad=True``.

    ``buffer`` holds the gradient; while it is ``fresh``, all zeros that nobody has seen, the
    first contribution is written into it instead of added. ``on_ready`` is called once per
    backward, after the last contribution.
    """

    __slots__ = (
        "buffer", "dtype", "fresh", "hooks", "in_arena", "name", "on_ready", "shape", "version",
    )  # fmt: skip

    def __init__(self, shape: tuple[int, ...], dtype: Any, name: str = "") -> None:
        self.shape = shape
        self.dtype = dtype
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


_numbers = itertools.count()


class Node:
    """One application of an op: where it came from, and what its gradient rules named.

    ``edges`` are the nodes of the inputs that want a gradient. ``kept`` becomes ``None`` when
    backward has used and freed it. ``shape`` and ``dtype`` are the output's. Where the output is
    a view of a leaf's data, ``views`` is that leaf.
    """

    hooks: list[Hook] | None = None
    name = ""
    views: Leaf | None = None
    versions: list[tuple[Leaf, int]] | None = None

    def __init__(
        self,
        plan: Plan,
        edges: list[Node | Leaf],
        kept: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: Any,
    ) -> None:
        self.plan = plan
        self.edges = edges
        self.kept: tuple[Any, ...] | None = kept
        self.shape = shape
        self.dtype = dtype
        self.number = next(_numbers)


class _Mode(threading.local):
    recording = True


_mode = _Mode()


def is_recording() -> bool:
    """Whether ops record a graph in this thread."""
    return _mode.recording


class no_grad:  # noqa: N801 - the field's name for it
    """Ops inside record no graph: ``with no_grad(): …``, or ``@no_grad()`` on a function."""

    def __init__(self) -> None:
        self._outer: list[bool] = []

    def __enter__(self) -> None:
        self._outer.append(_mode.recording)
        _mode.recording = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _mode.recording = self._outer.pop()

    def __call__(self, f: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(f)
        def without(*args: P.args, **kwargs: P.kwargs) -> R:
            with no_grad():
                return f(*args, **kwargs)

        return without


def walk(roots: Iterable[Node | Leaf]) -> tuple[list[Node], dict[Leaf, int]]:
    """All nodes behind ``roots``, newest first, and how many contributions each leaf will get."""
    seen: set[Node] = set()
    uses: dict[Leaf, int] = {}
    stack = [root for root in roots if type(root) is Node]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            for edge in node.edges:
                if type(edge) is Node:
                    stack.append(edge)
                else:
                    uses[edge] = uses.get(edge, 0) + 1  # type: ignore[index, arg-type]
    return sorted(seen, key=attrgetter("number"), reverse=True), uses


def delivery(uses: dict[Leaf, int]) -> Callable[[Leaf, Array], None]:
    """What backward does with a gradient for a leaf that gets ``uses[leaf]`` of them: add it, and
    where somebody waits for their sum, tell him after the last."""
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
                leaf.accumulate(run_hooks(leaf.hooks, arrived.pop(leaf)))
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
) -> None:
    """Run the gradient rules of ``nodes``, newest first.

    ``grads`` holds the gradient that has arrived at each node so far; one for a leaf goes to
    ``deliver``. ``needed`` limits the run to the nodes that lead somewhere, and a node that is a
    key of ``wanted`` leaves its gradient there.
    """
    xp = None if create_graph else array_module(*grads.values())
    for node in nodes:
        if needed is not None and node not in needed:
            continue
        g = grads.pop(node)
        if node.hooks is not None:
            g = run_hooks(node.hooks, g)
        if wanted is not None and node in wanted:
            wanted[node] = g
        plan, edges, kept = node.plan, node.edges, node.kept
        if kept is None:
            raise InputError(
                f"backward reached a '{plan.op}' whose graph has already been used and freed: call "
                "backward once per forward pass, or pass retain_graph=True the first time"
            )
        if node.versions is not None:
            _check_versions(node)
        pool = plan.tied(node, g) if create_graph else (xp, g, plan.wants, None, *kept)
        for rule, pick, targets, writes in plan.rules:
            if needed is not None and not any(edges[i] in needed for _, i in targets):
                continue
            if writes:
                out = _writable(edges[targets[0][1]], node) if needed is None else None
                pool = (*pool[:3], out, *pool[4:])
            result = rule(*pick(pool))
            for position, i in targets:
                edge = edges[i]
                if needed is not None and edge not in needed:
                    continue
                gradient = result if position is None else result[position]
                if gradient.shape != edge.shape or gradient.dtype is not edge.dtype:
                    gradient = _fit(gradient, edge, plan.op)
                if type(edge) is Leaf:
                    deliver(edge, gradient)
                elif edge in grads:
                    grads[edge] = grads[edge] + gradient
                else:
                    grads[edge] = gradient
        if not retain_graph:
            node.kept = None


def _writable(edge: Node | Leaf, node: Node) -> Array | None:
    """The gradient buffer of a leaf, if a rule of ``node`` may write its result there."""
    if type(edge) is Leaf and edge.fresh and edge.hooks is None and edge.dtype is node.dtype:
        return edge.buffer
    return None


def _fit(g: Any, edge: Node | Leaf, op: str) -> Any:
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


def run_hooks(hooks: list[Hook], g: Any) -> Any:
    for hook in hooks:
        changed = hook(g)
        g = g if changed is None else changed
    return g


def _check_versions(node: Node) -> None:
    for leaf, count in node.versions or ():
        if leaf.version.count != count:
            raise InputError(
                f"'{node.plan.op}' kept parameter '{leaf.name or leaf.shape}' for backward, but it "
                "has been overwritten since (by an optimizer's step or a write to .data); run the "
                "forward pass again before backward"
            )
