"""Article D0: training strategies for large models, in words alone."""

import ast
import re
from functools import partial

import numpy as np
import pytest

from minigrad import nn, ops, optim
from minigrad.data import DataLoader
from minigrad.distributed.data_parallel import DataParallel
from minigrad.testing import run_ranks
from minigrad.train import fit

PRINTED = """
在这一部分，我们将提供一些具体的代码实例，以帮助读者更好地理解大模型的训练策略。我们将从以下几个方面进行讨论：

- 分布式训练的代码实例：我们将提供一个使用Python和TensorFlow框架进行分布式训练的代码实例，以帮助读者更好地理解分布式训练的原理。
- 动量优化的代码实例：我们将提供一个使用Python和TensorFlow框架进行动量优化的代码实例，以帮助读者更好地理解动量优化的原理。
- 学习率衰减的代码实例：我们将提供一个使用Python和TensorFlow框架进行学习率衰减的代码实例，以帮助读者更好地理解学习率衰减的原理。
- 代码实例的详细解释：我们将详细解释上述代码实例的每一行代码，以帮助读者更好地理解这些代码的原理。
"""  # noqa: E501


def losses(outputs, y):
    return ops.sum(ops.square(outputs - y), axis=1)


def problem(noise=0.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 3))
    return X, X @ np.ones((3, 1)) + noise * rng.normal(size=(24, 1))


def train(comm, rate=0.2, **options):
    """The weights and the history after five epochs on the ranks of ``comm``."""
    X, y = problem()
    model = nn.Dense(3, 1, rng=np.random.default_rng(1), dtype="float64")
    parallel = DataParallel(model, optim.SGD(model, rate, **options), comm)
    data = DataLoader(X, y, batch_size=8, rank=comm.rank, size=comm.size)
    run = fit(parallel, losses, data, epochs=5, metrics={})
    return model.weight.data, run.history


# --- errata ---------------------------------------------------------------------------------------


@pytest.mark.article("E17")
def test_e17_three_programs_promised_none_printed():
    """D0 §4 in full: code for distributed training, for momentum and for learning-rate decay."""
    promised = re.findall("我们将提供一个使用Python和TensorFlow框架进行(.*?)的代码实例", PRINTED)
    assert promised == ["分布式训练", "动量优化", "学习率衰减"]
    assert "```" not in PRINTED
    with pytest.raises(SyntaxError):
        ast.parse(PRINTED)


@pytest.mark.article("E17", code="minigrad.distributed.DataParallel")
@pytest.mark.parametrize("ranks", [2, 3])
def test_e17_distributed_training_runs(ranks):
    """Training on several nodes at once: each takes a share, all find what one would."""
    ((alone, history),) = run_ranks(1, train)
    for weight, record in run_ranks(ranks, train):
        np.testing.assert_allclose(weight, alone, rtol=1e-12)
        np.testing.assert_allclose(record[-1]["loss"], history[-1]["loss"], rtol=1e-9)
    assert history[-1]["loss"] < 0.05 * history[0]["loss"]


@pytest.mark.article("E17", code="minigrad.optim.SGD")
def test_e17_momentum_runs():
    """Momentum updates parameters more effectively: on (100x² + y²)/2, at each one's best rate."""

    def distance(eta, mu):
        p = nn.Parameter(np.ones(2))
        optimizer = optim.SGD({"theta": p}, eta, momentum=mu)
        for _ in range(100):
            p.grad = np.array([100.0, 1.0]) * p.data
            optimizer.step()
        return np.linalg.norm(p.data)

    assert distance(2 / 101, 0.0) > 0.1  # (99/101)¹⁰⁰ of √2
    assert distance((2 / 11) ** 2, (9 / 11) ** 2) < 1e-6  # Polyak's η and μ, for 1 and 100


@pytest.mark.article("E17", code="minigrad.optim.Polynomial")
def test_e17_decay_runs():
    """Smaller and smaller steps find the optimum better: a constant rate keeps batches' noise."""
    X, y = problem(noise=1.0)
    best = np.linalg.lstsq(X, y)[0]

    def distance(rate):
        model = nn.Dense(3, 1, rng=np.random.default_rng(1), bias=False, dtype="float64")
        parallel = DataParallel(model, optim.SGD(model, rate))
        fit(parallel, losses, DataLoader(X, y, batch_size=4), epochs=40, metrics={})
        return np.linalg.norm(model.weight.data - best)

    assert distance(optim.Polynomial(0.2, T=240)) < 0.01 < 0.08 < distance(0.2)


@pytest.mark.article("E17", code="minigrad.train.fit")
def test_e17_all_three_in_one_run():
    """Distributed training, momentum and decay together, in one program."""
    rate = optim.Polynomial(0.2, T=15)
    for weight, history in run_ranks(2, partial(train, rate=rate, momentum=0.5)):
        np.testing.assert_allclose(weight, 1, atol=0.03)
        assert [record["lr"] for record in history] == [rate(step) for step in range(2, 15, 3)]
