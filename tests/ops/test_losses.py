import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opcheck import case, corners, real, suite

from minigrad import InputError, Tensor, grad, ops
from minigrad.testing import arrays, check_grads, labels

LABELS = np.array([2, 0, 1, 2])
ONE_HOT = np.eye(3)[LABELS]
SOFT = np.array([[0.2, 0.5, 0.3], [1, 0, 0], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]])
BINARY = np.array([[1.0, 0, 1], [0, 0, 1], [0.3, 0.6, 1], [1, 1, 0]])
SMOOTHED = 0.9 * ONE_HOT + 0.1 / 3
WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0])
TARGETS = np.arange(12.0).reshape(4, 3) / 6 - 0.7
X, P = real(4, 3), lambda rng: rng.uniform(0.1, 0.9, (4, 3))


def _torch(t):
    return t.nn.functional


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _log_softmax(z):
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def _binary(p, t=BINARY):
    return -t * np.log(p) - (1 - t) * np.log(1 - p)


def _huber(d, delta=1.0):
    return np.where(abs(d) <= delta, d * d / 2, delta * (abs(d) - delta / 2))


# name: (the loss, its formula before reduction, PyTorch's before reduction, operand)
LOSSES = {
    "mse": (
        lambda x, **how: ops.mse(x, TARGETS, **how), lambda x: (x - TARGETS) ** 2,
        lambda t, x: _torch(t).mse_loss(x, t.tensor(TARGETS), reduction="none"), X,
    ),
    "mae": (
        lambda x, **how: ops.mae(x, TARGETS, **how), lambda x: abs(x - TARGETS),
        lambda t, x: _torch(t).l1_loss(x, t.tensor(TARGETS), reduction="none"), X,
    ),
    "huber": (
        lambda x, **how: ops.huber(x, TARGETS, **how), lambda x: _huber(x - TARGETS),
        lambda t, x: _torch(t).huber_loss(x, t.tensor(TARGETS), reduction="none"), X,
    ),
    "huber-0.4": (
        lambda x, **how: ops.huber(x, TARGETS, delta=0.4, **how),
        lambda x: _huber(x - TARGETS, 0.4),
        lambda t, x: _torch(t).huber_loss(x, t.tensor(TARGETS), "none", 0.4), X,
    ),
    "binary-logits": (
        lambda x, **how: ops.binary_cross_entropy(x, BINARY, **how), lambda x: _binary(_sigmoid(x)),
        lambda t, x: _torch(t).binary_cross_entropy(
            t.sigmoid(x), t.tensor(BINARY), reduction="none"
        ), X,
    ),
    "binary-probabilities": (
        lambda x, **how: ops.binary_cross_entropy(x, BINARY, from_logits=False, **how), _binary,
        lambda t, x: _torch(t).binary_cross_entropy(x, t.tensor(BINARY), reduction="none"), P,
    ),
    "labels-logits": (
        lambda x, **how: ops.cross_entropy(x, LABELS, **how),
        lambda x: -_log_softmax(x)[np.arange(4), LABELS],
        lambda t, x: _torch(t).cross_entropy(x, t.tensor(LABELS), reduction="none"), X,
    ),
    "one-hot-logits": (
        lambda x, **how: ops.cross_entropy(x, ONE_HOT, **how),
        lambda x: -_log_softmax(x)[np.arange(4), LABELS],
        lambda t, x: _torch(t).cross_entropy(x, t.tensor(LABELS), reduction="none"), X,
    ),
    "soft-logits": (
        lambda x, **how: ops.cross_entropy(x, SOFT, **how),
        lambda x: -(SOFT * _log_softmax(x)).sum(axis=1),
        lambda t, x: _torch(t).cross_entropy(x, t.tensor(SOFT), reduction="none"), X,
    ),
    "labels-probabilities": (
        lambda x, **how: ops.cross_entropy(x, LABELS, from_logits=False, **how),
        lambda x: -np.log(x / x.sum(axis=1, keepdims=True))[np.arange(4), LABELS],
        lambda t, x: -t.log(x / x.sum(1, True))[range(4), LABELS], P,
    ),
    "soft-probabilities": (
        lambda x, **how: ops.cross_entropy(x, SOFT, from_logits=False, **how),
        lambda x: -(SOFT * np.log(x / x.sum(axis=1, keepdims=True))).sum(axis=1),
        lambda t, x: -(t.tensor(SOFT) * t.log(x / x.sum(1, True))).sum(1), P,
    ),
    "labels-logits-smoothed": (
        lambda x, **how: ops.cross_entropy(x, LABELS, label_smoothing=0.1, **how),
        lambda x: -(SMOOTHED * _log_softmax(x)).sum(axis=1),
        lambda t, x: _torch(t).cross_entropy(
            x, t.tensor(LABELS), reduction="none", label_smoothing=0.1
        ), X,
    ),
    "soft-logits-smoothed": (
        lambda x, **how: ops.cross_entropy(x, SOFT, label_smoothing=0.1, **how),
        lambda x: -((0.9 * SOFT + 0.1 / 3) * _log_softmax(x)).sum(axis=1),
        lambda t, x: _torch(t).cross_entropy(
            x, t.tensor(SOFT), reduction="none", label_smoothing=0.1
        ), X,
    ),
    "labels-probabilities-smoothed": (
        lambda x, **how: ops.cross_entropy(
            x, LABELS, label_smoothing=0.1, from_logits=False, **how
        ),
        lambda x: -(SMOOTHED * np.log(x / x.sum(axis=1, keepdims=True))).sum(axis=1),
        lambda t, x: _torch(t).cross_entropy(
            t.log(x), t.tensor(LABELS), reduction="none", label_smoothing=0.1
        ), P,
    ),
}  # fmt: skip
REDUCED = {
    ("none", False): lambda losses, w: losses,
    ("sum", False): lambda losses, w: losses.sum(),
    ("mean", False): lambda losses, w: losses.mean(),
    ("none", True): lambda losses, w: w * losses,
    ("sum", True): lambda losses, w: (w * losses).sum(),
    ("mean", True): lambda losses, w: (w * losses).sum() / (w + 0 * losses).sum(),
}


