"""Article D3: training strategies, optimisation strategies and metrics of large models."""

import ast
import tracemalloc
from collections import Counter
from itertools import pairwise
from unittest.mock import MagicMock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from updates import close, updated

from minigrad import metrics, nn, ops, optim
from minigrad.autograd import Tensor, op
from minigrad.data import DataLoader
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.pipeline import Pipeline
from minigrad.distributed.tensor_parallel import ParallelMLP
from minigrad.errors import InputError
from minigrad.testing import arrays, labels, run_ranks

LR, DECAY = 0.001, 0.0001  # D3 §4
PRINTED = """
class BigModel(layers.Layer):
    def __init__(self, input_shape, num_classes):
        super(BigModel, self).__init__()
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.layers = [
            layers.Dense(units=256, activation='relu', input_shape=input_shape),
            layers.Dense(units=128, activation='relu'),
            layers.Dense(units=64, activation='relu'),
            layers.Dense(units=32, activation='relu'),
            layers.Dense(units=16, activation='relu'),
            layers.Dense(units=8, activation='relu'),
            layers.Dense(units=1, activation='sigmoid')
        ]

    def call(self, inputs, training=None, **kwargs):
        x = inputs
        for layer in self.layers:
            x = layer(x)
        return x

def optimize_big_model(model, inputs, labels, optimizer, loss_function, learning_rate, decay):
    with tf.GradientTape() as tape:
        loss = loss_function(labels, model(inputs))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        optimizer.lr = learning_rate * (1 - decay * global_step)
"""
UNITS = (256, 128, 64, 32, 16, 8, 1)
same = np.testing.assert_allclose
few = settings(max_examples=15)


def linear_model(seed=0):
    return nn.Dense(3, 1, rng=np.random.default_rng(seed), dtype="float64")


def squares(outputs, part):
    return ops.mse(outputs, part.y, reduction="sum")


def least_squares(rows, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 3)), rng.normal(size=(rows, 1))


def mse_gradients(X, y, W, b):
    """(2/m)Xᵀ(XW + b − y), and the same for b."""
    r = 2 * (X @ W + b - y) / len(X)
    return X.T @ r, r.sum(axis=0)


# --- formulas -------------------------------------------------------------------------------------


@pytest.mark.article("F6", code="minigrad.optim.Linear")
@given(st.floats(1e-4, 1), st.floats(1e-5, 1), st.floats(0, 0.999))
def test_f6_linear_decay(eta_0, decay, part):
    """η = η₀(1 − decay·step), up to step 1/decay."""
    step = np.floor(part / decay)
    assert optim.Linear(eta_0, decay)(step) == eta_0 * (1 - decay * step)


@pytest.mark.article("F7", code="minigrad.optim.InverseTime")
@given(arrays((5, 3)), st.sampled_from([DECAY, 0.5]))
def test_f7_adam_with_decay_is_inverse_time(gradients, decay):
    """Adam(learning_rate=0.001, decay=0.0001): in Keras, η₀/(1 + decay·t), t counted in updates."""
    theta, m, v = np.ones(3), 0.0, 0.0
    for t, g in enumerate(gradients):
        eta = LR / (1 + decay * t)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - eta * np.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1)) * m / (
            np.sqrt(v) + 1e-7
        )

    def adam(p):
        rate = optim.InverseTime(LR, decay)
        return optim.Adam(p, rate, epsilon=1e-7, epsilon_placement="hat")

    close(updated(adam, np.ones(3), gradients), theta)


@pytest.mark.article("F8", code="minigrad.metrics.accuracy")
@given(labels(9, 4), labels(9, 4))
def test_f8_accuracy(y, predicted):
    """The number of samples predicted correctly over the number of samples."""
    assert metrics.accuracy(y, predicted) == np.sum(predicted == y) / 9


@pytest.mark.article("F8", code="minigrad.metrics.recall")
@given(labels(9, 2), labels(9, 2))
def test_f8_recall(y, predicted):
    """Positive samples predicted correctly over actual positive samples."""
    assume(y.any())
    assert metrics.recall(y, predicted) == np.sum((predicted == 1) & (y == 1)) / np.sum(y == 1)


