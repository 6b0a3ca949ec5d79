import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes
from opcheck import case, corners, real, slopes, suite

from minigrad import InputError, Tensor, grad, ops
from minigrad.testing import arrays

X = real(2, 3)
ROOT = math.sqrt(2 / math.pi)


def _gelu(x):
    return x / 2 * (1 + np.tanh(ROOT * (x + 0.044715 * x**3)))


def _prelu(x, slope):
    return np.where(x > 0, x, slope * x)


test_value, test_gradients, test_dtype, test_pytorch = suite(
    [
        case("relu", lambda m, x: m.relu(x), X, numpy=lambda x: np.maximum(x, 0)),
        case("sigmoid", lambda m, x: m.sigmoid(x), X, numpy=lambda x: 1 / (1 + np.exp(-x))),
        case(
            "softplus", lambda m, x: m.softplus(x), X,
            numpy=lambda x: np.log(1 + np.exp(x)), torch=lambda t, x: t.nn.functional.softplus(x),
        ),
        case(
            "leaky_relu", lambda m, x: m.leaky_relu(x), X,
            numpy=lambda x: _prelu(x, 0.01), torch=lambda t, x: t.nn.functional.leaky_relu(x),
        ),
        case(
            "leaky_relu-0.3", lambda m, x: m.leaky_relu(x, 0.3), X,
            numpy=lambda x: _prelu(x, 0.3), torch=lambda t, x: t.nn.functional.leaky_relu(x, 0.3),
        ),
        case("prelu", lambda m, x, s: m.prelu(x, s), X, real(1), numpy=_prelu),
        case("prelu-channels", lambda m, x, s: m.prelu(x, s), X, real(3), numpy=_prelu),
        case(
            "elu", lambda m, x: m.elu(x), X,
            numpy=lambda x: np.where(x > 0, x, np.exp(x) - 1),
            torch=lambda t, x: t.nn.functional.elu(x),
        ),
        case(
            "elu-0.7", lambda m, x: m.elu(x, alpha=0.7), X,
            numpy=lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1)),
            torch=lambda t, x: t.nn.functional.elu(x, alpha=0.7),
        ),
        case(
            "gelu", lambda m, x: m.gelu(x), X,
            numpy=_gelu, torch=lambda t, x: t.nn.functional.gelu(x, approximate="tanh"),
        ),
        case(
            "silu", lambda m, x: m.silu(x), X,
            numpy=lambda x: x / (1 + np.exp(-x)), torch=lambda t, x: t.nn.functional.silu(x),
        ),
    ]
)  # fmt: skip

AT_0 = np.array([-1.0, 0.0, 1.0])
test_corners = corners(
    [
        case("relu", lambda m, x: m.relu(x), AT_0),
        case("elu", lambda m, x: m.elu(x), AT_0, torch=lambda t, x: t.nn.functional.elu(x)),
        case("prelu", lambda m, x, s: m.prelu(x, s), AT_0, np.array([0.25])),
        case(
            "leaky_relu", lambda m, x: m.leaky_relu(x), AT_0,
            torch=lambda t, x: t.nn.functional.leaky_relu(x),
        ),
        case(
            "leaky_relu-0", lambda m, x: m.leaky_relu(x, 0.0), AT_0,
            torch=lambda t, x: t.nn.functional.leaky_relu(x, 0.0),
        ),
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (ops.relu, 0),
        (ops.leaky_relu, 0.01),
        (ops.elu, 1),
        (lambda x: ops.elu(x, 0.5), 0.5),
        (lambda x: ops.prelu(x, 0.25), 0.25),
    ],
)
def test_slopes_at_0(f, expected):
    assert slopes(f, [0.0]) == [[expected]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("f", "value", "slope"),
    [
        (ops.sigmoid, [0, 1], [0, 0]),
        (ops.softplus, [0, 1e4], [0, 1]),
        (ops.silu, [0, 1e4], [0, 1]),
        (ops.gelu, [0, 1e4], [0, 1]),
        (ops.elu, [-1, 1e4], [0, 1]),
        (ops.tanh, [-1, 1], [0, 0]),
    ],
)
def test_logits_of_ten_thousand(f, value, slope, dtype):
    x = Tensor(np.array([-1e4, 1e4], dtype), requires_grad=True)
    y = f(x)
    (g,) = grad(y.sum(), x, create_graph=True)
    np.testing.assert_array_equal(y.data, value)
    np.testing.assert_array_equal(g.data, slope)
    np.testing.assert_array_equal(grad(g.sum(), x)[0].data, [0, 0])


def test_sigmoid_keeps_its_small_tail():
    assert ops.sigmoid(np.float32([-80])).data == pytest.approx(math.exp(-80), rel=1e-6)
    assert ops.softplus(np.array([-700.0])).data == pytest.approx(math.exp(-700), rel=1e-12)


@given(arrays(array_shapes(max_dims=2, max_side=4), low=-1e4, high=1e4))
def test_identities(x):
    def close(a, b):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-13, atol=1e-13)

    close(ops.sigmoid(x) + ops.sigmoid(-x), Tensor(np.ones_like(x)))
    close(ops.softplus(x) - ops.softplus(-x), Tensor(x))
    close(ops.relu(x) - ops.relu(-x), Tensor(x))
    close(ops.silu(x), x * ops.sigmoid(x))
    close(ops.leaky_relu(x, 0.2), ops.prelu(x, np.full(1, 0.2)))


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: ops.leaky_relu(x, -0.1), "slope must be at least 0, -0.1 was given"),
        (lambda x: ops.elu(x, 0.0), r"alpha must be positive, 0\.0 was given"),
    ],
)
def test_settings_that_make_no_sense(f, said):
    with pytest.raises(InputError, match=said):
        f(Tensor([1.0]))