def _case(name, reduction, weighted):
    loss, formula, torch, operand = LOSSES[name]
    reduced = REDUCED[reduction, weighted]
    columns = WEIGHTS[:, None] if formula(np.full((4, 3), 0.5)).ndim == 2 else WEIGHTS
    weights = WEIGHTS if weighted else None
    return case(
        f"{name}-{reduction}-{'weighted' if weighted else 'plain'}",
        lambda m, x: loss(x, weights=weights, reduction=reduction),
        operand,
        numpy=lambda x: reduced(formula(x), columns),
        torch=lambda t, x: reduced(torch(t, x), t.tensor(columns)),
    )


_value, _gradients, _, _pytorch = suite([_case(name, *how) for name in LOSSES for how in REDUCED])
test_value, test_gradients, test_pytorch = _value, _gradients, _pytorch

test_corners = corners(
    [
        case(
            "mae at 0", lambda m, x: ops.mae(x, np.zeros(3)), np.array([-1.0, 0, 1]),
            torch=lambda t, x: _torch(t).l1_loss(x, 0 * x.detach()),
        ),
        case(
            "huber at delta", lambda m, x: ops.huber(x, np.zeros(4)), np.array([-1.0, 0, 1, 3]),
            torch=lambda t, x: _torch(t).huber_loss(x, 0 * x.detach()),
        ),
    ]
)  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_the_predictions(name, dtype):
    x = Tensor(np.full((4, 3), 0.5), dtype=dtype, requires_grad=True)
    targets = {"mse": TARGETS, "mae": TARGETS, "huber": TARGETS, "huber-0.4": TARGETS}
    if name in targets:
        loss = getattr(ops, name.partition("-")[0])(x, targets[name].astype(dtype))
    elif name.startswith("binary"):
        loss = ops.binary_cross_entropy(x, BINARY.tolist(), from_logits="logits" in name)
    else:
        given = {"labels": LABELS, "one": ONE_HOT.tolist(), "soft": SOFT.tolist()}
        loss = ops.cross_entropy(x, given[name.partition("-")[0]], from_logits="logits" in name)
    loss.backward()
    assert loss.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize("name", LOSSES)
def test_no_rows(name):
    x = Tensor(np.zeros((0, 3)), requires_grad=True)
    empty = np.zeros((0, 3))
    if name.startswith(("mse", "mae", "huber")):
        loss = getattr(ops, name.partition("-")[0])(x, empty, reduction="sum")
    elif name.startswith("binary"):
        loss = ops.binary_cross_entropy(x, empty, from_logits="logits" in name, reduction="sum")
    else:
        given = np.zeros(0, int) if name.startswith("labels") else empty
        loss = ops.cross_entropy(x, given, from_logits="logits" in name, reduction="sum")
    loss.backward()
    assert loss.item() == 0
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", [np.array([0, 1, 1]), np.eye(2)[[0, 1, 1]]])
def test_cross_entropy_of_distant_rows_of_logits(given, dtype):
    z = Tensor(np.array([[1e4, -1e4], [1e4, -1e4], [0, 0]], dtype), requires_grad=True)
    losses = ops.cross_entropy(z, given, reduction="none")
    np.testing.assert_allclose(losses.data, [0, 2e4, np.log(2)], rtol=1e-6)
    (g,) = grad(losses.sum(), z, create_graph=True)
    np.testing.assert_allclose(g.data, [[0, 0], [1, -1], [0.5, -0.5]], atol=1e-6)
    second = grad((g * g).sum(), z)[0].data
    np.testing.assert_allclose(second, [[0, 0], [0, 0], [0.5, -0.5]], atol=1e-6)


