import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from opcheck import apart, case, corners, positive, real, slopes, suite

from minigrad import InputError, Tensor, grad, ops
from minigrad.testing import arrays, check_grads

X, P, A = real(2, 3, 4), positive(2, 3, 4), apart(2, 3, 4)
AXES = [None, 0, -1, (0, 2), (-1, 0)]


def _logsumexp(x, axis=None, keepdims=False):
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def _softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def _layer_norm(x, scale, shift):
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return (x - x.mean(axis=-1, keepdims=True)) / deviation * scale + shift


def _all(t, axis, ndim=3):
    """PyTorch's spelling of "all axes"."""
    return tuple(range(ndim)) if axis is None else axis


def _over_axes(name, operand, numpy=None, torch=None):
    """One case an axis, with and without ``keepdims``."""

    def at(axis, keep):
        return case(
            f"{name}-{axis}-{'keep' if keep else 'drop'}",
            lambda m, x: getattr(m, name)(x, axis=axis, keepdims=keep),
            operand,
            numpy=(lambda x: numpy(x, axis=axis, keepdims=keep)) if numpy else None,
            torch=(lambda t, x: torch(t, x, _all(t, axis), keep)) if torch else None,
        )

    return [at(axis, keep) for axis in AXES for keep in (False, True)]


test_value, test_gradients, test_dtype, test_pytorch = suite(
    [
        *_over_axes("sum", X, torch=lambda t, x, a, k: x.sum(a, k)),
        *_over_axes("mean", X, torch=lambda t, x, a, k: x.mean(a, k)),
        *_over_axes("var", X, torch=lambda t, x, a, k: x.var(a, correction=0, keepdim=k)),
        *_over_axes("std", X, torch=lambda t, x, a, k: x.std(a, correction=0, keepdim=k)),
        *_over_axes("max", A, torch=lambda t, x, a, k: t.amax(x, a, k)),
        *_over_axes("min", A, torch=lambda t, x, a, k: t.amin(x, a, k)),
        *_over_axes("logsumexp", X, _logsumexp, lambda t, x, a, k: t.logsumexp(x, a, k)),
        *_over_axes(
            "norm", X, lambda x, axis, keepdims: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims)),
            lambda t, x, a, k: t.linalg.vector_norm(x, dim=a, keepdim=k),
        ),
        case("prod", lambda m, x: m.prod(x), P),
        case("prod-1", lambda m, x: m.prod(x, axis=1), X),
        case("prod-keep", lambda m, x: m.prod(x, axis=-1, keepdims=True), X),
        case(
            "prod-axes", lambda m, x: m.prod(x, axis=(0, 2)), X,
            torch=lambda t, x: t.prod(t.prod(x, 2), 0),
        ),
        case(
            "var-ddof", lambda m, x: m.var(x, axis=1, ddof=1), X,
            torch=lambda t, x: t.var(x, 1, correction=1),
        ),
        case(
            "std-ddof", lambda m, x: m.std(x, ddof=1), X,
            torch=lambda t, x: t.std(x, correction=1),
        ),
        case("cumsum-0", lambda m, x: m.cumsum(x, 0), X),
        case("cumsum--1", lambda m, x: m.cumsum(x, -1), X),
        case("flip-1", lambda m, x: m.flip(x, 1), X, torch=lambda t, x: t.flip(x, (1,))),
        case("flip", lambda m, x: m.flip(x), X, torch=lambda t, x: t.flip(x, (0, 1, 2))),
        case(
            "softmax", lambda m, x: m.softmax(x), X,
            numpy=_softmax, torch=lambda t, x: t.softmax(x, -1),
        ),
        case("softmax-0", lambda m, x: m.softmax(x, 0), X, numpy=lambda x: _softmax(x, 0)),
        case(
            "log_softmax", lambda m, x: m.log_softmax(x), X,
            numpy=lambda x: np.log(_softmax(x)), torch=lambda t, x: t.log_softmax(x, -1),
        ),
        case(
            "log_softmax-1", lambda m, x: m.log_softmax(x, 1), X,
            numpy=lambda x: np.log(_softmax(x, 1)),
        ),
        case(
            "layer_norm", lambda m, x, w, b: m.layer_norm(x, w, b), X, positive(4), real(4),
            numpy=_layer_norm,
            torch=lambda t, x, w, b: t.nn.functional.layer_norm(x, (4,), w, b),
        ),
    ]
)  # fmt: skip

TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
test_corners = corners(
    [
        case("max", lambda m, x: m.max(x), TIES, torch=lambda t, x: x.amax()),
        case("max-1", lambda m, x: m.max(x, axis=1), TIES, torch=lambda t, x: x.amax(1)),
        case("min-0", lambda m, x: m.min(x, axis=0), TIES, torch=lambda t, x: x.amin(0)),
        case(
            "norm", lambda m, x: m.norm(x, axis=1), np.array([[0.0, 0.0], [3.0, 4.0]]),
            torch=lambda t, x: t.linalg.vector_norm(x, dim=1),
        ),
        *(
            case(f"prod-{zeros}", lambda m, x: m.prod(x, axis=1), np.array(zeros))
            for zeros in ([[0.0, 2, 3]], [[0.0, 2, 0]], [[0.0, 0, 0]], [[1.0, 2, 3], [4, 0, 5]])
        ),
    ]
)  # fmt: skip


def test_ties_share_evenly():
    thirds = [1 / 3] * 3
    assert slopes(lambda x: ops.max(x, axis=1), TIES) == [[[0, 0.5, 0.5], thirds]]
    assert slopes(lambda x: ops.min(x, axis=1), TIES) == [[[1, 0, 0], thirds]]
    assert slopes(ops.max, TIES) == [[[0, 0.5, 0.5], [0, 0, 0]]]


