import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opcheck import case, corners, positive, real, slopes, suite

from minigrad import InputError, Tensor, grad, ops
from minigrad.testing import arrays, broadcastable_shapes, check_grads

X, P = real(2, 3), positive(2, 3)
HOLDS = np.array([[True, False, True], [False, False, True]])

test_value, test_gradients, test_dtype, test_pytorch = suite(
    [
        case("neg", lambda m, x: m.neg(x), X, numpy=np.negative),
        case("abs", lambda m, x: m.abs(x), X),
        case("exp", lambda m, x: m.exp(x), X),
        case("expm1", lambda m, x: m.expm1(x), X),
        case("log", lambda m, x: m.log(x), P),
        case("log1p", lambda m, x: m.log1p(x), P),
        case("sqrt", lambda m, x: m.sqrt(x), P),
        case("square", lambda m, x: m.square(x), X),
        case("sin", lambda m, x: m.sin(x), X),
        case("cos", lambda m, x: m.cos(x), X),
        case("tanh", lambda m, x: m.tanh(x), X),
        case("clip", lambda m, x: m.clip(x, -1.0, 0.5), X),
        case("clip-above", lambda m, x: m.clip(x, None, 0.5), X),
        case("clip-below", lambda m, x: m.clip(x, -1.0, None), X),
        case("add", lambda m, a, b: m.add(a, b), X, X),
        case("sub", lambda m, a, b: m.sub(a, b), X, X, numpy=np.subtract),
        case("mul", lambda m, a, b: m.mul(a, b), X, X, numpy=np.multiply),
        case("div", lambda m, a, b: m.div(a, b), X, P, numpy=np.divide),
        case("pow", lambda m, a, b: m.pow(a, b), P, P),
        case("pow-2", lambda m, a: m.pow(a, 2), X),
        case("pow-half", lambda m, a: m.pow(a, 0.5), P),
        case("pow-negative", lambda m, a: m.pow(a, -2.0), X),
        case("exponential", lambda m, b: 2.0**b, X),
        case("maximum", lambda m, a, b: m.maximum(a, b), X, X),
        case("minimum", lambda m, a, b: m.minimum(a, b), X, X),
        case("maximum-0.5", lambda m, a: m.maximum(a, 0.5), X, torch=lambda t, a: t.clamp(a, 0.5)),
        case(
            "where", lambda m, a, b: m.where(HOLDS, a, b), X, X,
            torch=lambda t, a, b: t.where(t.tensor(HOLDS), a, b),
        ),
        case(
            "where-scalar", lambda m, a: m.where(HOLDS, a, 0.5), X,
            torch=lambda t, a: t.where(t.tensor(HOLDS), a, 0.5),
        ),
        case("operators", lambda m, a, b: (a - b) * a / b**2 + (-a) * abs(b), X, P),
        case("reflected", lambda m, a: (1 - a) * (2 / a) + 3 * a + (0.5 + a), P),
        case("x*x", lambda m, x: x * x, X),
    ]
)  # fmt: skip

test_corners = corners(
    [
        case("abs", lambda m, x: m.abs(x), np.array([-1.0, 0.0, 2.0])),
        case("clip", lambda m, x: m.clip(x, 0.0, 1.0), np.array([-1.0, 0.0, 0.5, 1.0, 2.0])),
        case("maximum", lambda m, a, b: m.maximum(a, b), np.ones(2), np.array([1.0, 2.0])),
        case("minimum", lambda m, a, b: m.minimum(a, b), np.ones(2), np.array([1.0, 2.0])),
        case("square of 0", lambda m, a: m.pow(a, 2.0), np.zeros(2)),
        case("0 to the 0", lambda m, a: m.pow(a, 0.0), np.zeros(2)),
        case("0 to the 1", lambda m, a, b: m.pow(a, b), np.zeros(2), np.ones(2)),
        case("negative base", lambda m, a: m.pow(a, 3.0), np.array([-2.0, 0.0])),
    ]
)


@pytest.mark.parametrize(
    ("f", "operands", "expected"),
    [
        (ops.abs, [[-1, 0, 2]], [[-1, 0, 1]]),
        (lambda x: ops.clip(x, 0, 1), [[-1, 0, 0.5, 1, 2]], [[0, 1, 1, 1, 0]]),
        (ops.maximum, [[1, 1], [1, 2]], [[0.5, 0], [0.5, 1]]),
        (ops.minimum, [[1, 1], [1, 2]], [[0.5, 1], [0.5, 0]]),
        (lambda x: ops.pow(x, 0), [[0, 2]], [[0, 0]]),
        (lambda x: ops.pow(x, 1), [[0, 2]], [[1, 1]]),
        (ops.pow, [[0, 0], [2, 0]], [[0, 0], [0, 0]]),
    ],
)
def test_slopes_at_corners(f, operands, expected):
    assert slopes(f, *operands) == expected


BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
    "maximum": np.maximum, "minimum": np.minimum,
}  # fmt: skip
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]


@st.composite
def pairs(draw):
    """Two positive operands that broadcast, without ties."""
    a, b = draw(broadcastable_shapes(2))
    return draw(arrays(a, low=0.5, high=3)), draw(arrays(b, low=0.5, high=3)) + 1 / 128


@pytest.mark.parametrize("name", BINARY)
@given(operands=pairs())
@settings(max_examples=15)
def test_both_operands_broadcast(name, operands):
    f = getattr(ops, name)
    np.testing.assert_allclose(f(*operands).data, BINARY[name](*operands), rtol=1e-14)
    check_grads(f, *operands)


@given(
    broadcastable_shapes(3).flatmap(lambda s: st.tuples(*[arrays(x, low=0.5, high=3) for x in s]))
)
@settings(max_examples=15)
def test_where_broadcasts_all_three(operands):
    c, a, b = operands
    np.testing.assert_array_equal(ops.where(c > 1, a, b).data, np.where(c > 1, a, b))
    check_grads(lambda a, b: ops.where(c > 1, a, b), a, b)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_are_numpys_and_end_the_graph(name):
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    found = getattr(ops, name)(Tensor(a, requires_grad=True), Tensor(b, requires_grad=True))
    np.testing.assert_array_equal(found.data, getattr(np, name)(a, b))
    assert found.dtype == bool
    assert not found.requires_grad


def test_sign_ends_the_graph():
    y = ops.sign(Tensor([-2.0, 0.0, 3.0], requires_grad=True))
    np.testing.assert_array_equal(y.data, [-1, 0, 1])
    assert not y.requires_grad


@pytest.mark.parametrize(
    ("name", "operand", "dtype"),
    [
        ("python float", 2.0, np.float32),
        ("python int", 2, np.float32),
        ("numpy scalar", np.float64(2), np.float32),
        ("list", [2.0, 2.0], np.float32),
        ("integers", np.array([2, 2]), np.float32),
        ("booleans", np.array([True, True]), np.float32),
        ("integer Tensor", Tensor([2, 2]), np.float32),
        ("float64 array", np.full(2, 2.0), np.float64),
        ("float64 Tensor", Tensor(np.full(2, 2.0)), np.float64),
    ],
)
@pytest.mark.parametrize("f", BINARY)
def test_what_an_operand_does_to_float32(f, name, operand, dtype):
    x = Tensor([3.0, 5.0], requires_grad=True)
    f = getattr(ops, f)
    plain = operand.data if isinstance(operand, Tensor) else operand
    for y, expected in (
        (f(x, operand), BINARY[f.__name__](x.data, plain)),
        (f(operand, x), BINARY[f.__name__](plain, x.data)),
    ):
        assert y.dtype == dtype
        np.testing.assert_allclose(y.data, expected, rtol=1e-6)
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == np.float32


@pytest.mark.parametrize("f", [ops.exp, ops.sqrt, ops.mean, ops.std, ops.softmax, lambda i: i / 2])
def test_integers_become_float32(f):
    assert f(Tensor([1, 2, 3])).dtype == np.float32


def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(InputError, match=r"add was given shapes \(2,\) and \(3,\)"):
        Tensor([1.0, 2.0]) + np.ones(3)


def test_expm1_and_log1p_keep_small_numbers():
    assert ops.expm1(Tensor(np.array(1e-20))).item() == 1e-20
    assert ops.log1p(Tensor(np.array(1e-20))).item() == 1e-20


@pytest.mark.parametrize("f", [lambda x: x**3, lambda x: x**0, lambda x: 2**x, lambda x: x**0.5])
def test_powers_with_a_number_stay_in_float32(f):
    y = f(Tensor(np.ones(3, np.float32), requires_grad=True))
    ((rule, pick, _, _),) = y._node.plan.rules
    assert rule(*pick((np, np.ones(3, np.float32), (), *y._node.kept))).dtype == np.float32


def test_a_power_of_a_number():
    assert slopes(lambda x: ops.pow(2, x), [0, 1]) == [pytest.approx([np.log(2), 2 * np.log(2)])]
    assert slopes(lambda x: ops.pow(0, x), [1, 2]) == [[0, 0]]


def test_a_base_of_zero_sends_nothing_to_the_exponent():
    b = Tensor([2.0, 0.5], requires_grad=True)
    ops.pow(np.zeros(2, np.float32), b).sum().backward()
    np.testing.assert_array_equal(b.grad, [0, 0])


def test_the_square_of_zero_has_a_second_derivative():
    x = Tensor(np.zeros(2), requires_grad=True)
    (g,) = grad((x**2.0).sum(), x, create_graph=True)
    np.testing.assert_array_equal(grad(g.sum(), x)[0].data, [2, 2])
