"""What an op is: its forward, and beside it one gradient rule per input.

    @op(x=lambda g, y: g * (1 - y * y))
    def tanh(xp, x):
        return xp.tanh(x)

    @op(a=lambda g, b: g * b, b=lambda g, a: g * a)
    def mul(xp, a, b):
        return a * b

A rule says how the gradient ``g`` that arrives at the output goes on to one input, and names
what it needs: ``g``, ``y`` (the output), an input or another argument by its name, ``NAME_shape``
(an input's shape), ``xp`` (the array module). Only what some rule names is kept, and only if that
rule will run: ``mul`` by a constant keeps one array, ``add`` none. Broadcasting, order and adding
up are the engine's business. ``joint=(("x", "scale"), rule)`` gives several inputs one rule that
returns a gradient for each; it may also name ``wants``, a flag for each input.

With ``create_graph`` the same rules run on Tensors, with ``xp`` the namespace of all ops. So ops
bear NumPy's names, and a rule that keeps to them can be differentiated again. ``fused=True``
marks an op whose rule does not.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from operator import itemgetter
from types import NoneType, SimpleNamespace
from typing import Any, Concatenate, ParamSpec

import numpy as np

from minigrad.autograd.graph import Leaf, Node, _mode
from minigrad.autograd.tensor import Tensor, as_array, wrap
from minigrad.backend import Array, array_module
from minigrad.errors import InputError

__all__ = ["Op", "Plan", "functions", "op", "within"]

P = ParamSpec("P")
Rule = Callable[..., Any]

functions = SimpleNamespace()
"""Every op by its name: the ``xp`` of rules that run on Tensors."""

_PLAIN = {np.ndarray, float, int, NoneType}
_REQUIRED = object()
_XP, _G, _WANTS, _KEPT = range(4)  # the front of the pool that rules pick their arguments from


class Op:
    """A forward function with its gradient rules; see the module's text."""

    def __init__(
        self, forward: Callable[..., Any], rules: dict[tuple[str, ...], Rule], fused: bool
    ) -> None:
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        self.name = forward.__name__
        self.forward = forward
        self.fused = fused
        self.variadic = bool(parameters) and parameters[0].kind is parameters[0].VAR_POSITIONAL
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
        self.plans: dict[Any, Plan] = {}

    def _check(self) -> None:
        known = {"xp", "g", "y", "wants", *self.names, *(f"{name}_shape" for name in self.names)}
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
                self.wants_shapes |= name.endswith("_shape") and name not in self.names

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments in the order of the signature, defaults filled in."""
        values = [*args, *self.defaults[len(args) :]]
        for name, value in kwargs.items():
            if name in self.names[len(args) :]:
                values[self.names.index(name)] = value
            else:
                raise TypeError(f"{self.name}() has no further argument '{name}': it takes {self}")
        if len(values) > len(self.names) or any(value is _REQUIRED for value in values):
            raise TypeError(f"{self.name}() was given {len(args)} arguments: it takes {self}")
        return tuple(values)

    def __str__(self) -> str:
        return ", ".join(
            name if default is _REQUIRED else f"{name}={default!r}"
            for name, default in zip(self.names, self.defaults)
        )

    def plan(self, mask: int, count: int) -> Plan:
        """The plan for the inputs that want a gradient: bit i of ``mask`` for argument i."""
        key = (mask, count) if self.variadic else mask
        found = self.plans.get(key)
        if found is None:
            found = self.plans[key] = Plan(self, mask, count)
        return found


class Plan:
    """What one op keeps and which rules it runs, for one set of inputs that want gradients.

    ``rules`` are (rule, pick, targets): ``pick`` takes the rule's arguments out of the pool
    (xp, g, wants, *kept), and each target pairs a place in the rule's result (``None`` for the
    whole of it) with the edge it goes to.
    """

    def __init__(self, spec: Op, mask: int, count: int) -> None:
        self.spec = spec
        self.op = spec.name
        self.wants = tuple(bool(mask >> i & 1) for i in range(count))
        self._where = {name: slice(i, i + 1) for i, name in enumerate(spec.names)}
        if spec.variadic:
            tensors = count - len(spec.names) + 1
            self._where = {
                n: slice(tensors + i, tensors + i + 1) for i, n in enumerate(spec.names[1:])
            }
            self._where[spec.names[0]] = slice(0, tensors)
        self._refuse_missing_rules()
        edge_of = dict(zip((i for i in range(count) if self.wants[i]), range(count)))
        self._sources: list[int] = []  # positions in (y, *arguments, *shapes of the arguments)
        places: dict[str, Any] = {"xp": _XP, "g": _G, "wants": _WANTS}
        self.rules: list[tuple[Rule, Callable[..., Any], list[tuple[int | None, int]]]] = []
        for inputs, (rule, named) in spec.rules.items():
            positions = [i for name in inputs for i in range(count)[self._where[name]]]
            joint = len(inputs) > 1 or spec.variadic
            targets = [
                (place if joint else None, edge_of[i])
                for place, i in enumerate(positions)
                if i in edge_of
            ]
            if not targets:
                continue
            for name in named:
                if name not in places:
                    places[name] = self._keep(name)
            self.rules.append((rule, _getter([places[name] for name in named]), targets))
        self.keep = _getter(list(self._sources))
        self.kept_edges = [edge_of[source - 1] for source in self._sources if source - 1 in edge_of]

    def _refuse_missing_rules(self) -> None:
        covered = {
            i for name in self.spec.inputs for i in range(len(self.wants))[self._where[name]]
        }
        for name, where in self._where.items():
            if any(self.wants[i] and i not in covered for i in range(len(self.wants))[where]):
                raise InputError(
                    f"{self.op} has no gradient with respect to its argument '{name}': "
                    "detach() the Tensor that was given for it"
                )

    def _keep(self, name: str) -> int | slice:
        """Add what a rule names to what is kept; the result is its place in the pool."""
        start = _KEPT + len(self._sources)
        if name == "y":
            self._sources.append(0)
            return start
        count = len(self.wants)
        offset = 1 if name in self._where else 1 + count
        argument = name if name in self._where else name.removesuffix("_shape")
        self._sources += [offset + i for i in range(count)[self._where[argument]]]
        several = self.spec.variadic and argument == self.spec.names[0]
        return slice(start, _KEPT + len(self._sources)) if several else start

    def tied(self, node: Node, g: Tensor) -> tuple[Any, ...]:
        """The pool for a run that is itself recorded: kept arrays as Tensors of their graph."""
        if self.spec.fused:
            raise InputError(
                f"'{self.op}' is a fused op: its gradient rule cannot be differentiated again, so "
                "create_graph=True does not reach through it; use the unfused op instead"
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
        return lambda pool: ()
    (place,) = places
    return lambda pool: (pool[place],)


def op(
    *,
    joint: tuple[tuple[str, ...], Rule] | None = None,
    fused: bool = False,
    **rules: Rule,
) -> Callable[[Callable[Concatenate[Any, P], Any]], Callable[P, Tensor]]:
    """Make a forward function on arrays, ``f(xp, *arguments)``, into an op on Tensors."""
    by_inputs: dict[tuple[str, ...], Rule] = {(name,): rule for name, rule in rules.items()}
    if joint is not None:
        by_inputs[joint[0]] = joint[1]

    def decorate(forward: Callable[Concatenate[Any, P], Any]) -> Callable[P, Tensor]:
        spec = Op(forward, by_inputs, fused)
        apply = _variadic(spec) if spec.variadic else _fixed(spec)
        functools.update_wrapper(apply, forward)
        apply.op = spec  # type: ignore[attr-defined]
        setattr(functions, spec.name, apply)
        return apply

    return decorate


def _fixed(spec: Op) -> Callable[..., Tensor]:
    """The function that applies an op with a fixed number of arguments. The engine's hot path."""
    arity = len(spec.names)
    convertible = [name in spec.inputs for name in spec.names]
    forward, rules, plans, wants_shapes = spec.forward, spec.rules, spec.plans, spec.wants_shapes
    modules = sys.modules

    def apply(*args: Any, **kwargs: Any) -> Tensor:
        if kwargs or len(args) != arity:
            args = spec.bind(args, kwargs)
        mask = 0
        raw: list[Any] = []
        edges: list[Node | Leaf] = []
        for a in args:
            if isinstance(a, Tensor):
                node = a._node
                if node is not None:
                    mask |= 1 << len(raw)
                    edges.append(node)
                a = a._data
            elif type(a) not in _PLAIN and convertible[len(raw)]:
                a = _operand(a)
            raw.append(a)
        xp = np if "cupy" not in modules else array_module(*raw, op=spec.name)
        try:
            y = forward(xp, *raw)
        except ValueError as error:
            raise _explained(spec, raw, error) from error
        dtype = getattr(y, "dtype", None)
        if type(y) is not _NDARRAY or dtype is _FLOAT64:
            y = _settle(xp, y, raw)
            dtype = y.dtype
        tensor = _new(Tensor)
        tensor._data = y
        if not mask or not _mode.recording or not rules:
            tensor._node = None
            return tensor
        plan = plans.get(mask) or spec.plan(mask, arity)
        pool = (y, *raw, *map(_shape, raw)) if wants_shapes else (y, *raw)
        tensor._node = node = Node(plan, edges, plan.keep(pool), y.shape, dtype)
        if plan.kept_edges:
            node.versions = _versions(plan, edges)
        return tensor

    return apply


