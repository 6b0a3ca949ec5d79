"""Every layer against its formula in plain NumPy, and its gradients against central differences."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minigrad import nn
from minigrad.autograd import Tensor
from minigrad.errors import InputError
from minigrad.nn import Module
from minigrad.testing import check_grads

RNG = np.random.default_rng
X = RNG(1).normal(size=(5, 4))
X3 = RNG(2).normal(size=(2, 3, 4))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def normalised(x: np.ndarray, layer: Any, axis: int) -> np.ndarray:
    centred = x - x.mean(axis, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis, keepdims=True) + layer.epsilon)
    return scaled * layer.scale.data + layer.shift.data


def gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def dense(dtype: str, **options: Any) -> nn.Dense:
    return nn.Dense(4, 3, rng=RNG(0), dtype=dtype, **options)


# name: (layer of a dtype, formula of the layer and x)
CASES: dict[str, tuple[Callable[[str], Any], Callable[[Any, np.ndarray], np.ndarray]]] = {
    "Dense": (dense, lambda m, x: x @ m.weight.data + m.bias.data),
    "Dense, no bias": (lambda t: dense(t, bias=False), lambda m, x: x @ m.weight.data),
    "Dense, relu": (
        lambda t: dense(t, activation="relu"),
        lambda m, x: np.maximum(x @ m.weight.data + m.bias.data, 0),
    ),
    "Dense, gelu": (
        lambda t: dense(t, activation="gelu"),
        lambda m, x: gelu(x @ m.weight.data + m.bias.data),
    ),
    "ReLU": (lambda t: nn.ReLU(), lambda m, x: np.maximum(x, 0)),
    "LeakyReLU": (lambda t: nn.LeakyReLU(0.1), lambda m, x: np.where(x > 0, x, 0.1 * x)),
    "ELU": (lambda t: nn.ELU(0.7), lambda m, x: np.where(x > 0, x, 0.7 * np.expm1(x))),
    "PReLU": (
        lambda t: nn.PReLU(4, slope=0.3, dtype=t),
        lambda m, x: np.where(x > 0, x, m.slope.data * x),
    ),
    "PReLU, one slope": (
        lambda t: nn.PReLU(dtype=t),
        lambda m, x: np.where(x > 0, x, m.slope.data * x),
    ),
    "Sigmoid": (lambda t: nn.Sigmoid(), lambda m, x: sigmoid(x)),
    "Tanh": (lambda t: nn.Tanh(), lambda m, x: np.tanh(x)),
    "Softplus": (lambda t: nn.Softplus(), lambda m, x: np.log1p(np.exp(x))),
    "GELU": (lambda t: nn.GELU(), lambda m, x: gelu(x)),
    "SiLU": (lambda t: nn.SiLU(), lambda m, x: x * sigmoid(x)),
    "Softmax": (
        lambda t: nn.Softmax(),
        lambda m, x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    ),
    "Flatten": (lambda t: nn.Flatten(), lambda m, x: x.reshape(len(x), -1)),
    "LayerNorm": (lambda t: nn.LayerNorm(4, dtype=t), lambda m, x: normalised(x, m, -1)),
    "BatchNorm1d": (lambda t: nn.BatchNorm1d(4, dtype=t), lambda m, x: normalised(x, m, 0)),
}
EVERY_SHAPE = [(name, x) for name in CASES for x in (X, X3) if (name, x.ndim) != ("BatchNorm1d", 3)]


def random_parameters(layer: Module) -> Module:
    """The layer with parameters that hide no error: none is 0 or 1."""
    for i, parameter in enumerate(layer.parameters()):
        parameter.data = RNG(i).uniform(0.2, 0.9, parameter.shape)
    return layer


@pytest.mark.parametrize(("name", "x"), EVERY_SHAPE)
def test_value_and_gradients(name: str, x: np.ndarray) -> None:
    layer, formula = random_parameters(CASES[name][0]("float64")), CASES[name][1]
    y = layer(x)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.data, formula(layer, x), rtol=1e-12, atol=1e-14)
    names = list(layer.named_parameters())

    def f(x: Tensor, *values: Tensor) -> Tensor:
        vars(layer).update(zip(names, values))
        return layer(x)

    check_grads(f, x, *[p.data for p in layer.parameters()])


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(name: str) -> None:
    layer, formula = random_parameters(CASES[name][0]("float32")), CASES[name][1]
    x = Tensor(X, requires_grad=True, dtype=np.float32)
    y = layer(x)
    np.testing.assert_allclose(y.data, formula(layer, X), rtol=1e-5, atol=1e-6)
    y.sum().backward()
    assert {a.dtype for a in (y, x.grad, *(p.grad for p in layer.parameters()))} == {x.dtype}


def test_an_empty_share_of_a_batch_passes_through() -> None:
    for name in CASES.keys() - {"BatchNorm1d"}:
        layer = CASES[name][0]("float64")
        assert layer(X[:0]).shape == (0, *layer(X).shape[1:]), name


@pytest.mark.parametrize(
    ("layer", "x", "says"),
    [
        (dense("float32"), X[:, :3], "Dense(4, 3) takes inputs of shape (…, 4), but (5, 3) came"),
        (dense("float32"), X3[..., :2], "(…, 4), but (2, 3, 2) came"),
        (nn.BatchNorm1d(4), X3, "BatchNorm1d(4) takes inputs of shape (batch, 4), but (2, 3, 4)"),
        (nn.BatchNorm1d(4), X[:, :1], "(batch, 4), but (5, 1) came"),
        (nn.BatchNorm1d(4), X[:0], "BatchNorm1d(4) needs at least one sample"),
        (nn.LayerNorm(4), X[:, :3], "LayerNorm(4) takes inputs of shape (…, 4), but (5, 3) came"),
        (nn.LayerNorm(4), X[:, :1], "(…, 4), but (5, 1) came"),
        (nn.PReLU(4), X[:, :3], "PReLU(4) takes inputs of shape (…, 4), but (5, 3) came"),
        (nn.PReLU(4), X[:, :1], "(…, 4), but (5, 1) came"),
        (nn.Sequential(nn.ReLU(), dense("float32")), X[:, :2], "layer 1: Dense(4, 3) takes inputs"),
        (
            nn.Sequential(nn.ReLU(), nn.Sequential(dense("float32"), dense("float32"))),
            X,
            "layer 1: layer 1: Dense(4, 3) takes inputs of shape (…, 4), but (5, 3) came",
        ),
    ],
)
def test_a_wrong_shape_names_the_layer_and_both_shapes(
    layer: Module, x: np.ndarray, says: str
) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        layer(x.astype(np.float32))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.Dense(0, 3, rng=RNG(0)), "at least 1 input and output, (0, 3) given"),
        (lambda: nn.Dense(3, -1, rng=RNG(0)), "at least 1 input and output, (3, -1) given"),
        (lambda: nn.Dense(3, 3, rng=RNG(0), init="he_norml"), "did you mean 'he_normal'?"),
        (lambda: dense("float32", activation="rleu"), "did you mean 'relu'?"),
        (lambda: dense("float32", activation="tanh"), "layers of their own, nn.Tanh() and so on"),
        (lambda: dense("float32", activation=nn.ReLU()), "but ReLU() was given; other activations"),
        (lambda: nn.Embedding(0, 3, rng=RNG(0)), "at least 1 word and feature, (0, 3) given"),
        (lambda: nn.Embedding(5, 3), "Embedding draws from a generator that you give it"),
        (lambda: nn.Dropout(1.0, rng=RNG(0)), "rate must be in [0, 1), 1.0 was given"),
        (lambda: nn.Dropout(-0.1, rng=RNG(0)), "rate must be in [0, 1), -0.1 was given"),
        (lambda: nn.Dropout(float("nan"), rng=RNG(0)), "rate must be in [0, 1), nan was given"),
    ],
)
def test_layers_that_cannot_be_made(make: Callable[[], Module], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        make()


def test_running_averages_of_batch_norm() -> None:
    layer = nn.BatchNorm1d(4, momentum=0.3, dtype="float64")
    mean, var = np.zeros(4), np.ones(4)
    for seed in range(3):
        x = RNG(seed).normal(seed, 2, (7, 4))
        layer(x)
        mean = 0.7 * mean + 0.3 * x.mean(0)
        var = 0.7 * var + 0.3 * x.var(0, ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-12)
    y = random_parameters(layer.eval())(X)
    expected = (X - mean) / np.sqrt(var + 1e-5) * layer.scale.data + layer.shift.data
    np.testing.assert_allclose(y.data, expected, rtol=1e-12)
    np.testing.assert_array_equal(layer(X[:1]).data, y.data[:1])
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)


@pytest.mark.parity
@pytest.mark.parametrize("rows", [2, 9])
def test_batch_norm_is_pytorchs(rows: int) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.BatchNorm1d(4, dtype="float64"), torch.nn.BatchNorm1d(4, dtype=torch.float64)
    for seed in range(3):
        x = RNG(seed).normal(size=(rows, 4))
        t = torch.tensor(x, requires_grad=True)
        mine = Tensor(x, requires_grad=True)
        weights = RNG(9).normal(size=(rows, 4))
        y, z = ours(mine), theirs(t)
        (y * weights).sum().backward()
        (z * torch.tensor(weights)).sum().backward()
        np.testing.assert_allclose(y.data, z.detach(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(mine.grad, t.grad, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.scale.grad, theirs.weight.grad, rtol=1e-10)
    np.testing.assert_allclose(ours.shift.grad, theirs.bias.grad, rtol=1e-10)
    np.testing.assert_allclose(ours.running_mean, theirs.running_mean, rtol=1e-12)
    np.testing.assert_allclose(ours.running_var, theirs.running_var, rtol=1e-12)
    expected = theirs.eval()(torch.tensor(X)).detach()
    np.testing.assert_allclose(ours.eval()(X).data, expected, rtol=1e-10)


@pytest.mark.parity
def test_layer_norm_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.LayerNorm(4, dtype="float64"), torch.nn.LayerNorm(4, dtype=torch.float64)
    random_parameters(ours)
    theirs.load_state_dict(
        {"weight": torch.tensor(ours.scale.data), "bias": torch.tensor(ours.shift.data)}
    )
    mine, t = Tensor(X3, requires_grad=True), torch.tensor(X3, requires_grad=True)
    (ours(mine) ** 2).sum().backward()
    (theirs(t) ** 2).sum().backward()
    np.testing.assert_allclose(ours(X3).data, theirs(torch.tensor(X3)).detach(), rtol=1e-12)
    np.testing.assert_allclose(mine.grad, t.grad, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.scale.grad, theirs.weight.grad, rtol=1e-10)


def test_sequential_is_a_list_of_layers() -> None:
    model = nn.Sequential(dense("float32"), nn.Tanh())
    assert len(model) == 2
    assert isinstance(model[1], nn.Tanh)
    assert repr(model) == "Sequential(Dense(4, 3), Tanh())"
    np.testing.assert_array_equal(model(X).data, model[1](model[0](X)).data)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [3, 4000])
def test_dense_with_an_activation_is_two_layers(activation: str, bias: bool, rows: int) -> None:
    x, g = RNG(0).normal(size=(rows, 4)), RNG(1).normal(size=(rows, 3))
    one = dense("float64", activation=activation, bias=bias)
    two = nn.Sequential(
        dense("float64", bias=bias), {"relu": nn.ReLU, "gelu": nn.GELU}[activation]()
    )
    for model in (one, two):
        random_parameters(model)(x).backward(g)
    np.testing.assert_allclose(one(x).data, two(x).data, rtol=1e-12, atol=1e-14)
    for p, q in zip(one.parameters(), two.parameters()):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-10, atol=1e-12)


def test_what_dense_says_of_itself() -> None:
    assert repr(dense("float32", activation="relu")) == "Dense(4, 3, activation='relu')"
    assert repr(dense("float32", bias=False)) == "Dense(4, 3, bias=False)"


def test_embedding() -> None:
    layer = nn.Embedding(50, 400, rng=RNG(0), std=0.02)
    assert repr(layer) == "Embedding(50, 400)"
    assert layer.weight.dtype == np.float32
    assert abs(layer.weight.data.std() / 0.02 - 1) < 0.05
    np.testing.assert_array_equal(layer([[3, 1], [3, 3]]).data, layer.weight.data[[[3, 1], [3, 3]]])
    layer([[3, 1], [3, 3]]).sum().backward()
    assert layer.weight.grad is not None
    np.testing.assert_array_equal(layer.weight.grad[:5, 0], [0, 1, 0, 3, 0])
