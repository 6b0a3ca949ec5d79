"""Plans: which gradient rules of an op run, and what they need to be kept.

:class:`Op` holds a forward and its rules; for each set of inputs that want a gradient it makes
one :class:`Plan`, once, so that applying the op and running its rules is a matter of picking
tuples apart. For ``div(a, b)`` with the rules ``a=g / b`` and ``b=-g * y / b``, both wanted:

    forward:   (y, a, b)  ── plan.keep ──►  (b, y), what some rule names: node.kept
    backward:  (xp, g, wants, b, y)         the pool
                    │         │  └────┐
    rule of a: pick (g,       b)      │     and of b: pick (g, b, y)

Where rules name shapes, those of all arguments follow y and the arguments in the first tuple.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

from minigrad.autograd.graph import Node
from minigrad.autograd.tensor import Tensor, wrap
from minigrad.errors import InputError

__all__ = ["Op", "Plan", "Rule", "functions"]

Rule = Callable[..., Any]

functions = SimpleNamespace()
"""Every op by its name: the ``xp`` of rules that run on Tensors."""

_REQUIRED = object()
_XP, _G, _WANTS, _KEPT = range(4)  # the pool that rules pick their arguments from


class Op:
    """A forward function with its gradient rules; see the module's text."""

    def __init__(
        self,
        forward: Callable[..., Any],
        rules: dict[tuple[str, ...], Rule],
        fused: bool,
        writes: tuple[str, ...] = (),
    ) -> None:
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        self.name = forward.__name__.lstrip("_")  # users see the public function around it
        self.forward = forward
        self.fused = fused
        self.writes = writes
        self.variadic = bool(parameters) and parameters[0].kind is parameters[0].VAR_POSITIONAL
        self.call = self._forward_of_all if self.variadic else forward
        self.names = [parameter.name for parameter in parameters]
        self.defaults = [
            _REQUIRED if parameter.default is parameter.empty else parameter.default
            for parameter in parameters
        ]
        self.rules = {
            inputs: (rule, list(inspect.signature(rule).parameters))
            for inputs, rule in rules.items()
        }
        self.inputs = [name for inputs in rules for name in inputs]
        self.wants_shapes = False
        self._check()
        self.plans: dict[int, Plan] = {}

    def _check(self) -> None:
        shapes = [f"{name}_shape" for name in self.names]
        known = {"xp", "g", "y", "wants", "out", *self.names, *shapes}
        for inputs, (_, named) in self.rules.items():
            for name in inputs:
                if name not in self.names:
                    raise TypeError(f"op '{self.name}' has a rule for '{name}', but no such input")
            for name in named:
                if name not in known:
                    raise TypeError(
                        f"op '{self.name}': its rule for {' and '.join(inputs)} names '{name}'; "
                        f"it may name {', '.join(sorted(known))}"
                    )
                if name == "out" and name != named[-1]:
                    raise TypeError(f"op '{self.name}': its rules must name 'out' last")
                self.wants_shapes |= name.endswith("_shape") and name not in self.names

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments in the order of the signature, defaults filled in; those of a variadic op
        come as a sequence, and leave one by one."""
        rest = self.defaults[len(args) :]
        if not kwargs and not self.variadic and rest and rest[0] is not _REQUIRED:
            return (*args, *rest)
        values = [*args, *rest]
        for name, value in kwargs.items():
            if name in self.names[len(args) :]:
                values[self.names.index(name)] = value
            else:
                raise TypeError(f"{self.name}() has no further argument '{name}': it takes {self}")
        if len(values) > len(self.names) or any(value is _REQUIRED for value in values):
            raise TypeError(f"{self.name}() was given {len(args)} arguments: it takes {self}")
        return (*values[0], *values[1:]) if self.variadic else tuple(values)

    def name_of(self, i: int, count: int) -> str:
        """The name of argument i of ``count``: a variadic op's first name is that of many."""
        return self.names[max(0, i - count + len(self.names))]

    def _forward_of_all(self, xp: Any, *arguments: Any) -> Any:
        """A variadic op's forward, from its arguments in one row."""
        tensors = len(arguments) - len(self.names) + 1
        others = dict(zip(self.names[1:], arguments[tensors:]))
        return self.forward(xp, *arguments[:tensors], **others)

    def __str__(self) -> str:
        return ", ".join(
            name if default is _REQUIRED else f"{name}={default!r}"
            for name, default in zip(self.names, self.defaults)
        )

    def plan(self, wants: int) -> Plan:
        """The plan for the inputs that want a gradient: bit i of ``wants`` for argument i, and the
        highest for their end."""
        found = self.plans.get(wants)
        if found is None:
            found = self.plans[wants] = Plan(self, wants)
        return found