def _variadic(spec: Op) -> Callable[..., Tensor]:
    """The function that applies an op to a sequence of tensors, its first argument."""
    statics = spec.names[1:]

    def apply(*args: Any, **kwargs: Any) -> Tensor:
        given, *values = spec.bind(args, kwargs)
        tensors = [t if isinstance(t, Tensor) else wrap(as_array(t), None) for t in given]
        edges = [t._node for t in tensors if t._node is not None]
        raw = [t._data for t in tensors]
        xp = array_module(*raw, op=spec.name)
        try:
            y = spec.forward(xp, *raw, **dict(zip(statics, values)))
        except ValueError as error:
            raise _explained(spec, raw, error) from error
        y = _settle(xp, y, raw)
        if not edges or not _mode.recording:
            return wrap(y, None)
        mask = sum(1 << i for i, t in enumerate(tensors) if t._node is not None)
        plan = spec.plan(mask, len(raw) + len(statics))
        raw += values
        pool = (y, *raw, *map(_shape, raw)) if spec.wants_shapes else (y, *raw)
        node = Node(plan, edges, plan.keep(pool), y.shape, y.dtype)
        node.versions = _versions(plan, edges)
        return wrap(y, node)

    return apply


_new = object.__new__
_NDARRAY = np.ndarray
_FLOAT64 = np.dtype(np.float64)


