"""Layer norm: against its formula in wider numbers, in every form; then the op."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import KINDS, at, on
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor, grad, ops
from minigrad.kernels import reference
from minigrad.ops import _fused
from minigrad.testing import check_grads

WIDER = {"float32": np.float64, "float64": np.longdouble}
FEATURES = [1, 2, 31, 32, 33, 64, 255, 256, 257, 600]
ULP = 16  # units in the last place of the largest terms that are added
EPSILON = 1e-5


def formula(x: Any, scale: Any, shift: Any, g: Any) -> list[tuple[Any, Any]]:
    """y, dx, dscale and dshift, each with the size of the terms that are added for it."""
    centred = x - x.mean(axis=1, keepdims=True)
    d = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + EPSILON)
    z, u = centred / d, g * scale
    # what rounding x itself and its mean may do to z
    loose = abs(z) + abs(x).max(axis=1, keepdims=True, initial=0) / d
    mean_u, mean_uz = (v.mean(axis=1, keepdims=True) for v in (u, u * z))
    sizes = [abs(v).mean(axis=1, keepdims=True) for v in (u, u * loose)]
    slack = (abs(u) + sizes[0] + (1 + loose) * sizes[1]) * (1 + loose)
    return [
        (z * scale + shift, loose * abs(scale) + abs(shift)),
        ((u - mean_u - z * mean_uz) / d, slack / d),
        ((g * z).sum(axis=0), (abs(g) * loose).sum(axis=0)),
        (g.sum(axis=0), abs(g).sum(axis=0)),
    ]  # fmt: skip


def launch(
    where: str, x: Any, scale: Any, shift: Any, g: Any, group: int = 32, **how: Any
) -> list[Any]:
    y, dx = np.full_like(x, 7), np.full_like(x, 7)
    sums = np.full((2, -(-len(x) // group), len(scale)), 7, x.dtype)
    on(where, "layer_norm", x, scale, shift, y, EPSILON, **how)
    on(where, "layer_norm_gradient", x, scale, g, dx, *sums, EPSILON, group, **how)
    return [y, dx, *sums.sum(axis=1)]


def draw(seed: int, rows: int, features: int, dtype: str, offset: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    size, centre = rng.choice([1e-3, 1, 1e3]), rng.choice([0, 1, 100])
    shapes = [(rows, features), features, features, (rows, features)]
    x, *others = (at(offset, rng.normal(size=shape).astype(dtype)) for shape in shapes)
    x += centre
    x *= size
    return [x, *others]


def agrees(
    where: str, seed: int, rows: int, features: int, dtype: str, group: int, offset: int
) -> None:
    operands = draw(seed, rows, features, dtype, offset)
    found = launch(where, *operands, group=group)
    wanted = formula(*(a.astype(WIDER[dtype]) for a in operands))
    for a, (b, terms) in zip(found, wanted):
        assert (abs(a - b) <= ULP * np.finfo(dtype).eps * terms).all()


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("dtype", WIDER)
@given(
    st.integers(0, 2**32), st.sampled_from([0, 1, 3, 7]), st.sampled_from(FEATURES),
    st.sampled_from([1, 2, 32]), st.integers(0, 1),
)  # fmt: skip
@settings(max_examples=25)
def test_it_is_its_formula(where, dtype, seed, rows, features, group, offset):
    agrees(where, seed, rows, features, dtype, group, offset)


@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize(("rows", "features"), [(100, 768), (3, 5000), (3000, 33)])
def test_large_ones(dtype, rows, features):
    agrees("cpu", 0, rows, features, dtype, 32, 0)


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("dtype", WIDER)
def test_what_is_not_finite(where, dtype):
    x, scale, shift, g = draw(0, 6, 70, dtype)
    x[0, 3], x[1, 3], x[2], x[3] = np.nan, np.inf, 0.25, 0
    x[4] *= np.finfo(dtype).max / abs(x[4]).max() / 100  # its squares overflow: var is infinite
    y, dx, dscale, dshift = launch(where, x, scale, shift, g)
    undefined = np.array([1, 1, 0, 0, 0, 0], bool)
    np.testing.assert_array_equal(np.isnan(y).all(axis=1), undefined)
    np.testing.assert_array_equal(np.isnan(y).any(axis=1), undefined)
    np.testing.assert_array_equal(np.isnan(dx).any(axis=1), undefined)
    for row in (2, 3, 4):
        np.testing.assert_array_equal(y[row], shift)
    assert np.isnan(dscale).all()
    np.testing.assert_allclose(dshift, g.sum(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("where", KINDS)
def test_the_same_bits_in_any_order(where):
    operands = draw(3, 9, 300, "float32")
    orders = ("forward", "reverse", 1)
    first, *others = (launch(where, *operands, group=2, order=order) for order in orders)
    for other in others:
        for a, b in zip(first, other):
            np.testing.assert_array_equal(a, b)


def whole(*operands: Any) -> list[Any]:
    x, scale, shift, g = operands
    leaves = [Tensor(a, requires_grad=True) for a in (x, scale, shift)]
    y = ops.layer_norm(*leaves)
    return [y.data, *(d.data for d in grad((y * g).sum(), leaves))]


@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize(
    "shape", [(70, 40), (5, 14, 40), (3000,), (70, 40, "fortran"), (70, 40, "view")]
)
def test_the_op_is_its_formula(dtype, shape):
    rng = np.random.default_rng(0)
    *size, kind = shape if isinstance(shape[-1], str) else (*shape, "")
    x, g = rng.normal(size=(2, *size)).astype(dtype)
    scale, shift = rng.normal(size=(2, size[-1])).astype(dtype)
    x = np.asfortranarray(x) if kind == "fortran" else x
    x, scale = (np.repeat(a, 2, -1)[..., ::2] if kind == "view" else a for a in (x, scale))
    found = whole(x, scale, shift, g)
    with reference():
        wanted = whole(x, scale, shift, g)
    for a, b in zip(found, wanted):
        assert a.dtype == dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=16 * np.finfo(dtype).eps * abs(b).max())


@pytest.mark.parametrize("small", [0, 10**9])
def test_the_op_takes_other_shapes_and_dtypes(monkeypatch, small):
    monkeypatch.setattr(_fused, "SMALL", small)
    x, scale, shift, g = draw(5, 3, 4, "float64")
    check_grads(ops.layer_norm, x, scale, shift)
    check_grads(lambda x, w: ops.layer_norm(x, w, shift), x[0], scale)
    wide = whole(x, scale, shift, g)
    mixed = whole(x.astype(np.float32), scale, shift, g)
    np.testing.assert_allclose(mixed[0], wide[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mixed[1], wide[1], rtol=1e-3, atol=1e-4)
    one = ops.layer_norm(x, np.array(2.0), np.array(1.0))
    np.testing.assert_allclose(one.data, 2 * ops.layer_norm(x, 1 + 0 * scale, 0 * shift).data + 1)
    assert ops.layer_norm(np.zeros((0, 4)), scale, shift).shape == (0, 4)