class Plan:
    """What one op keeps and which rules it runs, for one set of inputs that want gradients.

    ``rules`` are (rule, pick, targets, writes): ``pick`` takes the rule's arguments out of the
    pool (xp, g, wants, *kept), each target pairs a place in the rule's result (``None`` for the
    whole of it) with the edge it goes to, and ``writes`` says that the rule takes ``out`` too.
    ``kept_edges`` are the edges whose data is kept. What is no part of the graph, numbers, shapes
    and arrays without a gradient, is kept as well, so that :meth:`arguments` can run the op again.
    """

    def __init__(self, op: Op, wants: int) -> None:
        self.op = op
        self.name = op.name
        count = wants.bit_length() - 1
        self.wants = tuple(bool(wants >> i & 1) for i in range(count))
        self._where: dict[str, list[int]] = {name: [] for name in op.names}
        for i in range(count):
            self._where[op.name_of(i, count)].append(i)
        self._refuse_missing_rules()
        edge_of = dict(zip((i for i in range(count) if self.wants[i]), range(count)))
        self._sources: list[int] = []  # positions in (y, *arguments, *shapes of the arguments)
        places: dict[str, Any] = {"xp": _XP, "g": _G, "wants": _WANTS}
        self.rules: list[tuple[Rule, Callable[..., Any], list[tuple[int | None, int]], bool]] = []
        for inputs, (rule, named) in op.rules.items():
            positions = [i for name in inputs for i in self._where[name]]
            joint = len(inputs) > 1 or op.variadic
            targets = [
                (place if joint else None, edge_of[i])
                for place, i in enumerate(positions)
                if i in edge_of
            ]
            if not targets:
                continue
            picked = [name for name in named if name != "out"]
            for name in picked:
                if name not in places:
                    places[name] = self._keep(name)
            pick = _getter([places[name] for name in picked])
            self.rules.append((rule, pick, targets, "out" in named))
        self._sources += [
            1 + i for i in range(count) if not self.wants[i] and 1 + i not in self._sources
        ]
        self.keep = _getter(list(self._sources))
        self.kept_edges = [edge_of[source - 1] for source in self._sources if source - 1 in edge_of]

    def _refuse_missing_rules(self) -> None:
        for name, positions in self._where.items():
            if name not in self.op.inputs and any(self.wants[i] for i in positions):
                raise InputError(
                    f"{self.name} has no gradient with respect to its argument '{name}': "
                    "detach() the Tensor that was given for it"
                )

    def _keep(self, name: str) -> int | slice:
        """Add what a rule names to what is kept; the result is its place in the pool."""
        start = _KEPT + len(self._sources)
        if name == "y":
            self._sources.append(0)
            return start
        offset = 1 if name in self._where else 1 + len(self.wants)
        argument = name if name in self._where else name.removesuffix("_shape")
        self._sources += [offset + i for i in self._where[argument]]
        several = self.op.variadic and argument == self.op.names[0]
        return slice(start, _KEPT + len(self._sources)) if several else start

    def arguments(self, node: Node) -> list[Any]:
        """All arguments of ``node``, its edges for those in the graph. To be called before backward
        has freed the node."""
        kept, edges = dict(zip(self._sources, node.kept or ())), iter(node.edges)
        return [next(edges) if wanted else kept[1 + i] for i, wanted in enumerate(self.wants)]

    def tied(self, node: Node, g: Tensor) -> tuple[Any, ...]:
        """The pool for a run that is itself recorded: kept arrays as Tensors of their graph."""
        if self.op.fused:
            raise InputError(
                f"'{self.name}' is a fused op: its gradient rule cannot be differentiated again, "
                "so create_graph=True does not reach through it; use the unfused op instead"
            )
        edges = iter(node.edges)
        nodes = [node, *(next(edges) if wanted else None for wanted in self.wants)]
        kept = [
            wrap(value, nodes[source]) if source < len(nodes) and nodes[source] else value
            for source, value in zip(self._sources, node.kept or ())
        ]
        return (functions, g, self.wants, *kept)


def _getter(places: list[Any]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A function that picks ``places`` out of a tuple, as a tuple, at C speed where it can."""
    if len(places) > 1:
        return itemgetter(*places)
    if not places:
        return itemgetter(slice(0))
    (place,) = places
    if isinstance(place, slice):
        return lambda pool: (pool[place],)
    return itemgetter(slice(place, place + 1))