def _operand(a: Any) -> Array:
    """An operand that is neither Tensor, array nor plain number. NumPy's scalars become Python's,
    so that ``x * np.sqrt(2)`` stays in x's dtype."""
    return a.item() if isinstance(a, np.generic) else as_array(a)


def _shape(a: Any) -> tuple[int, ...]:
    """An operand's shape; () for what has none, an index of slices and arrays for instance."""
    return getattr(a, "shape", ())


def _settle(xp: Any, y: Any, raw: list[Any]) -> Array:
    """The result as an array, in float32 unless an operand was float64.

    NumPy itself turns float32 with int64 into float64; the field's habit is to stay in float32.
    """
    y = xp.asarray(y)
    if y.dtype == _FLOAT64 and not any(getattr(a, "dtype", None) is _FLOAT64 for a in raw):
        return y.astype(np.float32)
    return y


def _explained(spec: Op, raw: list[Any], error: ValueError) -> InputError:
    """NumPy's complaint with the op's name and the shapes it was given."""
    if isinstance(error, InputError):
        return error
    shapes = " and ".join(str(a.shape) for a in raw if hasattr(a, "shape"))
    return InputError(f"{spec.name} was given shapes {shapes}: {error}")


def within(xp: Any, f: Callable[..., Any], *args: Any) -> Any:
    """Apply an op inside a rule: to arrays, or to Tensors when the gradient is itself recorded."""
    return f(*args) if xp is functions else f.op.forward(xp, *args)  # type: ignore[attr-defined]


def _versions(plan: Plan, edges: list[Node | Leaf]) -> list[tuple[Leaf, int]] | None:
    """The versions of the leaves whose data this node keeps."""
    kept = [edges[i] for i in plan.kept_edges]
    return [(leaf, leaf.version.count) for leaf in kept if isinstance(leaf, Leaf)] or None
