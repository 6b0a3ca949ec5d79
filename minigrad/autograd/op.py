"""What an op is: its forward, and beside it one gradient rule per input.

    @op(x=lambda g, y: g - g * y * y)
    def tanh(xp, x):
        return xp.tanh(x)

    @op(a=lambda g, b: g * b, b=lambda g, a: g * a)
    def mul(xp, a, b):
        return a * b

A rule says how the gradient ``g`` that arrives at the output goes on to one input, and names
what it needs: ``g``, ``y`` (the output), an input or another argument by its name, ``NAME_shape``
(an input's shape), ``xp`` (the array module). Of the graph's arrays only what some rule names is
kept, and only if that rule will run: ``add`` keeps none. Arguments outside the graph are all kept,
so that an explanation can run the op again: ``y + noise`` holds noise until backward. Broadcasting,
order and adding up are the engine's business. ``joint=(("x", "scale"), rule)`` gives several inputs
one rule that returns a gradient for each; it may also name ``wants``, a flag for each input.

A rule may also name ``out``, last: the array that its result may be written to and returned as, or
``None``. It is a leaf's gradient buffer, and saves making an array only to copy it there.

With ``create_graph`` the same rules run on Tensors, with ``xp`` the namespace of all ops. So ops
bear NumPy's names, and a rule that keeps to them can be differentiated again. ``fused=True``
marks an op whose rule does not. ``writes`` names arguments whose arrays the forward writes to.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import NoneType
from typing import Any, Concatenate, ParamSpec

import numpy as np

from minigrad.autograd.graph import Leaf, Node, leaf_behind, number, stamp
from minigrad.autograd.mode import mode
from minigrad.autograd.plan import Op, Rule, functions
from minigrad.autograd.tensor import Tensor, as_array
from minigrad.backend import Array, array_module
from minigrad.errors import InputError

__all__ = ["op", "within"]

P = ParamSpec("P")
_PLAIN = {np.ndarray, float, int, NoneType}


def op(
    *,
    joint: tuple[tuple[str, ...], Rule] | None = None,
    fused: bool = False,
    writes: tuple[str, ...] = (),
    **rules: Rule,
) -> Callable[[Callable[Concatenate[Any, P], Any]], Callable[P, Tensor]]:
    """Make a forward function on arrays, ``f(xp, *arguments)``, into an op on Tensors.

    ``rules`` has one function for each argument that a gradient goes to. It names what it needs:
    ``g`` (the gradient that arrives), ``y`` (the result), arguments, ``x_shape`` (an argument's
    shape), ``xp`` (NumPy, CuPy, or :data:`functions`). What was broadcast is summed afterwards.
    ``joint`` gives several arguments one rule, ``fused`` marks rules that cannot be differentiated
    again, ``writes`` names arguments that the forward writes to (D1 §3.2).

    >>> @mg.autograd.op(x=lambda g, x: 3 * x**2 * g)
    ... def cube(xp, x):
    ...     return x**3
    >>> x = Tensor(2.0, requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    array(12., dtype=float32)
    """
    by_inputs: dict[tuple[str, ...], Rule] = {(name,): rule for name, rule in rules.items()}
    if joint is not None:
        by_inputs[joint[0]] = joint[1]

    def decorate(forward: Callable[Concatenate[Any, P], Any]) -> Callable[P, Tensor]:
        spec = Op(forward, by_inputs, fused, writes)
        apply = _application(spec)
        functools.update_wrapper(apply, forward)
        apply.op = spec  # type: ignore[attr-defined]
        setattr(functions, forward.__name__, apply)
        return apply

    return decorate


def _application(spec: Op) -> Callable[..., Tensor]:
    """The function that applies an op. The engine's hot path: so no helpers where it is straight,
    and names bound outside."""
    arity = -1 if spec.variadic else len(spec.names)
    call, rules, plans, wants_shapes = spec.call, spec.rules, spec.plans, spec.wants_shapes
    modules = sys.modules

    def apply(*args: Any, **kwargs: Any) -> Tensor:
        if kwargs or len(args) != arity:
            args = spec.bind(args, kwargs)
        wants, bit = 0, 1  # a bit for each argument, and above them one that says how many
        constants = None
        raw: list[Any] = []
        edges: list[Node | Leaf] = []
        for a in args:
            if isinstance(a, Tensor):
                node = a._node
                if node is not None:
                    wants |= bit
                    edges.append(node)
                elif a._name:
                    constants = {**(constants or {}), len(raw): a._name}
                a = a._data
            elif type(a) not in _PLAIN and spec.name_of(len(raw), len(args)) in spec.inputs:
                a = _operand(a)
            raw.append(a)
            bit <<= 1
        xp = np if "cupy" not in modules else array_module(*raw, op=spec.name)
        try:
            y = call(xp, *raw)
        except ValueError as error:
            raise _explained(spec, raw, error) from error
        if type(y) is not _NDARRAY or y.dtype is _FLOAT64:
            y = _settle(xp, y, raw)
        tensor = _new(Tensor)
        tensor._data = y
        if not edges or not mode.recording or not rules:
            tensor._node = None
            return tensor
        plan = plans.get(wants | bit) or spec.plan(wants | bit)
        tensor._node = node = _new(Node)
        node.plan = plan
        node.edges = edges
        node.kept = plan.keep((y, *raw, *map(_shape, raw)) if wants_shapes else (y, *raw))
        node.shape = y.shape
        node.dtype = y.dtype
        node.number = number()
        if plan.kept_edges:
            node.stamp = stamp(plan.kept_edges, edges)
        if y.base is not None:
            node.views = _viewed(y, args)
        if constants is not None:
            node.constants = constants
        return tensor

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
    if isinstance(y, np.generic) or not hasattr(y, "dtype"):
        y = xp.asarray(y)  # and nothing else: .to() gives an array that is not xp's
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


def _viewed(y: Array, args: tuple[Any, ...]) -> Leaf | None:
    """The leaf whose data ``y`` is a view of. A base says little by itself: ``y`` may be a view of
    what its own forward made. A view of a view has the base of the first."""
    for a in args:
        if isinstance(a, Tensor) and a._node and (y.base is a._data or y.base is a._data.base):
            return leaf_behind(a._node)
    return None