@pytest.mark.article("F8", code="minigrad.metrics.f1")
@given(labels(9, 2), labels(9, 2))
def test_f8_f1_is_a_harmonic_mean(y, predicted):
    """The harmonic mean of precision and recall."""
    true = np.sum((predicted == 1) & (y == 1))
    assume(true)
    precision, recall = true / np.sum(predicted == 1), true / np.sum(y == 1)
    same(metrics.f1(y, predicted), 2 / (1 / precision + 1 / recall), rtol=1e-14)


@pytest.mark.article("F8", code="minigrad.metrics.roc_curve")
@given(labels(12, 2), arrays(12, low=-1, high=1))
def test_f8_roc_is_true_against_false_positive_rate(y, scores):
    """The curve of the true positive rate (recall) over the false positive rate."""
    assume(0 < y.sum() < 12)
    fpr, tpr, thresholds = metrics.roc_curve(y, scores)
    assert set(thresholds) == {np.inf, *scores}
    for false, true, threshold in zip(fpr, tpr, thresholds):
        assert true == np.mean(scores[y == 1] >= threshold)
        assert false == np.mean(scores[y == 0] >= threshold)


@pytest.mark.article("F8", code="minigrad.metrics.auc")
@given(labels(12, 2), arrays(12, low=0, high=0.1))
def test_f8_auc_ties_count_one_half(y, scores):
    """The area under that curve: how often a positive's score is above a negative's."""
    assume(0 < y.sum() < 12)
    above = np.sign(scores[y == 1][:, None] - scores[y == 0])
    same(metrics.auc(y, scores), np.mean((1 + above) / 2), rtol=1e-14)
    fpr, tpr, _ = metrics.roc_curve(y, scores)
    same(metrics.auc(y, scores), np.trapezoid(tpr, fpr), rtol=1e-14)


# --- algorithms -----------------------------------------------------------------------------------


@pytest.mark.article("A4", code="minigrad.distributed.DataParallel")
@few
@given(ranks=st.integers(1, 4), rows=st.integers(4, 9))
def test_a4_data_parallelism(ranks, rows):
    """The input data are split, and the parts processed on several nodes at once."""
    X, y = least_squares(rows)

    def train(comm):
        model = linear_model(comm.rank)
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm)
        data = DataLoader(X, y, batch_size=rows, rank=comm.rank, size=comm.size)
        seen = 0
        for batch in [*data.epoch(0), *data.epoch(1), *data.epoch(2)]:
            seen += len(batch.x)
            parallel.run([batch], squares, 1 / batch.total)
            parallel.step()
        return seen, model.weight.data, model.bias.data

    W, b = linear_model().weight.data, np.zeros(1)
    for _ in range(3):
        dW, db = mse_gradients(X, y, W, b)
        W, b = W - 0.1 * dW, b - 0.1 * db
    found = run_ranks(ranks, train)
    assert sum(seen for seen, _, _ in found) == 3 * rows
    for _, weight, bias in found:
        close(weight, W)
        close(bias, b)


class TwoLayers:
    """y = max(XW₁ + b₁, 0)W₂ + b₂ in NumPy, and the gradients of Σy²."""

    def __init__(self):
        rng = np.random.default_rng(3)
        self.x = rng.normal(size=(6, 3))
        self.up = nn.Dense(3, 4, rng=rng, activation="relu", dtype="float64")
        self.down = nn.Dense(4, 2, rng=rng, dtype="float64")
        self.up.bias.data, self.down.bias.data = rng.normal(size=4), rng.normal(size=2)
        W1, b1, W2, b2 = (p.data for p in (*self.up.parameters(), *self.down.parameters()))
        h = np.maximum(self.x @ W1 + b1, 0)
        self.y = h @ W2 + b2
        dy = 2 * self.y
        dh = dy @ W2.T * (h > 0)
        self.dW1, self.db1 = self.x.T @ dh, dh.sum(axis=0)
        self.dW2, self.db2 = h.T @ dy, dy.sum(axis=0)