@pytest.mark.parametrize("offset", [100, 1e4])
def test_cross_entropy_does_not_see_what_logits_have_in_common(offset):
    near, far = (
        Tensor(np.array([[5, 0], [1, 2]], np.float32) + np.float32(c), requires_grad=True)
        for c in (0, offset)
    )
    for z in (near, far):
        ops.cross_entropy(z, [0, 1]).backward()
    np.testing.assert_allclose(far.grad, near.grad, rtol=1e-4, atol=1e-7)
    losses = [ops.cross_entropy(z, [0, 1]).item() for z in (near, far)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_of_logits_of_ten_thousand(dtype):
    z = Tensor(np.array([1e4, -1e4, 1e4, -1e4], dtype), requires_grad=True)
    losses = ops.binary_cross_entropy(z, [1, 0, 0, 1], reduction="none")
    np.testing.assert_array_equal(losses.data, [0, 0, 1e4, 1e4])
    (g,) = grad(losses.sum(), z, create_graph=True)
    np.testing.assert_array_equal(g.data, [0, 0, 1, -1])
    np.testing.assert_array_equal(grad(g.sum(), z)[0].data, np.zeros(4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "f",
    [
        lambda p: ops.binary_cross_entropy(p, [[1, 0], [0, 1]], from_logits=False),
        lambda p: ops.cross_entropy(p, [0, 1], from_logits=False),
        lambda p: ops.cross_entropy(p, [[1.0, 0], [0, 1.0]], from_logits=False),
    ],
)
def test_probabilities_of_zero_and_one(f, dtype):
    p = Tensor(np.array([[0, 1], [0, 1]], dtype), requires_grad=True)
    loss = f(p)
    assert loss.item() == pytest.approx(-np.log(1e-7) / 2, rel=0.01)
    loss.backward()
    assert np.isfinite(p.grad).all()


def test_probabilities_are_scaled_to_sum_to_one():
    loss = ops.cross_entropy(np.array([[2.0, 6.0]]), [1], from_logits=False)
    assert loss.item() == pytest.approx(-np.log(0.75))


def test_a_double_softmax_cannot_fall_below_1_4612():
    p = ops.softmax(np.eye(10) * 1e4)
    assert ops.cross_entropy(p, np.arange(10)).item() == pytest.approx(1.4612, abs=5e-5)
    assert ops.cross_entropy(p, np.arange(10), from_logits=False).item() < 1e-6


def test_a_double_sigmoid_cannot_fall_below_0_3133():
    p = ops.sigmoid(np.array([1e4]))
    assert ops.binary_cross_entropy(p, np.ones(1)).item() == pytest.approx(0.3133, abs=5e-5)


def test_mse_of_a_linear_model_has_the_articles_gradient():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(7, 3)), rng.normal(size=7)
    theta = Tensor(rng.normal(size=3), requires_grad=True)
    ops.mse(X @ theta, y).backward()
    np.testing.assert_allclose(theta.grad, 2 / 7 * X.T @ (X @ theta.data - y), rtol=1e-12)


@given(st.data())
@settings(max_examples=30)
def test_labels_and_their_one_hot_rows_agree(data):
    n, classes = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    z = Tensor(data.draw(arrays((n, classes), low=-50, high=50)), requires_grad=True)
    k, w = data.draw(labels(n, classes)), data.draw(arrays(n, low=0.25, high=2))
    for how in ({}, {"weights": w}, {"weights": w.tolist()}, {"reduction": "sum"}):
        a, b = ops.cross_entropy(z, k, **how), ops.cross_entropy(z, np.eye(classes)[k], **how)
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(grad(a, z)[0].data, grad(b, z)[0].data, atol=1e-12)


@given(arrays((4, 3)), arrays(4, np.int64, low=0, high=3))
@settings(max_examples=30)
def test_a_weight_counts_its_sample_that_often(x, counts):
    counts[0] += 1
    repeated = np.repeat(np.arange(4), counts)
    for loss, target in ((ops.mse, TARGETS), (ops.cross_entropy, LABELS)):
        weighted = loss(Tensor(x), target, weights=counts)
        assert weighted.item() == pytest.approx(loss(Tensor(x[repeated]), target[repeated]).item())


def test_smoothed_labels_are_a_mixture_of_targets():
    z = Tensor(np.random.default_rng(0).normal(size=(4, 3)), requires_grad=True)
    for targets in (LABELS, ONE_HOT):
        found = ops.cross_entropy(z, targets, label_smoothing=0.1)
        mixed = ops.cross_entropy(z, SMOOTHED)
        assert found.item() == pytest.approx(mixed.item())
        np.testing.assert_allclose(grad(found, z)[0].data, grad(mixed, z)[0].data, atol=1e-15)
    assert ops.cross_entropy(z, LABELS, label_smoothing=0).item() == pytest.approx(
        ops.cross_entropy(z, LABELS).item()
    )


def test_images_of_labels():
    z, k = np.random.default_rng(0).normal(size=(2, 5, 3)), np.array([[0, 1, 2, 0, 1]] * 2)
    losses = ops.cross_entropy(z, k, reduction="none")
    assert losses.shape == (2, 5)
    flat = ops.cross_entropy(z.reshape(10, 3), k.reshape(10), reduction="none")
    np.testing.assert_allclose(losses.data.ravel(), flat.data)
    check_grads(lambda z: ops.cross_entropy(z, k), z)
    check_grads(lambda p: ops.cross_entropy(p, k, from_logits=False), np.exp(z))
    one = ops.cross_entropy(z[0, 0], 0)
    assert one.item() == pytest.approx(losses.data[0, 0])


def test_targets_and_weights_may_be_tensors():
    z = Tensor(np.ones((4, 3)), requires_grad=True)
    for loss, target in ((ops.mse, TARGETS), (ops.cross_entropy, LABELS), (ops.mae, TARGETS)):
        ours = loss(z, Tensor(target), weights=Tensor(WEIGHTS))
        assert ours.item() == pytest.approx(loss(z, target, weights=WEIGHTS).item())


ROWS = np.ones((2, 3))


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda: ops.cross_entropy(ROWS, [0, 3]), r"label 3 is outside 0 … 2"),
        (lambda: ops.cross_entropy(ROWS, [-1, 0]), r"label -1 is outside 0 … 2"),
        (lambda: ops.cross_entropy(ROWS, [0, 3], from_logits=False), "label 3 is outside"),
        (lambda: ops.cross_entropy(ROWS, [0, 1, 2]), r"need integer labels of shape \(2,\)"),
        (lambda: ops.cross_entropy(ROWS, [0.0, 1.0]), "dtype float64 were given"),
        (lambda: ops.cross_entropy(ROWS, np.eye(2)), r"labels of shape \(2, 2\)"),
        (lambda: ops.cross_entropy(ROWS, [0, 1], label_smoothing=1), "below 1, 1 was given"),
        (lambda: ops.cross_entropy(ROWS, [0, 1], label_smoothing=-0.1), "below 1, -0.1 was given"),
        (lambda: ops.cross_entropy(ROWS, [0, 1], label_smoothing=np.nan), "below 1, nan was"),
        (lambda: ops.cross_entropy(ROWS, [0, 1], label_smoothing="0.1"), "below 1, '0.1' was"),
        (lambda: ops.cross_entropy(ROWS, [0, 1], label_smoothing=None), "below 1, None was given"),
        (lambda: ops.mse(ROWS, np.ones(3)), r"\(2, 3\) and targets of shape \(3,\) must agree"),
        (lambda: ops.mae(ROWS, np.ones((3, 2))), "must agree; reshape one"),
        (lambda: ops.huber(ROWS, np.ones((2, 1))), "must agree; reshape one"),
        (lambda: ops.binary_cross_entropy(ROWS, [1, 0]), "must agree; reshape one"),
        (lambda: ops.huber(ROWS, ROWS, delta=0), "delta must be positive, 0 was given"),
        (lambda: ops.mse(ROWS, ROWS, reduction="avg"), "unknown reduction 'avg'"),
        (lambda: ops.mse(ROWS, ROWS, weights=[1.0, 1.0, 1.0]), r"weights of shape \(3,\) do not"),
        (lambda: ops.mse(ROWS, ROWS, weights=[0.0, 0.0]), "weights add up to 0.0"),
    ],
)
def test_what_a_loss_refuses(f, said):
    with pytest.raises(InputError, match=said):
        f()
