"""Article D4: how very large models are trained."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import nn, ops, optim
from minigrad.autograd import Tensor
from minigrad.data import DataLoader
from minigrad.demos.common import Counted
from minigrad.distributed.averaging import ParameterServer
from minigrad.distributed.data_parallel import DataParallel
from minigrad.nn.init import INITIALISERS
from minigrad.testing import arrays, run_ranks

ETA = 0.001
same = np.testing.assert_allclose


def adam(theta, gradients, eta=ETA, epsilon=1e-8, hat=False):
    """Algorithm 1 of Kingma & Ba, or the shorter form with ε̂ at the end of their section 2."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        if hat:
            alpha = eta * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            theta = theta - alpha * m / (np.sqrt(v) + epsilon)
        else:
            m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
            theta = theta - eta * m_hat / (np.sqrt(v_hat) + epsilon)
    return theta


def updated(theta, gradients, **options):
    """``theta`` after the library's Adam has seen each of the gradients."""
    p = nn.Parameter(theta.copy())
    optimizer = optim.Adam({"theta": p}, ETA, **options)
    for g in gradients:
        p.grad = g
        optimizer.step()
    return p.data


# --- algorithms -----------------------------------------------------------------------------------


@pytest.mark.article("A2", code="minigrad.optim.Adam")
@pytest.mark.parametrize(("placement", "hat"), [("outside", False), ("hat", True)])
@given(
    gradients=arrays((5, 3)), size=st.sampled_from([1, 1e-6]), epsilon=st.sampled_from([1e-8, 1e-3])
)
def test_a2_adam(placement, hat, gradients, size, epsilon):
    """Initialise parameters and momentum, compute gradient and momentum, update, repeat."""
    gradients = size * gradients
    found = updated(np.zeros(3), gradients, epsilon=epsilon, epsilon_placement=placement)
    same(found, adam(np.zeros(3), gradients, epsilon=epsilon, hat=hat), rtol=1e-9, atol=1e-15)


@pytest.mark.article("A2", code="minigrad.optim.adam_step_hat")
@pytest.mark.parametrize(("placement", "step"), [("outside", "5.0e-04"), ("hat", "3.1e-05")])
def test_a2_the_places_of_epsilon_differ(placement, step):
    """At t = 1, g = ε = 1e-8 and α = 1e-3 one place of ε gives a step 16 times the other's."""
    g = np.array([1e-8])
    assert f"{-updated(np.zeros(1), [g], epsilon_placement=placement)[0]:.1e}" == step
    assert f"{-adam(0.0, g, hat=placement == 'hat'):.1e}" == step


def squares(outputs, part):
    return ops.mse(outputs, part.y, reduction="sum")


@pytest.mark.article("A3", code="minigrad.distributed.averaging.ParameterServer")
@settings(max_examples=15)
@given(ranks=st.integers(1, 4), share=st.integers(1, 3))
def test_a3_six_steps_through_a_main_device(ranks, share):
    """Initialise, distribute the data, train on each device, aggregate the parameters on the main
    device, update, repeat."""
    rng = np.random.default_rng(0)
    rows = ranks * share
    X, y = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 1))
    first = rng.normal(size=(3, 1))

    def train(comm):
        counted = Counted(comm)
        model = nn.Dense(3, 1, rng=np.random.default_rng(0), bias=False, dtype="float64")
        if comm.rank == 0:
            model.weight.data = first
        parallel = DataParallel(model, optim.SGD(model, 0.1), counted, reducer=ParameterServer())
        counted.calls.clear()
        data = DataLoader(X, y, batch_size=rows, shuffle=False, rank=comm.rank, size=comm.size)
        for epoch in range(3):
            (batch,) = data.epoch(epoch)
            parallel.run([batch], squares, 1 / batch.total)
            parallel.step()
        return model.weight.data, counted.calls["send"], counted.calls["all_reduce"]

    theta = first  # initialise
    parts = [slice(k * share, (k + 1) * share) for k in range(ranks)]  # distribute
    for _ in range(3):  # repeat
        trained = [theta - 0.1 * 2 / share * X[k].T @ (X[k] @ theta - y[k]) for k in parts]
        theta = np.mean(trained, axis=0)  # aggregate, update
    for rank, (weight, sent, reduced) in enumerate(run_ranks(ranks, train)):
        same(weight, theta, rtol=1e-12, atol=1e-12)
        assert reduced == 0
        assert sent == 3 * (ranks - 1 if rank == 0 else 1)


