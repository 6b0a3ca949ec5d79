"""Matrix products: matmul, dense, einsum."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd import Tensor, as_array, functions, op, within
from minigrad.backend import Array, array_module
from minigrad.errors import InputError, unknown
from minigrad.kernels import kernel
from minigrad.kernels.matmul import product
from minigrad.ops import activations
from minigrad.ops._fused import packed, shares, usable

if TYPE_CHECKING:
    from minigrad.kernels.launch import Kernel

__all__ = ["dense", "einsum", "matmul"]

_LARGE = 40_000  # products of one element of each operand
_PARALLEL = 131_072  # elements that are work enough for one core


def _column(xp: Any, x: Any) -> Any:
    return xp.expand_dims(x, -1)


def _matmul_left(xp: Any, g: Any, a_shape: tuple[int, ...], b: Any) -> Any:
    if len(b.shape) == 1:
        return _column(xp, g) * b if len(a_shape) > 1 else g * b
    if len(a_shape) == 1:
        return xp.squeeze(product(xp, b, _column(xp, g)), -1)
    return product(xp, g, xp.swapaxes(b, -1, -2))


def _matmul_right(xp: Any, g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    if len(a.shape) == 1:
        return _column(xp, a) * xp.expand_dims(g, -2) if len(b_shape) > 1 else g * a
    if len(b_shape) == 1:
        return xp.squeeze(product(xp, xp.swapaxes(a, -1, -2), _column(xp, g)), -1)
    return product(xp, xp.swapaxes(a, -1, -2), g)


@op(a=_matmul_left, b=_matmul_right)
def matmul(xp: Any, a: Array, b: Array) -> Array:
    """a @ b for vectors (n,), matrices (n, m) and batches (…, n, m), as in NumPy.

    >>> ops.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, -1.0])
    Tensor([-1., -1.])
    """
    return product(xp, a, b)


def _dense_weight(xp: Any, g: Any, x: Any, out: Any) -> Any:
    if len(x.shape) != 2:
        x, g = x.reshape((-1, x.shape[-1])), g.reshape((-1, g.shape[-1]))
    return product(xp, x.T, g, out)


@op(x=lambda xp, g, W: product(xp, g, W.T), W=_dense_weight, b=lambda g: g)
def _dense(xp: Any, x: Array, W: Array, b: Array | None = None) -> Array:
    y = product(xp, x, W)
    if b is None:
        return y
    if getattr(b, "dtype", None) is not y.dtype:
        return y + b
    y += b  # saves an array
    return y


def _bias_kernel(name: str, z: Array, b_shape: tuple[int, ...]) -> Kernel | None:
    """A kernel of kernels/dense.cu, where it can be used."""
    return kernel(name, like=z) if z.size and b_shape == z.shape[-1:] and usable(z) else None


def _fused_gradients(xp: Any, fused: Kernel, g: Array, z: Array, b: Any, out: Any) -> Any:
    """(db, dz) by a kernel; db is ``out`` where that is given."""
    shape, m = g.shape, g.shape[-1]
    if len(shape) != 2:
        g, z = g.reshape((-1, m)), z.reshape((-1, m))
    g, rows = packed(xp, g), len(g)
    if type(g) is np.ndarray:
        height, width = -(-rows // min(rows, shares(g.size, _PARALLEL))), m
    else:
        height, width = 16 if rows > 64 else rows, 256
    db, dz = xp.empty(m, g.dtype) if out is None else out, xp.empty((rows, m), g.dtype)
    groups = -(-rows // height)
    sums = db[None] if groups == 1 else xp.empty((groups, m), g.dtype)
    kept = (z,) if b is None else (z, packed(xp, b))
    fused(g, *kept, dz, sums, height, width, groups * -(-m // width))
    if groups > 1:
        join = kernel("add_rows", like=g)
        assert join is not None
        join(sums, db)
    return db, dz if len(shape) == 2 else dz.reshape(shape)


def _bias_relu_gradients(xp: Any, g: Any, y: Any, b_shape: tuple[int, ...], out: Any) -> Any:
    fused = None if xp is functions else _bias_kernel("bias_relu_gradient", y, b_shape)
    if fused is not None:
        return _fused_gradients(xp, fused, g, y, None, out)
    dz = g * (y > 0)
    return dz, dz


# b before z: ``out`` is then b's
@op(joint=(("b", "z"), _bias_relu_gradients), writes=("z",))
def _bias_relu(xp: Any, z: Array, b: Array) -> Array:
    """max(z + b, 0), written over z, which nobody else may hold."""
    if getattr(b, "dtype", None) is not z.dtype:
        return xp.maximum(z + b, 0)
    fused = _bias_kernel("bias_relu", z, b.shape)
    if fused is None:
        z += b
        return xp.maximum(z, 0, out=z)
    fused(z if z.ndim == 2 else z.reshape((-1, z.shape[-1])), packed(xp, b), z.size)
    return z


def _bias_gelu_gradients(xp: Any, g: Any, z: Any, b: Any, b_shape: Any, out: Any) -> Any:
    fused = None if xp is functions else _bias_kernel("bias_gelu_gradient", z, b_shape)
    if fused is not None and b.dtype is z.dtype:
        return _fused_gradients(xp, fused, g, z, b, out)
    dz = activations.gelu_gradient(xp, g, z + b)
    return dz, dz


@op(joint=(("b", "z"), _bias_gelu_gradients))
def _bias_gelu(xp: Any, z: Array, b: Array) -> Array:
    """gelu(z + b)."""
    fused = None
    if getattr(b, "dtype", None) is z.dtype:
        fused = _bias_kernel("bias_gelu", z, b.shape)
    if fused is None:
        return within(xp, activations.gelu, z + b)
    y = xp.empty(z.shape, z.dtype)
    table = (-1, z.shape[-1])
    fused(z.reshape(table), packed(xp, b), y.reshape(table), z.size)
    return y


# with a bias, without, and the elements from which a kernel pays off on a CPU
ACTIVATIONS = {
    "relu": (_bias_relu, activations.relu, 10_000),
    "gelu": (_bias_gelu, activations.gelu, 1_000),
}


def check_activation(given: Any) -> None:
    """Raise :class:`InputError` unless ``given`` is a name that :func:`dense` knows."""
    if isinstance(given, str) and given in ACTIVATIONS:
        return
    if isinstance(given, str):
        said = str(unknown("activation of a dense layer", given, ACTIVATIONS))
    else:
        names = " or ".join(f"'{name}'" for name in ACTIVATIONS)
        said = f"the activation of a dense layer is a name, {names}, but {given!r} was given"
    raise InputError(f"{said}; other activations are layers of their own, nn.Tanh() and so on")


def dense(x: Any, W: Any, b: Any = None, activation: str | None = None) -> Tensor:
    """x·W + b: x (…, n), W (n, m), b (m,) or ``None``; the result is (…, m).

    ``activation`` is ``"relu"`` or ``"gelu"`` (the tanh form), applied in the pass that adds b.
    Raises :class:`InputError` for other activations, and where the shapes do not fit.

    >>> ops.dense([[1.0, 2.0]], [[1.0], [-1.0]], [0.5])
    Tensor([[-0.5]])
    """
    if activation is None:
        return _dense(x, W, b)
    check_activation(activation)
    with_bias, alone, enough = ACTIVATIONS[activation]
    if b is None or _elements(x, W) < enough:
        return alone(_dense(x, W, b))
    return with_bias(_dense(x, W, None), b)


def _elements(x: Any, W: Any) -> float:
    """How many elements x·W has; on a GPU a kernel is always worth its call."""
    x, W = getattr(x, "_data", x), getattr(W, "_data", W)
    if type(x) is not np.ndarray or type(W) is not np.ndarray or W.ndim != 2 or not W.size:
        return math.inf
    return float(x.size // W.shape[0] * W.shape[1])


functions.dense = dense


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Einstein summation, NumPy's subscripts (``"ij,jk->ik"``), any number of operands.

    >>> ops.einsum("ij,ij->i", [[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [0.5, 0.5]])
    Tensor([3. , 3.5])
    """
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