@pytest.mark.parametrize("axis", [None, 0, 1, (1, 0)])
@pytest.mark.parametrize("zeros", [[(0, 1)], [(0, 0), (1, 2)], [(0, 0), (0, 2)]])
def test_prod_at_zeros(zeros, axis):
    x = np.arange(1.0, 7).reshape(2, 3)
    x[tuple(zip(*zeros))] = 0
    check_grads(lambda x: ops.prod(x, axis=axis), x)


@pytest.mark.parametrize("f", [ops.norm, ops.std])
def test_a_length_of_zero_has_gradient_zero(f):
    x = Tensor(np.zeros((2, 3)), requires_grad=True)
    (g,) = grad(f(x, axis=1).sum(), x, create_graph=True)
    np.testing.assert_array_equal(g.data, np.zeros((2, 3)))
    assert np.isfinite(grad((g * g).sum(), x)[0].data).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (ops.softmax, [[0, 1], [0.5, 0.5]]),
        (ops.log_softmax, [[-2e4, 0], [-np.log(2), -np.log(2)]]),
        (lambda x: ops.logsumexp(x, axis=1), [1e4, -1e4 + np.log(2)]),
    ],
)
def test_distant_rows_of_logits(f, expected, dtype):
    x = Tensor(np.array([[-1e4, 1e4], [-1e4, -1e4]], dtype), requires_grad=True)
    y = f(x)
    np.testing.assert_allclose(y.data, expected, rtol=1e-6)
    (g,) = grad((y * y).sum(), x, create_graph=True)
    assert np.isfinite(g.data).all()
    assert np.isfinite(grad(g.sum(), x)[0].data).all()


def test_logsumexp_of_infinities():
    x = Tensor(np.array([[-np.inf, -np.inf], [-np.inf, 1.0], [np.inf, 0]]), requires_grad=True)
    y = ops.logsumexp(x[:2], axis=1)
    np.testing.assert_array_equal(y.data, [-np.inf, 1])
    np.testing.assert_array_equal(grad(y.sum(), x)[0].data, [[0, 0], [0, 1], [0, 0]])
    assert ops.logsumexp(x[2]).item() == np.inf


LOGITS = arrays(array_shapes(min_dims=1, max_dims=3, max_side=4), low=-1e4, high=1e4)


@given(LOGITS, st.floats(-1e4, 1e4))
def test_softmax_is_a_distribution_that_no_shift_changes(x, shift):
    p = ops.softmax(x).data
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(p, ops.softmax(x + shift).data, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(p, np.exp(ops.log_softmax(x).data), rtol=1e-10, atol=1e-300)


@given(LOGITS)
def test_logsumexp_lies_between_the_maximum_and_that_plus_ln_n(x):
    above = ops.logsumexp(x).data - x.max()
    assert -1e-9 <= above <= np.log(x.size) + 1e-9


@given(st.data())
@settings(max_examples=40)
def test_any_axes_of_any_shape(data):
    x = data.draw(arrays(array_shapes(max_dims=3, max_side=3), unique=True))
    some = st.sets(st.integers(0, x.ndim - 1), min_size=1).map(tuple)
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1) | some)
    keep = data.draw(st.booleans())
    for name in ("sum", "mean", "var", "max", "min", "prod"):
        y = getattr(ops, name)(Tensor(x), axis=axis, keepdims=keep)
        np.testing.assert_allclose(
            y.data, getattr(np, name)(x, axis=axis, keepdims=keep), rtol=1e-12, atol=1e-12
        )
    how = {"axis": axis, "keepdims": keep}
    check_grads(lambda x: ops.max(x, **how) * ops.sum(x, **how), x, order=1)


def test_layer_norm_has_mean_0_and_variance_1():
    y = ops.layer_norm(np.random.default_rng(0).normal(5, 3, (4, 100)), np.ones(100), np.zeros(100))
    np.testing.assert_allclose(y.data.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(y.data.var(axis=1), 1, rtol=1e-5)


def test_layer_norm_of_equal_values():
    x, w, b = (Tensor(np.full(s, 3.0), requires_grad=True) for s in ((2, 4), 4, 4))
    y = ops.layer_norm(x, w, b)
    np.testing.assert_array_equal(y.data, np.full((2, 4), 3))
    y.backward(np.arange(8.0).reshape(2, 4))
    assert np.isfinite(x.grad).all()
    np.testing.assert_array_equal(w.grad, np.zeros(4))


@pytest.mark.parametrize("f", [ops.sum, ops.mean, ops.max, ops.logsumexp, ops.norm])
def test_an_axis_that_is_not_there(f):
    with pytest.raises(InputError, match=r"was given shapes \(2, 3\): axis 2 is out of bounds"):
        f(np.ones((2, 3)), axis=2)


def test_the_slopes_of_prod_with_no_zero_one_and_two():
    x = [[1.0, 2, 3], [0, 2, 3], [0, 0, 3]]
    assert slopes(lambda x: ops.prod(x, axis=1), x) == [[[6, 3, 2], [6, 0, 0], [0, 0, 0]]]


def test_a_mean_of_many_float16():
    x = Tensor(np.ones(100_000, np.float16), requires_grad=True)
    assert x.mean().item() == 1
    assert x.mean().dtype == np.float16


@pytest.mark.parametrize("f", [ops.var, ops.std])
def test_no_degrees_of_freedom(f):
    with pytest.raises(InputError, match=r"n - ddof, which is 1 - 1 for shape \(2, 1\) and axis 1"):
        f(np.ones((2, 1)), axis=1, ddof=1)


def test_isfinite_ends_the_graph():
    y = ops.isfinite(Tensor([1.0, np.inf, np.nan], requires_grad=True))
    np.testing.assert_array_equal(y.data, [True, False, False])
    assert not y.requires_grad
