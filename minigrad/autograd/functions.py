"""Gradients as values: grad, vjp, hvp."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.autograd.graph import Leaf, Node, propagate, run_hooks, walk
from minigrad.autograd.tensor import Tensor, as_array, seed, wrap
from minigrad.backend import Array, array_module
from minigrad.errors import InputError

__all__ = ["grad", "hvp", "vjp"]


def grad(
    outputs: Tensor,
    inputs: Sequence[Tensor] | Tensor,
    gradient: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> list[Tensor]:
    """The gradients of ``outputs`` with respect to each of ``inputs`` (leaves or not).

    Nothing is added to any ``.grad``. With ``create_graph`` the results are tied to the graph
    and can be differentiated again, to any order, also with respect to ``gradient``. An input
    that ``outputs`` does not depend on gets zeros. ``retain_graph`` defaults to ``create_graph``.
    Raises :class:`InputError` for inputs that require no gradient, and as
    :meth:`Tensor.backward` does.

    >>> x = Tensor(2.0, requires_grad=True)
    >>> (first,) = mg.grad(x**3, x, create_graph=True)
    >>> (second,) = mg.grad(first, x)
    >>> first.item(), second.item()
    (12.0, 12.0)
    """
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for position, tensor in enumerate(inputs):
        if tensor._node is None:
            raise InputError(f"grad: input {position} does not require a gradient")
    node, g = seed(outputs, gradient)
    start = _recorded(g, gradient) if create_graph else g
    wanted: dict[Node | Leaf, Any] = dict.fromkeys(
        (tensor._node for tensor in inputs if tensor._node is not None), None
    )
    nodes, _ = walk([node])
    needed = set(wanted)
    for older in reversed(nodes):
        if not needed.isdisjoint(older.edges):
            needed.add(older)

    def deliver(leaf: Leaf, contribution: Any) -> None:
        sofar = wanted[leaf]
        wanted[leaf] = contribution if sofar is None else sofar + contribution

    if type(node) is Leaf:
        wanted[node] = start
    elif node in needed:
        propagate(
            nodes, {node: start}, deliver, needed=needed, wanted=wanted,
            retain_graph=create_graph if retain_graph is None else retain_graph,
            create_graph=create_graph,
        )  # fmt: skip
    for leaf, found in wanted.items():  # the hooks of other nodes ran on the way
        if isinstance(leaf, Leaf) and found is not None:
            wanted[leaf] = run_hooks(leaf, found)
    results, taken = [], {id(g)}
    for tensor in inputs:
        found = wanted[tensor._node] if tensor._node is not None else None
        xp = array_module(tensor._data)
        if found is None:
            found = xp.zeros_like(tensor._data)
        if not isinstance(found, Tensor):  # rules pass on views, and one array to several inputs
            shared = found.base is not None or id(found) in taken
            taken.add(id(found))
            found = wrap(xp.array(found) if shared else found, None)
        results.append(found)
    return results


def _recorded(g: Array, gradient: Any) -> Tensor:
    """The gradient to start with, as a Tensor: the very one that was given, with its history."""
    if not isinstance(gradient, Tensor) or not gradient.requires_grad:
        return wrap(g, None)
    if gradient.shape != g.shape or gradient.dtype != g.dtype:
        raise InputError(
            f"grad: outputs have shape {g.shape} and dtype {g.dtype}, but a gradient of shape "
            f"{gradient.shape} and dtype {gradient.dtype} was given; with create_graph it must "
            "have theirs, see .reshape() and .astype()"
        )
    return gradient


def vjp(f: Callable[..., Tensor], *inputs: Any) -> tuple[Tensor, Callable[[Any], list[Tensor]]]:
    """``f(*inputs)`` and the function v -> vᵀJ, the product with f's Jacobian from the left.

    v has y's shape, each result that of its input.

    >>> y, back = mg.vjp(lambda x: x * x, [1.0, 2.0, 3.0])
    >>> back([1.0, 0.0, 1.0])
    [Tensor([2., 0., 6.])]
    """
    leaves = [Tensor(as_array(x), requires_grad=True) for x in inputs]
    y = f(*leaves)
    return y, lambda v: grad(y, leaves, v, retain_graph=True)


def hvp(f: Callable[..., Tensor], inputs: Sequence[Any], vectors: Sequence[Any]) -> list[Tensor]:
    """H·v for the Hessian H of the scalar function ``f`` at ``inputs``, one block per input.

    ``inputs`` and ``vectors`` are sequences of arrays of the same shapes, and so is the result. H
    itself is never formed.

    >>> mg.hvp(lambda x: (x**3).sum(), [[1.0, 2.0]], [[1.0, 1.0]])
    [Tensor([ 6., 12.])]
    """
    leaves = [Tensor(as_array(x), requires_grad=True) for x in inputs]
    first = grad(f(*leaves), leaves, create_graph=True)
    products = [(g * as_array(v)).sum() for g, v in zip(first, vectors, strict=True)]
    total = functools.reduce(lambda a, b: a + b, products)
    if total._node is None:
        return [wrap(array_module(x._data).zeros_like(x._data), None) for x in leaves]
    return grad(total, leaves)
