"""A dense layer's bias and activation in one pass, against formulas in double."""

from __future__ import annotations

import math

import numpy as np
import pytest
from harness import KINDS, SPECIAL, at, on, values
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor, ops
from minigrad.kernels import kernel, reference
from minigrad.kernels.build import compiler

SHAPES = [(1, 1), (3, 31), (32, 32), (33, 33), (5, 255), (2, 256), (7, 257), (70, 12), (1, 1000)]
TOLERANCE = 8  # units in the last place of the terms that go into a result


def close(found, exact, terms):
    """Equal where not finite; elsewhere to TOLERANCE, a term below the normal numbers being 0."""
    eps, tiny = np.finfo(found.dtype).eps, np.finfo(found.dtype).tiny
    finite = np.isfinite(exact) & (abs(exact) < np.finfo(found.dtype).max)
    np.testing.assert_array_equal(found[~finite], exact[~finite].astype(found.dtype))
    assert (abs(found - exact)[finite] <= (TOLERANCE * eps * terms + 4 * tiny)[finite]).all()


def gelu(u):
    """GELU and its slope, in double, through σ, which both tails keep exact."""
    c = math.sqrt(8 / math.pi)
    v = c * (u + 0.044715 * u**3)
    s, t = (1 / (1 + np.exp(np.clip(x, -700, 700))) for x in (-v, v))
    return u * s, s + u * s * t * c * (1 + 3 * 0.044715 * u * u)


@st.composite
def layers(draw, special=True):
    """z, b and g of one dtype; z holds all special values where it has room for them."""
    (rows, m), dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(["float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    z, g = (values(rng, rows * m, dtype).reshape(rows, m) for _ in range(2))
    b = rng.normal(size=m).astype(dtype)
    if special and z.size > len(SPECIAL):
        z.flat[rng.choice(z.size, len(SPECIAL), replace=False)] = SPECIAL
    return tuple(at(draw(st.integers(0, 5)), a) for a in (z, b, g))


def backward(where, name, g, *kept, height, width, order):
    """dz and db by blocks of ``height`` rows and ``width`` columns."""
    (rows, m), dz, db = g.shape, np.empty_like(g), np.empty(g.shape[1], g.dtype)
    groups = -(-rows // height)
    sums = np.empty((groups, m), g.dtype)
    blocks = groups * -(-m // width)
    on(where, name, g, *kept, dz, sums, height, width, blocks, order=order)
    on(where, "add_rows", sums, db, order=order)
    return dz, db


tiles = {"height": st.integers(1, 80), "width": st.integers(1, 300), "order": st.integers(1, 9)}


@pytest.mark.parametrize("where", KINDS)
@settings(max_examples=20)
@given(layer=layers(), **tiles)
def test_bias_relu(where, layer, height, width, order):
    z, b, g = layer
    y = z.copy()
    on(where, "bias_relu", y, b, z.size, order=order)
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_array_equal(y, np.maximum(z + b, 0))
        dz, db = backward(
            where, "bias_relu_gradient", g, y, height=height, width=width, order=order
        )
        np.testing.assert_array_equal(dz, g * (y > 0))
    exact = dz.astype(np.float64)
    close(db, exact.sum(0), len(g) * abs(exact).sum(0))


@pytest.mark.parametrize("where", KINDS)
@settings(max_examples=20)
@given(layer=layers(special=False), **tiles)
def test_bias_gelu(where, layer, height, width, order):
    z, b, g = layer
    y = np.full_like(z, np.nan)
    on(where, "bias_gelu", z, b, y, z.size, order=order)
    u = (z + b).astype(np.float64)
    exact, slope = gelu(u)
    close(y, exact, abs(u) * (1 + u**4))  # v is rounded before e⁻ᵛ is taken
    dz, db = backward(where, "bias_gelu_gradient", g, z, b, height=height, width=width, order=order)
    close(dz, g * slope, abs(g) * (1 + u**6))
    exact = dz.astype(np.float64)
    close(db, exact.sum(0), len(g) * abs(exact).sum(0))


@pytest.mark.parametrize("where", KINDS)
def test_gelu_of_special_values(where):
    z = np.array([[0.0, -0.0, 1e-45, -1e30, 1e30, -20, 20, np.inf, -np.inf, np.nan]], np.float32)
    b, y = np.zeros(z.shape[1], np.float32), np.empty_like(z)
    on(where, "bias_gelu", z, b, y, z.size)
    expected = [0, 0, 0, 0, 1e30, 0, 20, np.inf, np.nan, np.nan]
    np.testing.assert_allclose(y[0], np.array(expected, np.float32), atol=1e-30)


compiled = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")


@compiled
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("shape", [(300, 50), (2, 150, 50), (3000, 50)])
def test_the_op_with_kernels_equals_the_op_without(activation, shape):
    assert kernel("bias_relu", like=np.empty(0)) is not None
    rng = np.random.default_rng(0)
    x, W, b, g = (rng.normal(size=s) for s in (shape, (50, 50), (50,), shape))

    def results():
        leaves = [Tensor(a.copy(), requires_grad=True) for a in (x, W, b)]
        for leaf in leaves:
            leaf.grad = None  # a buffer, which rules may write to
        y = ops.dense(*leaves, activation)
        y.backward(g)
        return [y.data, *(leaf.grad for leaf in leaves)]

    with reference():
        expected = results()
    for found, again, wanted in zip(results(), results(), expected):
        np.testing.assert_array_equal(found, again)
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
