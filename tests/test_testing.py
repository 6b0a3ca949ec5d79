"""The checker is checked: right ops pass, each kind of mistake is found and named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import InputError, Tensor, ops
from minigrad.autograd import op
from minigrad.testing import arrays, broadcastable_shapes, check_grads, labels, run_ranks

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


pytestmark = pytest.mark.usefixtures("own_ops")


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(
    ("f", "args"),
    [
        (ops.tanh, [X]),
        (ops.matmul, [X, X.T]),
        (lambda a, b: a * b, [X, 2.0]),
        (lambda x: ops.sum(x, axis=0), [X.tolist()]),
        (lambda x: 2 * x, [Tensor(X)]),
        (lambda x: Tensor(1.0), [X]),
        (lambda x, y: x.sum(), [X, X]),
        (lambda: Tensor(1.0), []),
        (ops.exp, [np.float32(0.1)]),
        (ops.exp, [np.zeros((0, 3))]),
    ],
)
def test_right_gradients_pass(f, args, order):
    check_grads(f, *args, order=order)


def test_a_wrong_element_is_named_with_both_numbers():
    @op(x=lambda xp, g, x: xp.where(x == 2, 1.5 * g * 2 * x, g * 2 * x))
    def square(xp, x):
        return x * x

    said = r"^the gradient is wrong, most of all for argument 0 at index \(0, 2\): backward gives "
    with pytest.raises(AssertionError, match=said) as caught:
        check_grads(square, X)
    words = str(caught.value).split()
    ours, theirs = float(words[-5].strip(",")), float(words[-1])
    assert ours / theirs == pytest.approx(1.5)


def test_a_wrong_argument_is_named():
    @op(a=lambda g, b: g * b, b=lambda g, a: -g * a)
    def mul(xp, a, b):
        return a * b

    with pytest.raises(AssertionError, match="argument 1 at index"):
        check_grads(mul, X, X + 0.1)


def test_a_small_error_is_found():
    @op(x=lambda g, y: g * y * (1 + 1e-4))
    def exp(xp, x):
        return xp.exp(x)

    with pytest.raises(AssertionError, match="the gradient is wrong"):
        check_grads(exp, X)
    check_grads(exp, X, tolerance=1e-2)


def test_a_wrong_second_gradient_is_found():
    @op(x=lambda g, y: g * y.data if isinstance(y, Tensor) else g * y)
    def exp(xp, x):
        return xp.exp(x)

    check_grads(exp, X, order=1)
    with pytest.raises(AssertionError, match=r"the gradient of the gradient is wrong.*argument 0"):
        check_grads(exp, X)


def test_a_gradient_that_ignores_what_arrives():
    @op(x=lambda g, y: (g.data if isinstance(g, Tensor) else g) * y)
    def exp(xp, x):
        return xp.exp(x)

    with pytest.raises(AssertionError, match="for the gradient that arrives at index"):
        check_grads(exp, X)


def test_nan_is_no_gradient():
    @op(x=lambda xp, g, x: g * xp.where(x > 1.75, np.nan, 1.0))
    def same(xp, x):
        return x * 1

    with pytest.raises(AssertionError, match=r"index \(0, 2\): backward gives nan"):
        check_grads(same, X, order=1)


def test_a_missing_link_is_found():
    with pytest.raises(AssertionError, match="backward gives 0, central differences give"):
        check_grads(lambda x: ops.exp(x.detach()), X)


def test_random_functions_are_told_apart_from_wrong_ones():
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="f gave two results for the same arguments"):
        check_grads(lambda x: x * rng.random(3), X)


def test_f_must_return_a_tensor():
    with pytest.raises(InputError, match="f returned ndarray, a Tensor was expected"):
        check_grads(lambda x: x.data, X)


def test_directions_come_from_the_generator_and_arguments_are_left_alone():
    first, again = np.random.default_rng(5), np.random.default_rng(5)
    before = X.copy()
    for generator in (first, again):
        check_grads(ops.tanh, X, generator=generator)
    assert first.random() == again.random() != np.random.default_rng(5).random()
    np.testing.assert_array_equal(X, before)


# --- strategies ---------------------------------------------------------------------------------


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(st.just(n), broadcastable_shapes(n))))
def test_shapes_broadcast(drawn):
    n, shapes = drawn
    assert len(shapes) == n
    assert all(len(shape) <= 3 and all(1 <= side <= 3 for side in shape) for shape in shapes)
    np.broadcast_shapes(*shapes)


@given(broadcastable_shapes(2, max_dims=1, min_side=2, max_side=4))
def test_shapes_keep_their_bounds(shapes):
    assert all(len(shape) <= 1 and all(side in (1, 2, 3, 4) for side in shape) for shape in shapes)


@given(st.data())
def test_arrays_are_finite_exact_and_within_bounds(data):
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    x = data.draw(arrays(st.tuples(st.integers(0, 3), st.integers(0, 3)), dtype, low=-2, high=5))
    assert x.dtype == dtype
    assert x.ndim == 2
    assert ((x >= -2) & (x <= 5) & (x * 64 == np.round(x * 64))).all()


@given(arrays((2, 3), unique=True), arrays(4, np.int32, low=-1, high=1))
def test_unique_and_integer_arrays(x, k):
    assert len(np.unique(x)) == 6
    assert k.dtype == np.int32
    assert set(k) <= {-1, 0, 1}


@given(labels(5, 3), labels(st.integers(0, 2), 1))
def test_labels(k, one):
    assert k.shape == (5,)
    assert k.dtype == np.int64
    assert set(k) <= {0, 1, 2}
    assert not one.any()


def test_run_ranks():
    def total(comm):
        x = np.array([comm.rank + 1.0])
        comm.all_reduce(x)
        return x[0]

    assert run_ranks(3, total) == [6, 6, 6]