@pytest.mark.article("A3", code="minigrad.distributed.averaging.ParameterServer")
def test_a3_uneven_shares_give_the_step_of_all_data():
    """With SGD, aggregated parameters are those of one device that has all the data."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 1))

    def train(comm):
        model = nn.Dense(3, 1, rng=np.random.default_rng(0), bias=False, dtype="float64")
        theta = model.weight.data.copy()
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm, reducer=ParameterServer())
        (batch,) = DataLoader(X, y, batch_size=5, rank=comm.rank, size=comm.size).epoch(0)
        parallel.run([batch], squares, 1 / batch.total)
        parallel.step()
        return theta, model.weight.data

    for theta, weight in run_ranks(3, train):
        same(weight, theta - 0.1 * 2 / 5 * X.T @ (X @ theta - y), rtol=1e-12)


@pytest.mark.article("A9", code="minigrad.nn.init.xavier_uniform")
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_a9_xavier_formula(fan_in, fan_out, seed):
    """Xavier: U(−b, b) with b = √(6/(fan_in + fan_out)), or N(0, 2/(fan_in + fan_out))."""
    b, shape = np.sqrt(6 / (fan_in + fan_out)), (fan_in, fan_out)

    def drawn(name):
        dense = nn.Dense(*shape, rng=np.random.default_rng(seed), init=name, dtype="float64")
        return dense.weight.data

    same(drawn("xavier_uniform"), np.random.default_rng(seed).uniform(-b, b, shape))
    normal = np.random.default_rng(seed).standard_normal(shape)
    same(drawn("xavier_normal"), np.sqrt(2 / (fan_in + fan_out)) * normal)


@pytest.mark.article("A9", code="minigrad.nn.init.xavier_normal")
@pytest.mark.parametrize("name", ["xavier_uniform", "xavier_normal"])
def test_a9_xavier_lets_signals_through(name):
    """Xavier makes it likelier that training succeeds: ten layers keep signal and gradient."""

    def through(init):
        """How much larger signals, and gradients on their way back, are after ten layers."""
        rng = np.random.default_rng(0)
        layers = [nn.Dense(200, 200, rng=rng, init=init, dtype="float64") for _ in range(10)]
        x = Tensor(rng.normal(size=(20, 200)), requires_grad=True)
        y = nn.Sequential(*layers)(x)
        arriving = rng.normal(size=y.shape)
        y.backward(arriving)
        return np.std(y.data) / np.std(x.data), np.std(x.grad) / np.std(arriving)

    small = through(lambda rng, shape, dtype: rng.normal(scale=0.01, size=shape))
    assert max(small) < 1e-7
    kept = through(INITIALISERS[name])
    assert 0.5 < min(kept) < max(kept) < 2


# --- errata ---------------------------------------------------------------------------------------


@pytest.mark.article("E14", code="minigrad.ops.cross_entropy")
@given(arrays((3, 10), low=-50, high=50))
def test_e14_double_softmax(z):
    """SparseCategoricalCrossentropy(from_logits=True) after a softmax: never below 1.4612."""
    labels = z.argmax(axis=1)
    z[np.arange(3), labels] += 100  # sure, and right

    p = ops.softmax(Tensor(z))
    printed = ops.cross_entropy(p, labels, from_logits=True, reduction="none").data
    same(printed, -np.log(np.e / (np.e + 9)))
    assert f"{printed[0]:.4f}" == "1.4612"
    assert ops.cross_entropy(Tensor(z), labels).item() < 1e-40
    assert ops.cross_entropy(p, labels, from_logits=False).item() < 1.1e-7


@pytest.mark.article("E14", code="minigrad.ops.cross_entropy")
@given(arrays((3, 10), low=-50, high=50))
def test_e14_no_logits_go_below_the_floor(z):
    """The double softmax of any logits costs 1.4612 or more."""
    p = ops.softmax(Tensor(z))
    printed = ops.cross_entropy(p, [0, 1, 2], from_logits=True, reduction="none").data
    assert printed.min() > np.log(np.e + 9) - 1 - 1e-12


@pytest.mark.article("E16", code="minigrad.optim.Adam")
def test_e16_one_momentum_is_not_adam():
    """Adam adjusts "by the gradient's direction of movement", with one "momentum"."""
    curvature, start = np.array([100.0, 0.01]), np.ones(2)  # J = (100x² + 0.01y²)/2

    def printed(eta):
        theta, m = start, 0.0
        for _ in range(500):
            m = 0.9 * m + 0.1 * curvature * theta
            theta = theta - eta * m
        return theta

    assert printed(0.02)[1] > 0.9  # a rate that suits x hardly moves y
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.abs(printed(2.0)[0]) < 1e100  # and a rate that suits y throws x away

    p = nn.Parameter(start.copy())
    optimizer = optim.Adam({"theta": p}, optim.Polynomial(0.02, T=500))
    assert optimizer.state == ("m", "v")
    for _ in range(500):
        p.grad = curvature * p.data
        optimizer.step()
    assert np.abs(p.data).max() < 0.01


@pytest.mark.article("E16", code="minigrad.optim.adam_step")
@given(arrays(3, low=0.5))
def test_e16_bias_correction(g):
    """Without correction of the moments' bias to 0 the first step is 3.16 times η, whatever g."""
    m, v = 0.1 * g, 0.001 * g**2
    same(ETA * m / (np.sqrt(v) + 1e-8), 3.16 * ETA, rtol=1e-3)
    same(updated(np.zeros(3), [g]), -ETA, rtol=1e-6)
    same(updated(np.zeros(3), [-g]), ETA, rtol=1e-6)
