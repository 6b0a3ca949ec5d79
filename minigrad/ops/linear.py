"""Matrix products: matmul, dense, einsum."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

from minigrad.autograd import Tensor, as_array, functions, op
from minigrad.backend import Array, array_module
from minigrad.errors import InputError

__all__ = ["dense", "einsum", "matmul"]

_LARGE = 40_000  # products of one element of each operand


def _column(xp: Any, x: Any) -> Any:
    return xp.expand_dims(x, -1)


def _matmul_left(xp: Any, g: Any, a_shape: tuple[int, ...], b: Any) -> Any:
    if len(b.shape) == 1:
        return _column(xp, g) * b if len(a_shape) > 1 else g * b
    if len(a_shape) == 1:
        return xp.squeeze(xp.matmul(b, _column(xp, g)), -1)
    return xp.matmul(g, xp.swapaxes(b, -1, -2))


def _matmul_right(xp: Any, g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    if len(a.shape) == 1:
        return _column(xp, a) * xp.expand_dims(g, -2) if len(b_shape) > 1 else g * a
    if len(b_shape) == 1:
        return xp.squeeze(xp.matmul(xp.swapaxes(a, -1, -2), _column(xp, g)), -1)
    return xp.matmul(xp.swapaxes(a, -1, -2), g)


@op(a=_matmul_left, b=_matmul_right)
def matmul(xp: Any, a: Array, b: Array) -> Array:
    """a @ b for vectors (n,), matrices (n, m) and batches (…, n, m), as in NumPy."""
    return xp.matmul(a, b)


def _dense_weight(xp: Any, g: Any, x: Any, out: Any) -> Any:
    if len(x.shape) != 2:
        x, g = x.reshape((-1, x.shape[-1])), g.reshape((-1, g.shape[-1]))
    return xp.matmul(x.T, g) if out is None else xp.matmul(x.T, g, out=out)


@op(x=lambda xp, g, W: xp.matmul(g, W.T), W=_dense_weight, b=lambda g: g)
def dense(xp: Any, x: Array, W: Array, b: Array | None = None) -> Array:
    """x·W + b in one op: x (…, n), W (n, m), b (m,) or ``None``; the result is (…, m)."""
    y = xp.matmul(x, W)
    if b is None:
        return y
    if getattr(b, "dtype", None) is not y.dtype:
        return y + b
    y += b  # saves an array
    return y


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Einstein summation, NumPy's subscripts (``"ij,jk->ik"``), any number of operands."""
    tensors = [x if isinstance(x, Tensor) else as_array(x) for x in operands]
    ranks = [len(x.shape) for x in tensors]
    return _einsum(tensors, subscripts=_explicit(subscripts, ranks))


def _explicit(subscripts: str, ranks: list[int]) -> str:
    """The subscripts with their output written out and every ``...`` spelled in letters."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise InputError(
            f"einsum: '{subscripts}' names {len(terms)} operands, but {len(ranks)} were given"
        )
    free = [letter for letter in string.ascii_letters if letter not in subscripts]
    hidden = [r - len(t.replace("...", "")) if "..." in t else 0 for t, r in zip(terms, ranks)]
    dots = "".join(free[: max(hidden)])
    terms = [t.replace("...", dots[len(dots) - h :]) for t, h in zip(terms, hidden)]
    for term, rank in zip(terms, ranks):
        if len(term) != rank:
            raise InputError(f"einsum: '{term}' in '{subscripts}' meets an operand of {rank} axes")
    if arrow:
        right = right.replace("...", dots)
    else:
        joined = "".join(terms)
        right = dots + "".join(c for c in sorted(set(joined) - set(dots)) if joined.count(c) == 1)
    return f"{','.join(terms)}->{right}"


def _einsum_gradients(
    xp: Any, g: Any, wants: Any, tensors: Any, tensors_shape: Any, subscripts: str
) -> list[Any]:
    left, _, right = subscripts.partition("->")
    terms = left.split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, tensors_shape):
        for letter, n in zip(term, shape):
            sizes[letter] = max(n, sizes.get(letter, 1))
    owner = array_module(*(t._data if isinstance(t, Tensor) else t for t in tensors))
    result: list[Any] = []
    for k, term in enumerate(terms):
        if not wants[k]:
            result.append(None)
            continue
        names = [right, *(t for i, t in enumerate(terms) if i != k)]
        values = [g, *(t for i, t in enumerate(tensors) if i != k)]
        target = ""
        spare = [letter for letter in string.ascii_letters if letter not in subscripts]
        for letter in term:
            n = sizes[letter]
            if letter in target:  # a diagonal: off it the gradient is zero
                names.append(letter + spare[-1])
                values.append(owner.eye(n, dtype=g.dtype))
                letter = spare.pop()
            elif not any(letter in name for name in names):  # summed away by this operand alone
                names.append(letter)
                values.append(owner.ones(n, dtype=g.dtype))
            target += letter
        result.append(_contract(xp, f"{','.join(names)}->{target}", values))
    return result


def _contract(xp: Any, subscripts: str, tensors: Sequence[Any]) -> Any:
    """einsum, by matrix products where something is summed and finding them, 10 µs, pays."""
    if xp is functions:
        return xp.einsum(subscripts, *tensors)
    left, _, right = subscripts.partition("->")
    sizes = {pair for term, t in zip(left.split(","), tensors) for pair in zip(term, t.shape)}
    summed = any(letter not in right for letter, _ in sizes)
    large = math.prod(n for _, n in sizes) > _LARGE
    return xp.einsum(subscripts, *tensors, optimize=len(tensors) > 1 and summed and large)


@op(joint=(("tensors",), _einsum_gradients))
def _einsum(xp: Any, *tensors: Array, subscripts: str) -> Array:
    """einsum with explicit subscripts: no ``...``, and an arrow."""
    return _contract(xp, subscripts, tensors)


functions.einsum = einsum
