"""Article D1: how large models are trained."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import nn, ops, optim
from minigrad.autograd import Tensor
from minigrad.data import DataLoader, from_arrays, from_csv
from minigrad.errors import InputError
from minigrad.testing import arrays

same = np.testing.assert_allclose


def close(one, other):
    same(one, other, rtol=1e-11, atol=1e-11)


def leaf(array):
    return Tensor(array, requires_grad=True, dtype=np.float64)


# --- formulas -------------------------------------------------------------------------------------


def quadratic(B, c):
    """J(θ) = ½‖Bθ‖² + ½‖θ‖² − cᵀθ as an op of minigrad, ∇J in NumPy, and the least θ."""

    def objective(theta):
        s = ops.matmul(B, theta)
        return ops.sum(s * s) / 2 + ops.sum(theta * theta) / 2 - ops.sum(c * theta)

    A = B.T @ B + np.eye(len(c))
    return objective, lambda theta: A @ theta - c, np.linalg.solve(A, c), np.linalg.eigvalsh(A)[-1]


def descend(J, theta, alpha, steps):
    """θ and J(θ) after each step of the library on all of J."""
    p = nn.Parameter(theta.copy())
    optimizer = optim.SGD({"theta": p}, alpha)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = J(p)
        loss.backward()
        yield p.data.copy(), loss.item()
        optimizer.step()
    yield p.data.copy(), J(p).item()


@pytest.mark.article("F1", code="minigrad.optim.SGD")
@given(arrays((3, 3)), arrays(3), arrays(3), st.floats(1e-4, 0.01))
def test_f1_gradient_descent(B, c, theta, alpha):
    """θ_{t+1} = θ_t − α∇J(θ_t)."""
    J, gradient, _, _ = quadratic(B, c)
    for found, _ in descend(J, theta, alpha, 4):
        close(found, theta)
        close(optim.sgd_step(theta, gradient(theta), eta=alpha), theta - alpha * gradient(theta))
        theta = theta - alpha * gradient(theta)


@pytest.mark.article("F1", code="minigrad.optim.SGD")
@settings(max_examples=15)
@given(arrays((2, 2), low=-1, high=1), arrays(2), arrays(2))
def test_f1_approaches_the_minimum(B, c, theta):
    """With a suitable step α (below 2/L), J falls each time and θ approaches the minimum."""
    J, _, least, L = quadratic(B, c)
    path = list(descend(J, theta, 1 / L, 100))
    assert all(after <= before + 1e-12 for (_, before), (_, after) in pairwise(path))
    same(path[-1][0], least, atol=1e-5)  # of L ≤ 5, each step leaves at most 4/5


# --- algorithms -----------------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


HIDDEN = {
    "sigmoid": (ops.sigmoid, sigmoid, lambda h: h * (1 - h)),
    "tanh": (ops.tanh, np.tanh, lambda h: 1 - h * h),
    "relu": (ops.relu, lambda z: np.maximum(z, 0), lambda h: 1.0 * (h > 0)),
}
network = given(
    X=arrays((4, 3)), W1=arrays((3, 5)), b1=arrays(5), W2=arrays((5, 2)), b2=arrays(2),
    t=arrays((4, 2), low=0, high=1),
)  # fmt: skip


@pytest.mark.article("A1", code="minigrad.autograd.Tensor.backward")
@pytest.mark.parametrize("hidden", HIDDEN)
@network
def test_a1_backpropagation_by_the_delta_rule(hidden, X, W1, b1, W2, b2, t):
    """Forward through the layers, then errors backward: ∂J/∂W = hᵀδ with δ₁ = (δ₂W₂ᵀ)∘f′."""
    f, numpy_f, slope = HIDDEN[hidden]
    h = numpy_f(X @ W1 + b1)
    y = sigmoid(h @ W2 + b2)
    d2 = (y - t) * y * (1 - y)
    d1 = d2 @ W2.T * slope(h)

    parameters = [leaf(a) for a in (W1, b1, W2, b2)]
    w1, c1, w2, c2 = parameters
    outputs = ops.sigmoid(ops.matmul(f(ops.matmul(X, w1) + c1), w2) + c2)
    (ops.mse(outputs, t, reduction="sum") / 2).backward()
    close(outputs.data, y)
    wanted = (X.T @ d1, d1.sum(axis=0), h.T @ d2, d2.sum(axis=0))
    for parameter, gradient in zip(parameters, wanted):
        close(parameter.grad, gradient)


@pytest.mark.article("A1", code="minigrad.autograd.Tensor.backward")
@network
def test_a1_backpropagation_of_a_classifier(X, W1, b1, W2, b2, t):
    """Dense with ReLU, Dense with softmax, cross-entropy, as in D1 §4: the error is p − t."""
    t = t.round()
    h = np.maximum(X @ W1 + b1, 0)
    d2 = (softmax(h @ W2 + b2) * t.sum(axis=1, keepdims=True) - t) / len(X)
    d1 = d2 @ W2.T * (h > 0)

    up, down = (nn.Dense(*W.shape, rng=np.random.default_rng(0), dtype="float64") for W in (W1, W2))
    up.weight.data, up.bias.data, down.weight.data, down.bias.data = W1, b1, W2, b2
    ops.cross_entropy(nn.Sequential(up, nn.ReLU(), down)(Tensor(X)), t).backward()
    for layer, into, d in ((up, X, d1), (down, h, d2)):
        close(layer.weight.grad, into.T @ d)
        close(layer.bias.grad, d.sum(axis=0))


@pytest.mark.article("A1", code="minigrad.autograd.Tensor.backward")
@settings(max_examples=20)
@given(depth=st.integers(1, 6), seed=st.integers(0, 99))
def test_a1_every_parameter_gets_its_slope(depth, seed):
    """One backward pass gives the gradient of each parameter: what moving each by itself shows."""
    rng = np.random.default_rng(seed)
    layers = [nn.Dense(2, 2, rng=rng, dtype="float64") for _ in range(depth)]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))
    x, t = Tensor(rng.normal(size=(3, 2))), rng.normal(size=(3, 2))

    def loss():
        return ops.mse(model(x), t)

    loss().backward()
    for p in model.parameters():
        slopes, start = np.empty(p.shape), p.data.copy()
        for at in np.ndindex(p.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = start.copy()
                moved[at] += step
                p.data = moved
                ends.append(loss().item())
            slopes[at] = (ends[0] - ends[1]) / 2e-5
        p.data = start
        same(p.grad, slopes, rtol=1e-5, atol=1e-9)


def adam(theta, gradients, eta):
    """Algorithm 1 of Kingma & Ba; ``gradients`` are functions of θ, one a step."""
    m = v = 0.0
    for t, gradient in enumerate(gradients, 1):
        g = gradient(theta)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - eta * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return theta


def plain(theta, gradients, eta):
    for gradient in gradients:
        theta = theta - eta * gradient(theta)
    return theta


@pytest.mark.article("A2", code="minigrad.optim.Adam")
@pytest.mark.parametrize(
    ("optimizer", "batch_size", "formula"),
    [("SGD", 9, plain), ("SGD", 4, plain), ("Adam", 4, adam)],
    ids=["gradient descent", "stochastic gradient descent", "Adam"],
)
@settings(max_examples=15)
@given(X=arrays((9, 3)), y=arrays((9, 1)), start=arrays((3, 1)))
def test_a2_the_three_optimizers_named(optimizer, batch_size, formula, X, y, start):
    """Common optimizers are gradient descent, stochastic gradient descent and Adam."""
    model = nn.Dense(3, 1, rng=np.random.default_rng(0), bias=False, dtype="float64")
    model.weight.data = start.copy()
    ours = getattr(optim, optimizer)(model, 0.01)
    data, gradients = DataLoader(X, y, batch_size=batch_size), []
    for batch in [*data.epoch(0), *data.epoch(1)]:
        A, b = X[batch.rows], y[batch.rows]
        gradients.append(lambda theta, A=A, b=b: 2 / len(A) * A.T @ (A @ theta - b))
        ours.zero_grad()
        ops.mse(model(Tensor(batch.x)), batch.y).backward()
        ours.step()
    assert len(gradients) == 2 * -(-9 // batch_size)
    same(model.weight.data, formula(start, gradients, 0.01), rtol=1e-8, atol=1e-8)


@pytest.mark.article("A10", code="minigrad.nn.LeakyReLU")
@given(arrays((3, 4)), arrays((3, 4)), st.floats(0, 0.5))
def test_a10_leaky_relu(x, g, slope):
    """f(x) = x where x > 0, else slope·x; what comes back is multiplied by 1 or by the slope."""
    z = leaf(x)
    y = nn.LeakyReLU(slope)(z)
    y.backward(g)
    close(y.data, np.where(x > 0, x, slope * x))
    close(z.grad, np.where(x > 0, g, slope * g))


@pytest.mark.article("A10", code="minigrad.nn.PReLU")
@given(arrays((3, 4)), arrays((3, 4)), arrays(4, low=0, high=1))
def test_a10_parametric_relu(x, g, slope):
    """The slope is a parameter, here one a feature; its gradient is Σ g·x over x ≤ 0."""
    layer = nn.PReLU(4, dtype="float64")
    layer.slope.data = slope
    z = leaf(x)
    y = layer(z)
    y.backward(g)
    close(y.data, np.where(x > 0, x, slope * x))
    close(z.grad, np.where(x > 0, g, slope * g))
    close(layer.slope.grad, np.where(x > 0, 0, g * x).sum(axis=0))


@pytest.mark.article("A10", code="minigrad.nn.PReLU")
def test_a10_the_slope_is_learned():
    """Parametric ReLU finds the slope in the data: 0.7."""
    x = np.linspace(-2, 2, 8)[:, None]
    layer = nn.PReLU(dtype="float64")
    optimizer = optim.SGD(layer, 0.2)
    for _ in range(60):
        optimizer.zero_grad()
        ops.mse(layer(Tensor(x)), np.where(x > 0, x, 0.7 * x)).backward()
        optimizer.step()
    same(layer.slope.data, 0.7, rtol=1e-8)


@pytest.mark.article("A10", code="minigrad.nn.LeakyReLU")
@pytest.mark.parametrize(
    ("activation", "weight"),
    [(nn.ReLU, -1), (nn.LeakyReLU, 1), (lambda: nn.LeakyReLU(0.3), 1), (nn.PReLU, 1)],
    ids=["ReLU", "leaky ReLU", "leaky ReLU, 0.3", "parametric ReLU"],
)
def test_a10_a_dead_unit_learns_again(activation, weight):
    """Variants of ReLU lessen vanishing: from w = −1 to y = x, ReLU's gradient is 0 for ever."""
    x = np.array([[1.0], [2.0], [3.0]])
    unit = nn.Dense(1, 1, rng=np.random.default_rng(0), bias=False, dtype="float64")
    unit.weight.data = np.array([[-1.0]])
    model = nn.Sequential(unit, activation())
    optimizer = optim.SGD(unit, 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        ops.mse(model(Tensor(x)), x).backward()
        optimizer.step()
    same(unit.weight.item(), weight, rtol=1e-6)


@pytest.mark.article("A10", code="minigrad.nn.LeakyReLU")
def test_a10_gradients_reach_the_first_layer():
    """In deep networks gradients tend to 0: 20 layers with sigmoids against leaky ones."""

    def first_over_last(activation):
        rng = np.random.default_rng(0)
        dense = [nn.Dense(16, 16, rng=rng, dtype="float64") for _ in range(20)]
        model = nn.Sequential(*(part for layer in dense for part in (layer, activation())))
        x = Tensor(rng.normal(size=(32, 16)))
        ops.mse(model(x), np.ones((32, 16))).backward()
        first, last = (np.linalg.norm(layer.weight.grad) for layer in (dense[0], dense[-1]))
        return first / last

    assert first_over_last(nn.Sigmoid) < 1e-13  # σ′ ≤ 1/4, twenty times
    for activation in (nn.LeakyReLU, lambda: nn.PReLU(dtype="float64")):
        assert 0.1 < first_over_last(activation) < 10


@pytest.mark.article("A11", code="minigrad.data.from_csv")
@pytest.mark.parametrize(
    ("missing", "rows"),
    [("mean", 12), ("drop", 10), ("error", None)],
    ids=["mean", "drop", "error"],
)
def test_a11_cleaning(tmp_path, missing, rows):
    """Cleaning: what is missing gets its column's mean, its row is left out, or it is refused."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(12, 2)).round(3)
    table[3, 0] = table[7, 1] = np.nan
    words = ["no", "yes"] * 6
    file = tmp_path / "table.csv"
    lines = [f"{a},{b},{word}" for (a, b), word in zip(table, words)]
    file.write_text("\n".join(["a,b,class", *lines]).replace("nan", "?"))
    if rows is None:
        with pytest.raises(InputError, match=r"2 missing value\(s\), the first on line 5 in col"):
            from_csv(file, "class", missing=missing)
        return
    data = from_csv(file, "class", missing=missing, test_size=0.25, dtype="float64")
    kept = ~np.isnan(table).any(axis=1) if missing == "drop" else np.full(12, True)
    assert len(data.x_train) + len(data.x_test) == rows
    train, test = parts(table[kept], (np.arange(12) % 2)[kept])
    mean = np.nanmean(train, axis=0)
    train, test = (np.where(np.isnan(x), mean, x) for x in (train, test))
    close(data.x_train, (train - mean) / train.std(axis=0))
    close(data.x_test, (test - mean) / train.std(axis=0))


def parts(x, y):
    """Training and test part as they are split, and not yet scaled."""
    names = {"name": "x", "feature_names": [str(i) for i in range(x.shape[1])]}
    options = {"class_names": ["no", "yes"], "test_size": 0.25, "dtype": "float64"}
    split = from_arrays(x, y, divide_by=1.0, **names, **options)
    return split.x_train, split.x_test


@pytest.mark.article("A11", code="minigrad.data.from_csv")
def test_a11_conversion(tmp_path):
    """Conversion: words become class numbers, and columns get mean 0 and variance 1."""
    rng = np.random.default_rng(0)
    words = np.array(["plum", "apple", "pear"] * 10)
    file = tmp_path / "fruit.csv"
    rows = [f"{word};{i};{i * rng.normal():.3f}" for i, word in enumerate(words)]
    file.write_text("\n".join(["fruit;number;size", *rows]))
    data = from_csv(file, "fruit", dtype="float64")
    assert data.class_names == ("apple", "pear", "plum")
    assert data.y_train.dtype == np.int64
    close(data.x_train.mean(axis=0), 0)
    close(data.x_train.var(axis=0), 1)

    whole = np.concatenate([data.x_train, data.x_test])[:, 0]
    order = np.argsort(whole)  # the rows' numbers, which scaling keeps in order
    labels = np.concatenate([data.y_train, data.y_test])[order]
    assert [data.class_names[label] for label in labels] == list(words)


@pytest.mark.article("A11", code="minigrad.data.from_arrays")
@settings(max_examples=15)
@given(st.lists(st.integers(5, 30), min_size=2, max_size=4), st.integers(0, 99))
def test_a11_splitting(counts, seed):
    """Splitting: every row in one of two parts, each class in the same proportion in both."""
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.arange(len(y), dtype=float)[:, None]
    names = list(map(str, range(len(counts))))
    data = from_arrays(
        x, y, name="x", feature_names=["row"], class_names=names, divide_by=1, seed=seed
    )
    rows = [part[:, 0].astype(int) for part in (data.x_train, data.x_test)]
    assert sorted(np.concatenate(rows)) == list(range(len(y)))
    assert len(rows[1]) == -(-len(y) // 5)
    for part, labels in zip(rows, (data.y_train, data.y_test)):
        assert list(y[part]) == list(labels)
    tested = np.bincount(data.y_test, minlength=len(counts))
    assert np.abs(tested - np.array(counts) * len(rows[1]) / len(y)).max() < 1


# --- errata ---------------------------------------------------------------------------------------


class Noted(nn.Dense):
    """A dense layer that notes when the input reaches it, and when the error does."""

    def __init__(self, number, notes, *sizes):
        super().__init__(*sizes, rng=np.random.default_rng(number), dtype="float64")
        self.number, self.notes = number, notes

    def forward(self, x):
        self.notes.append(("forward", self.number))
        y = super().forward(x)
        y.register_hook(lambda g: self.notes.append(("backward", self.number)))
        return y


@pytest.mark.article("E15", code="minigrad.nn.Sequential")
def test_e15_from_the_output_layer_nothing_goes_forward():
    """The input is carried "from the output layer forward", here with D1 §4's sizes."""
    sizes, notes = (100, 128, 128, 10), []
    layers = [Noted(i, notes, *pair) for i, pair in enumerate(pairwise(sizes))]
    x = Tensor(np.ones((4, 100)))
    with pytest.raises(InputError, match=r"Dense\(128, 10\) takes .* 128\), but \(4, 100\) came"):
        nn.Sequential(*reversed(layers))(x)

    notes.clear()
    ops.sum(nn.Sequential(*layers)(x)).backward()
    assert notes == [
        ("forward", 0), ("forward", 1), ("forward", 2),
        ("backward", 2), ("backward", 1), ("backward", 0),
    ]  # fmt: skip


@pytest.mark.article("E15", code="minigrad.nn.Sequential")
def test_e15_where_sizes_fit_the_function_is_another():
    """Layers 2x + 1 and then 3x: from the input layer 1 becomes 9, from the output layer 7."""
    layers = [nn.Dense(1, 1, rng=np.random.default_rng(0), dtype="float64") for _ in range(2)]
    for layer, weight, bias in zip(layers, (2, 3), (1, 0)):
        layer.weight.data, layer.bias.data = np.full((1, 1), float(weight)), np.full(1, float(bias))
    one = Tensor(np.ones((1, 1)))
    assert nn.Sequential(*reversed(layers))(one).item() == 7
    assert nn.Sequential(*layers)(one).item() == 9