@pytest.mark.article("A5", code="minigrad.distributed.tensor_parallel.ParallelMLP")
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a5_tensor_parallelism(ranks):
    """The parameters are split, and their parts computed and updated on several nodes at once."""
    whole = TwoLayers()

    def train(comm):
        part = ParallelMLP.from_dense(whole.up, whole.down, comm)
        y = part(Tensor(whole.x))
        ops.sum(y * y).backward()
        close(y.data, whole.y)
        close(part.down.bias.grad, whole.db2)
        return part.up.weight.grad, part.up.bias.grad, part.down.weight.grad

    columns, biases, rows = zip(*run_ranks(ranks, train))
    assert {part.shape for part in columns} == {(3, 4 // ranks)}
    close(np.concatenate(columns, axis=1), whole.dW1)
    close(np.concatenate(biases), whole.db1)
    close(np.concatenate(rows), whole.dW2)


@pytest.mark.article("A5", code="minigrad.distributed.pipeline.Pipeline")
@pytest.mark.parametrize("micro_batches", [2, 3, 6])
def test_a5_pipeline_parallelism(micro_batches):
    """The parameters are split: here each node holds a layer, and micro-batches pass through."""
    whole = TwoLayers()

    def train(comm):
        one = TwoLayers()
        part = Pipeline(nn.Sequential(one.up, one.down), comm)
        part.run(
            np.split(whole.x, micro_batches),
            lambda m, y: ops.sum(y * y),
            backward=lambda tensor, gradient, last: tensor.backward(gradient),
        )
        return {name: p.grad for name, p in part.named_parameters().items()}

    first, second = run_ranks(2, train)
    assert [*first, *second] == [f"layers.{n}.{p}" for n in (0, 1) for p in ("weight", "bias")]
    wanted = (whole.dW1, whole.db1, whole.dW2, whole.db2)
    for gradient, numpy in zip([*first.values(), *second.values()], wanted):
        close(gradient, numpy)


def adagrad(theta, gradients, eta):
    v = 0.0
    for g in gradients:
        v = v + g**2
        theta = theta - eta * g / (np.sqrt(v) + 1e-10)
    return theta


def rmsprop(theta, gradients, eta):
    v = 0.0
    for g in gradients:
        v = 0.99 * v + 0.01 * g**2
        theta = theta - eta * g / (np.sqrt(v) + 1e-8)
    return theta


def adam(theta, gradients, eta):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - eta * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return theta


@pytest.mark.article("A6", code="minigrad.optim.Adagrad")
@pytest.mark.parametrize("formula", [adagrad, rmsprop, adam])
@given(gradients=arrays((4, 3)))
def test_a6_own_rate_from_own_gradients(formula, gradients):
    """The learning rate is set to different values, to suit different parameters."""
    optimizer = optim.class_by_name(formula.__name__)
    found = updated(lambda p: optimizer(p, 0.1), np.ones(3), gradients)
    close(found, formula(np.ones(3), gradients, 0.1))
    steep = gradients * [1, 1000, 1]
    again = updated(lambda p: optimizer(p, 0.1), np.ones(3), steep)
    same(again, found, atol=1e-4)  # the second parameter has a 1000th of the rate


@pytest.mark.article("A6", code="minigrad.optim.Optimizer")
@given(arrays(3), arrays(3))
def test_a6_groups_with_rates_given_by_hand(body, head):
    """The learning rate is set to different values for different parameters."""
    p = {"body": nn.Parameter(np.ones(3)), "head": nn.Parameter(np.ones(3))}
    optimizer = optim.SGD(p, 0.1, groups={"top": {"match": "head", "lr": 0.5}})
    p["body"].grad, p["head"].grad = body, head
    optimizer.step()
    close(p["body"].data, 1 - 0.1 * body)
    close(p["head"].data, 1 - 0.5 * head)


@pytest.mark.article("A7", code="minigrad.distributed.DataParallel.run")
@few
@given(rows=st.integers(1, 9), micro_batches=st.integers(1, 5))
def test_a7_gradient_accumulation(rows, micro_batches):
    """Gradients are added up in a buffer: that of the whole batch, for uneven parts too."""
    X, y = least_squares(rows)
    model = linear_model()
    parallel = DataParallel(model, optim.SGD(model, 0.1))
    (batch,) = DataLoader(X, y, batch_size=rows).epoch(0)
    parallel.run(batch.split(micro_batches), squares, 1 / rows)
    dW, db = mse_gradients(X, y, model.weight.data, model.bias.data)
    close(model.weight.grad, dW)
    close(model.bias.grad, db)


@pytest.mark.article("A8", code="minigrad.optim.l2_penalty")
@given(arrays((3, 2)), arrays((3, 2)), st.floats(0, 0.5))
def test_a8_l2_is_a_term_of_the_loss(theta, g, lam):
    """A term is added to the loss: with λ/2·‖θ‖², each step follows J's gradient plus λθ."""
    found = updated(lambda p: optim.SGD(p, 0.1, l2=lam), theta, [g, g])
    for _ in range(2):
        theta = theta - 0.1 * (g + lam * theta)
    close(found, theta)


@pytest.mark.article("A8", code="minigrad.optim.l2_penalty")
def test_a8_l2_leads_to_ridge_regression():
    """A term is added to the loss: the optimum is (XᵀX + λI)⁻¹Xᵀy."""
    X, y = least_squares(9)
    theta = np.zeros((3, 1))
    p = nn.Parameter(theta)
    optimizer = optim.SGD({"theta": p}, 0.05, l2=2.0)
    for _ in range(200):
        p.grad = X.T @ (X @ p.data - y)
        optimizer.step()
    close(p.data, np.linalg.solve(X.T @ X + 2 * np.eye(3), X.T @ y))


@pytest.mark.article("A8", code="minigrad.optim.l1_penalty")
@given(arrays((3, 2)), st.floats(0, 2))
def test_a8_l1_makes_exact_zeros(y, lam):
    """A term is added to the loss: ½‖θ − y‖² + λ‖θ‖₁ is least at sign(y)·max(|y| − λ, 0)."""
    p = nn.Parameter(np.ones((3, 2)))
    optimizer = optim.SGD({"theta": p}, 0.5, proximal_l1=lam)
    for _ in range(60):
        p.grad = p.data - y
        optimizer.step()
    wanted = np.sign(y) * np.maximum(np.abs(y) - lam, 0)
    close(p.data, wanted)
    assert not p.data[np.abs(y) < lam - 1e-9].any()
    close(
        updated(lambda p: optim.SGD(p, 0.5, l1=lam), y, [np.ones_like(y)]),
        y - 0.5 * (1 + lam * np.sign(y)),
    )


# --- errata ---------------------------------------------------------------------------------------


@pytest.mark.article("E6", code="minigrad.ops.binary_cross_entropy")
@given(arrays(4, low=-40, high=40))
def test_e6_double_sigmoid(z):
    """BinaryCrossentropy(from_logits=True) after a sigmoid: a sure, right answer costs 0.3133."""
    sure = np.array([100.0])
    p = ops.sigmoid(Tensor(np.append(sure, z)))
    printed = ops.binary_cross_entropy(p, np.ones(5), from_logits=True, reduction="none").data
    same(printed[0], -np.log(1 / (1 + np.exp(-1.0))))
    assert f"{printed[0]:.4f}" == "0.3133"
    assert printed.min() == printed[0]
    corrected = ops.binary_cross_entropy(Tensor(sure), np.ones(1))
    assert corrected.item() < 1e-40
    from_p = ops.binary_cross_entropy(p[:1], np.ones(1), from_logits=False)
    assert from_p.item() < 1.1e-7


def big_model(inputs, *first):
    """BigModel's layers, behind ``first``."""
    rng = np.random.default_rng(0)
    layers = list(first)
    for units in UNITS:
        last = units == UNITS[-1]
        layers.append(nn.Dense(inputs, units, rng=rng, activation=None if last else "relu"))
        inputs = units
    return nn.Sequential(*layers)


@pytest.mark.article("E7", code="minigrad.nn.Flatten")
def test_e7_dense_before_flatten():
    """Dense(256, input_shape=(28, 28, 1)) comes first, with labels of shape (8, 1)."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(8, 28, 28, 1)).astype("float32")
    y = (np.arange(8) % 2).astype("float32")[:, None]
    printed = big_model(1)(Tensor(images))
    assert printed.shape == (8, 28, 28, 1)  # an answer for each of 6,272 pixels, and 8 labels
    with pytest.raises(InputError, match=r"\(8, 28, 28, 1\) and targets of shape \(8, 1\)"):
        ops.binary_cross_entropy(printed, y)

    model = big_model(28 * 28, nn.Flatten())
    optimizer = optim.Adam(model, 0.01)
    losses = []
    for _ in range(10):
        loss = ops.binary_cross_entropy(model(Tensor(images)), y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.1 < 0.5 < losses[0]


@pytest.mark.article("E8", code="minigrad.optim.Linear")
def test_e8_global_step_is_not_defined():
    """optimizer.lr = learning_rate * (1 - decay * global_step), after the update."""
    namespace = {"tf": MagicMock(), "layers": MagicMock(Layer=object)}
    exec(PRINTED, namespace)
    optimizer = MagicMock()
    with pytest.raises(NameError, match="global_step"):
        namespace["optimize_big_model"](*[MagicMock()] * 3, optimizer, MagicMock(), LR, DECAY)
    optimizer.apply_gradients.assert_called_once()  # the weights have changed by then

    p = nn.Parameter(np.ones(1))
    ours = optim.Adam({"theta": p}, optim.Linear(LR, DECAY))
    for global_step in range(4):
        assert ours.steps == global_step
        assert ours.lr == LR * (1 - DECAY * global_step)
        ours.step()


@pytest.mark.article("E8")
def test_e8_num_classes_is_unused():
    """BigModel(input_shape=(28, 28, 1), num_classes=10) ends in Dense(units=1)."""
    reads = [
        node
        for node in ast.walk(ast.parse(PRINTED))
        if isinstance(node, ast.Attribute)
        and node.attr == "num_classes"
        and isinstance(node.ctx, ast.Load)
    ]
    assert reads == []
    assert "units=10" not in PRINTED
    assert "units=1," in PRINTED


@pytest.mark.article("E9", code="minigrad.optim.Linear")
def test_e9_negative_rate_climbs():
    """η₀(1 − decay·step), with η₀ = 0.001 and decay = 0.0001: below 0 after 10,000 steps."""
    step = np.arange(30_000)
    printed = LR * (1 - DECAY * step)
    assert printed[10_001] < 0
    theta = np.cumprod(1 - printed)  # gradient descent on θ²/2 from θ = 1
    same(theta[[9_999, 29_999]], [0.0067, 3.2e6], rtol=0.05)
    corrected = optim.Linear(LR, DECAY)(step)
    assert corrected.min() == 0
    theta = np.cumprod(1 - corrected)
    assert theta[29_999] == theta[10_000] == theta.min() < 0.0068


@pytest.mark.article("E10", code="minigrad.data.DataLoader")
def test_e10_the_batch_is_random_not_the_gradient():
    """SGD "updates the gradient to a random gradient"."""
    rng = np.random.default_rng(0)
    X, theta_star = rng.normal(size=(24, 3)), np.ones((3, 1))
    y = X @ theta_star

    def loss(W):
        return np.mean((X @ W - y) ** 2)

    start, printed = loss(np.zeros((3, 1))), []
    for _ in range(20):
        W = np.zeros((3, 1))
        for _ in range(100):
            W = W - 0.1 * rng.normal(size=W.shape)
        printed.append(loss(W))
    assert np.mean(printed) > start  # a walk without a goal, on average away from it

    model = nn.Dense(3, 1, rng=rng, bias=False, dtype="float64")
    optimizer = optim.SGD(model, 0.1)
    data = DataLoader(X, y, batch_size=4)
    gradients = []
    for batch in data.epoch(0):
        optimizer.zero_grad()
        ops.mse(model(Tensor(batch.x)), batch.y).backward()
        gradients.append(model.weight.grad.copy())
    full = mse_gradients(X, y, model.weight.data, 0)[0]
    assert not np.allclose(gradients[0], full, rtol=0.1)
    close(np.mean(gradients, axis=0), full)
    for epoch in range(20):
        for batch in data.epoch(epoch):
            optimizer.zero_grad()
            ops.mse(model(Tensor(batch.x)), batch.y).backward()
            optimizer.step()
    assert loss(model.weight.data) < 1e-6 * start


@pytest.mark.article("E11", code="minigrad.distributed.DataParallel")
def test_e11_data_parallelism_copies_the_model():
    """Distributed training "splits the large model into several sub-models"."""
    sizes = (3, 4, 4, 2)

    def build():
        rng = np.random.default_rng(0)
        return nn.Sequential(*(nn.Dense(i, o, rng=rng) for i, o in pairwise(sizes)))

    def held(comm):
        model = build()
        DataParallel(model, optim.SGD(model, 0.1), comm)
        part = Pipeline(build(), comm)
        return [sum(p.size for p in m.parameters()) for m in (model, part)]

    copies, parts = zip(*run_ranks(3, held))
    assert copies == (46, 46, 46)  # distributed, and not split
    assert parts == (16, 20, 10)  # split: this is model parallelism


RATES = {
    "as it is": lambda p: optim.SGD(p, 0.2),
    "clipped by norm": lambda p: optim.SGD(p, 0.2),
    "clipped by value": lambda p: optim.SGD(p, 0.2),
    "decayed": lambda p: optim.SGD(p, optim.Polynomial(0.2, T=400)),
    "adagrad": lambda p: optim.Adagrad(p, 0.5),
    "adam": lambda p: optim.Adam(p, optim.Polynomial(0.1, T=400, alpha=2)),
}
CLIPS = {
    "clipped by norm": lambda g: optim.clip_by_global_norm(g, 0.3),
    "clipped by value": lambda g: optim.clip_by_value(g, 0.1),
}


def overfitted(make, clip=lambda g: None):
    """Ten weights fitted to 12 noisy samples: how far from the least squares, and from the truth.

    The singular values of X lie in 1 … 2, so that 400 steps are enough.
    """
    rng = np.random.default_rng(0)
    u, _, v = np.linalg.svd(rng.normal(size=(12, 10)), full_matrices=False)
    X, truth = u * np.linspace(1, 2, 10) @ v, rng.normal(size=(10, 1)) / 2
    y = X @ truth + rng.normal(size=(12, 1))
    p = nn.Parameter(np.zeros((10, 1)))
    optimizer = make({"theta": p})
    for _ in range(400):
        p.grad = X.T @ (X @ p.data - y)
        clip(p.grad)
        optimizer.step()
    fitted = np.linalg.lstsq(X, y)[0]
    return np.linalg.norm(p.data - fitted), np.linalg.norm(p.data - truth)


@pytest.mark.article("E12", code="minigrad.optim.Optimizer")
@pytest.mark.parametrize("way", RATES)
def test_e12_rates_and_clipping_keep_the_optimum(way):
    """A dynamic rate, clipping and decay "reduce over-fitting"."""
    moved, error = overfitted(RATES[way], CLIPS.get(way, lambda g: None))
    assert moved < 1e-6  # the same over-fitted weights, as far from the true ones
    assert f"{error:.2f}" == "2.18"


@pytest.mark.article("E12", code="minigrad.optim.l2_penalty")
def test_e12_regularisation_moves_the_optimum():
    """What acts on over-fitting: a term in the loss."""
    moved, error = overfitted(lambda p: optim.SGD(p, 0.2, l2=2.0))
    assert moved > 1
    assert f"{error:.2f}" == "1.34"


@pytest.mark.article("E13", code="minigrad.data.Batch.split")
def test_e13_accumulation_saves_memory_not_work(own_ops):
    """Accumulating gradients "speeds training up and reduces the use of computing resources"."""
    work = Counter()

    def backward(g, weights):
        work["backward"] += len(g) * weights
        return g

    @op(x=backward)
    def counted(xp, x, weights):
        work["forward"] += len(x) * weights
        work["calls"] += 1
        return x.view()

    class Counted(nn.Dense):
        """Its multiply-adds; backward makes as many again for each gradient that is wanted."""

        def forward(self, x):
            return counted(super().forward(x), self.weight.size)

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(512, 32)), rng.normal(size=(512, 1))

    def step(micro_batches):
        """The work, the weights after it, and peak memory."""
        rng = np.random.default_rng(1)
        up = Counted(32, 256, rng=rng, activation="relu", dtype="float64")
        model = nn.Sequential(up, Counted(256, 1, rng=rng, dtype="float64"))
        parallel = DataParallel(model, optim.SGD(model, 0.1))
        (batch,) = DataLoader(X, y, batch_size=512).epoch(0)
        parts = batch.split(micro_batches)
        work.clear()
        tracemalloc.start()
        parallel.run(parts, squares, 1 / 512)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        parallel.step()
        return work.copy(), up.weight.data, peak

    whole, weight, memory = step(1)
    parts, again, less = step(8)
    assert whole["forward"] == whole["backward"] == 512 * (32 * 256 + 256)
    assert parts == {**whole, "calls": 8 * whole["calls"]}  # the same work in smaller pieces
    close(again, weight)
    assert less < memory / 4
