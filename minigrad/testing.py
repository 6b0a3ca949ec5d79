"""For tests of your own ops and layers: gradient checks, Hypothesis strategies, ranks as threads.

check_grads(ops.tanh, np.linspace(-2, 2, 5))

@given(arrays(broadcastable_shapes(1).map(itemgetter(0))))
def test_tanh(x): ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd import Tensor, as_array, grad
from minigrad.backend import Array, array_module
from minigrad.distributed.threads import run_ranks
from minigrad.errors import InputError, require

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["arrays", "broadcastable_shapes", "check_grads", "labels", "run_ranks"]

_STEP = 6e-6  # the cube root of float64's ε, where rounding and curvature cost a difference alike


def check_grads(
    f: Callable[..., Tensor],
    *args: Any,
    order: int = 2,
    tolerance: float = 1e-6,
    generator: np.random.Generator | None = None,
) -> None:
    """Assert that backward through ``f`` agrees with central differences, in float64.

    ``f`` takes a Tensor for each of ``args`` (arrays, lists or numbers; fix what is no float with
    a lambda) and returns a Tensor of any shape. The slope along a random direction is compared
    first, which costs two calls of f; only where that differs by more than ``tolerance``, relative
    to the numbers at hand, is every element moved by itself, to name the worst argument and index.
    ``order`` 2 checks the gradient of the gradient too, 3 the next, and so on. f must be smooth
    within 1e-5 of ``args``: keep ReLU's corner away from them.

    >>> from minigrad.testing import check_grads
    >>> check_grads(ops.tanh, [-1.0, 0.5])
    >>> check_grads(lambda x: x.detach() * x, [2.0])
    Traceback (most recent call last):
        ...
    AssertionError: the gradient is wrong, most of all for argument 0 at index (0,): ...
    """
    generator = np.random.default_rng(0) if generator is None else generator
    xp = array_module(*args, op="check_grads")
    points = [xp.array(as_array(arg, np.float64)) for arg in args]
    names = [f"argument {i}" for i in range(len(points))]
    _check(f, points, names, "gradient", order, tolerance, generator)


def _check(
    f: Callable[..., Tensor],
    points: Sequence[Array],
    names: Sequence[str],
    what: str,
    order: int,
    tolerance: float,
    generator: np.random.Generator,
) -> None:
    y, leaves = _call(f, points)
    v = _random(y.data, generator)
    if y.requires_grad:
        analytic = [g.data for g in grad((y * v).sum(), leaves)]
    else:
        analytic = [array_module(x).zeros_like(x) for x in points]
    directions = [_random(x, generator) for x in points]
    moved = [(x + _STEP * d, x - _STEP * d) for x, d in zip(points, directions)]
    numeric = _slope(f, v, *zip(*moved)) if points else 0.0
    terms = [float((g * d).sum()) for g, d in zip(analytic, directions)]
    scale = max(1.0, abs(numeric), *map(abs, terms))
    if not abs(sum(terms) - numeric) <= tolerance * scale:
        raise AssertionError(_worst(f, points, names, what, v, analytic, sum(terms), numeric))
    if order > 1 and points:
        weights = [_random(x, generator) for x in points]

        def slope(v: Tensor, *xs: Tensor) -> Tensor:
            gradients = grad((f(*xs) * v).sum(), xs, create_graph=True)
            parts: list[Tensor] = [(g * w).sum() for g, w in zip(gradients, weights)]
            return sum(parts[1:], parts[0])

        _check(
            slope, [v, *points], ["the gradient that arrives", *names],
            f"gradient of the {what}", order - 1, tolerance, generator,
        )  # fmt: skip


def _call(f: Callable[..., Tensor], points: Sequence[Array]) -> tuple[Tensor, list[Tensor]]:
    leaves = [Tensor(x, requires_grad=True, dtype=np.float64) for x in points]
    y = f(*leaves)
    if not isinstance(y, Tensor):
        raise InputError(f"check_grads: f returned {type(y).__name__}, a Tensor was expected")
    return y, leaves


def _random(like: Array, generator: np.random.Generator) -> Array:
    """Numbers in [−1, 1], none of them so small that it would hide an error."""
    size = generator.uniform(0.5, 1.0, like.shape)
    return array_module(like).asarray(np.where(generator.random(like.shape) < 0.5, -size, size))


def _slope(f: Callable[..., Tensor], v: Array, ahead: Any, behind: Any) -> float:
    difference = _call(f, ahead)[0].data - _call(f, behind)[0].data
    return float((difference * v).sum()) / (2 * _STEP)


def _worst(
    f: Callable[..., Tensor],
    points: Sequence[Array],
    names: Sequence[str],
    what: str,
    v: Array,
    analytic: Sequence[Array],
    along: float,
    numeric: float,
) -> str:
    """The sentence for a failure: which element of which argument differs most, and by what."""
    y, again = (_call(f, points)[0].data for _ in range(2))
    if not np.array_equal(y, again, equal_nan=True):
        return "f gave two results for the same arguments: give it a generator with a fixed seed"
    worst = (-1.0, 0, (), along, numeric)
    for k, x in enumerate(points):
        for index in np.ndindex(x.shape):
            ahead, behind = list(points), list(points)
            ahead[k], behind[k] = x.copy(), x.copy()
            ahead[k][index] += _STEP
            behind[k][index] -= _STEP
            ours, theirs = float(analytic[k][index]), _slope(f, v, ahead, behind)
            off = abs(ours - theirs)
            worst = max(worst, (np.inf if np.isnan(off) else off, k, index, ours, theirs))
    _, k, index, ours, theirs = worst
    return (
        f"the {what} is wrong, most of all for {names[k]} at index {index}: backward gives "
        f"{ours:.9g}, central differences give {theirs:.9g}"
    )


def broadcastable_shapes(
    n: int, *, max_dims: int = 3, min_side: int = 1, max_side: int = 3
) -> SearchStrategy[tuple[tuple[int, ...], ...]]:
    """``n`` shapes that NumPy can broadcast together, scalars among them."""
    strategies = require("hypothesis.extra.numpy", "test")
    shapes: SearchStrategy[Any] = strategies.mutually_broadcastable_shapes(
        num_shapes=n, max_dims=max_dims, min_side=min_side, max_side=max_side
    )
    return shapes.map(lambda found: tuple(found.input_shapes))


def arrays(
    shape: Any, dtype: Any = np.float64, *, low: float = -4, high: float = 4, unique: bool = False
) -> SearchStrategy[Array]:
    """Arrays of ``shape`` (or a strategy for shapes) with finite values in [low, high].

    Floats are multiples of 1/64, exact in float32 too: they tie often and are never tiny. With
    ``unique`` no two are equal, so that maxima have no ties.
    """
    strategies = require("hypothesis.strategies", "test")
    numpy = require("hypothesis.extra.numpy", "test")
    dtype = np.dtype(dtype)
    grid = 64 if dtype.kind == "f" else 1
    values = strategies.integers(int(np.ceil(low * grid)), int(np.floor(high * grid)))
    found: SearchStrategy[Array] = numpy.arrays(
        dtype, shape, elements=values.map(lambda k: dtype.type(k / grid)), unique=unique
    )
    return found


def labels(n: Any, classes: int) -> SearchStrategy[Array]:
    """``n`` class numbers (or a strategy for n), int64 in 0 … classes − 1."""
    return arrays(n, np.int64, low=0, high=classes - 1)
