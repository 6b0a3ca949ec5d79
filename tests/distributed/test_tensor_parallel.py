"""Layers divided among ranks: equal to the whole ones, forward, backward, and after training."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mpirun import mpirun

from minigrad import nn, ops
from minigrad.autograd import Tensor
from minigrad.distributed import Call, Communicator, Request, Wrapper
from minigrad.distributed.tensor_parallel import (
    ColumnParallelDense,
    ParallelDropout,
    ParallelMLP,
    RowParallelDense,
    vocab_parallel_cross_entropy,
)
from minigrad.errors import InputError, SharedError
from minigrad.nn import Context, Dense, Module, Parameter
from minigrad.testing import check_grads, run_ranks

SIZES = st.integers(1, 3)
Layer = Callable[[Communicator], Module]


def dense(inputs: int, outputs: int, seed: int = 0, **options: Any) -> Dense:
    """A Dense in float64 whose bias is not zero."""
    rng = np.random.default_rng(seed)
    layer = Dense(inputs, outputs, rng=rng, dtype="float64", **options)
    if layer.bias is not None:
        layer.bias.data = rng.normal(size=outputs)
    return layer


def part_of(whole: np.ndarray, parameter: Parameter) -> np.ndarray:
    return whole if parameter.shard is None else whole[parameter.shard.slices]


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def same(ranks: int, whole: Module, divided: Layer, x: np.ndarray, split: str = "") -> None:
    """``divided`` gives each rank what ``whole`` gives: output, and gradients of Σvy²; ``split``
    says whether the "input" or the "output" is a part for each rank."""
    leaf = Tensor(x, requires_grad=True)
    y = whole(leaf)
    v = np.random.default_rng(1).normal(size=y.shape)
    (y**2 * v).sum().backward()
    wanted = [parameter.grad for parameter in whole.parameters()]

    def rank(comm: Communicator) -> None:
        def own(array: np.ndarray) -> np.ndarray:
            return np.split(array, ranks, axis=-1)[comm.rank]

        layer = divided(comm)
        mine = Tensor(own(x) if split == "input" else x, requires_grad=True)
        out = layer(mine)
        if split == "output":
            close(out.data, own(y.data))
            ops.reduce_from_ranks((out**2 * own(v)).sum(), comm).backward()
        else:
            close(out.data, y.data)
            (out**2 * v).sum().backward()
        close(mine.grad, own(leaf.grad) if split == "input" else leaf.grad)
        for parameter, gradient in zip(layer.parameters(), wanted, strict=True):
            close(parameter.grad, part_of(gradient, parameter))

    run_ranks(ranks, rank)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(0, 3), min_size=1, max_size=2)))


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "bias": draw(st.booleans()),
        "activation": draw(st.sampled_from([None, "relu", "gelu"])),
    }


@given(st.integers(1, 4), SIZES, SIZES, shapes(), options(), st.booleans())
def test_column_parallel_equals_dense(ranks, inputs, width, shape, options, gather) -> None:
    whole = dense(inputs, ranks * width, **options)
    x = np.random.default_rng(2).normal(size=(*shape, inputs))
    divided = partial(ColumnParallelDense.from_dense, whole, gather=gather)
    same(ranks, whole, divided, x, "" if gather else "output")


@given(st.integers(1, 4), SIZES, SIZES, shapes(), options(), st.booleans())
def test_row_parallel_equals_dense(ranks, height, outputs, shape, options, split) -> None:
    whole = dense(ranks * height, outputs, **options)
    x = np.random.default_rng(2).normal(size=(*shape, ranks * height))
    divided = partial(RowParallelDense.from_dense, whole, split_input=split)
    same(ranks, whole, divided, x, "" if split else "input")


@given(st.integers(1, 4), SIZES, SIZES, SIZES, shapes(), options())
def test_mlp_equals_two_dense_layers(ranks, inputs, width, outputs, shape, options) -> None:
    up = dense(inputs, ranks * width, **options)
    down = dense(ranks * width, outputs, seed=3, bias=options["bias"])
    x = np.random.default_rng(2).normal(size=(*shape, inputs))
    same(ranks, nn.Sequential(up, down), partial(ParallelMLP.from_dense, up, down), x)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_hold_the_slices_of_what_one_process_draws(ranks: int) -> None:
    def rng() -> np.random.Generator:
        return np.random.default_rng(7)

    drawn, whole = rng(), {"init": "he_normal", "dtype": "float64"}
    layers = [Dense(4, 6, rng=drawn, **whole), Dense(6, 5, rng=drawn, **whole)]

    def rank(comm: Communicator) -> list[np.ndarray]:
        block = ParallelMLP(4, 6, 5, comm, rng=rng(), **whole)
        found = block.parameters()
        for parameter, one in zip(found, nn.Sequential(*layers).parameters(), strict=True):
            np.testing.assert_array_equal(parameter.data, part_of(one.data, parameter))
            assert parameter.data.base is None
        assert [p.shard and p.shard[::3] for p in found] == [(1, 6), (0, 6), (0, 6), None]
        return [parameter.data for parameter in found[:3]]

    for axis, layer, parts in zip(
        (1, 0, 0), nn.Sequential(*layers).parameters(), zip(*run_ranks(ranks, rank))
    ):
        np.testing.assert_array_equal(np.concatenate(parts, axis), layer.data)


def test_what_is_frozen_stays_so_and_a_copy_is_the_same_part() -> None:
    whole = dense(2, 4)
    whole.weight.requires_grad = False

    def rank(comm: Communicator) -> None:
        layer = ColumnParallelDense.from_dense(whole, comm)
        assert [p.requires_grad for p in layer.parameters()] == [False, True]
        assert copy.deepcopy(layer.weight).shard == layer.weight.shard == (1, *_bounds(comm), 4)

    run_ranks(2, rank)


def _bounds(comm: Communicator) -> tuple[int, int]:
    return 2 * comm.rank, 2 * comm.rank + 2


# --- cross-entropy ------------------------------------------------------------------------------


@st.composite
def scored(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    """Ranks, logits (…, classes), and labels (…), often at the borders of the ranks' parts."""
    ranks, width, shape = draw(st.integers(1, 4)), draw(SIZES), draw(shapes())
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    scale, shift = draw(st.sampled_from([1.0, 1e4, 1e300])), draw(st.sampled_from([0.0, -1e5, 1e5]))
    logits = scale * rng.uniform(-1, 1, (*shape, ranks * width)) + shift
    borders = st.sampled_from([0, width - 1, (ranks - 1) * width, ranks * width - 1])
    anywhere = st.integers(0, ranks * width - 1)
    count = int(np.prod(shape))
    labels = draw(st.lists(borders | anywhere, min_size=count, max_size=count))
    return ranks, logits, np.array(labels, np.int64).reshape(shape)


MASKED = np.array([[-np.inf, 2.0, -np.inf, 1.0], [-np.inf, -np.inf, 3.0, 1.0]])


@given(scored(), st.sampled_from(["none", "sum", "mean"]))
@example((2, MASKED, np.array([1, 3])), "none")
@example((4, MASKED, np.array([1, 3])), "mean")
def test_cross_entropy_equals_that_of_the_gathered_logits(case, reduction) -> None:
    ranks, logits, labels = case
    if labels.size == 0 and reduction == "mean":
        reduction = "sum"
    whole = Tensor(logits, requires_grad=True)
    wanted = ops.cross_entropy(whole, labels, reduction=reduction)
    v = np.random.default_rng(1).normal(size=wanted.shape)
    (wanted * v).sum().backward()

    def rank(comm: Communicator) -> None:
        mine = Tensor(np.split(logits, ranks, axis=-1)[comm.rank], requires_grad=True)
        found = vocab_parallel_cross_entropy(mine, labels, comm, reduction=reduction)
        assert found.shape == wanted.shape
        close(found.data, wanted.data)
        (found * v).sum().backward()
        close(mine.grad, np.split(whole.grad, ranks, axis=-1)[comm.rank])

    run_ranks(ranks, rank)


def test_cross_entropy_has_gradients_of_gradients() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 6))

    def rank(comm: Communicator) -> None:
        def f(x: Tensor) -> Tensor:
            part = ops.scatter_to_ranks(x, comm)
            return vocab_parallel_cross_entropy(part, [0, 3, 5], comm, reduction="none")

        check_grads(f, logits)

    run_ranks(3, rank)


@pytest.mark.parametrize("column", range(4))
def test_a_nan_on_one_rank_is_seen_on_all(column: int) -> None:
    logits = np.zeros((2, 4))
    logits[0, column] = np.nan

    def rank(comm: Communicator) -> None:
        mine = Tensor(np.split(logits, 2, axis=-1)[comm.rank], requires_grad=True)
        losses = vocab_parallel_cross_entropy(mine, [0, 3], comm, reduction="none")
        losses.sum().backward()
        assert np.isnan(losses.data).tolist() == [True, False]
        assert np.isnan(mine.grad).all(axis=1).tolist() == [True, False]

    run_ranks(2, rank)


# --- what travels -------------------------------------------------------------------------------


class Counting(Wrapper):
    """Counts what is started, by kind."""

    def __init__(self, inner: Communicator) -> None:
        super().__init__(inner)
        self.started: Counter[str] = Counter()

    def _start(self, call: Call) -> Request:
        self.started[call.kind] += 1
        return super()._start(call)

    def _wrap(self, inner: Communicator) -> Communicator:
        return Counting(inner)

    def taken(self) -> dict[str, int]:
        started, self.started = self.started, Counter()
        return dict(started)


def column(*sizes: int, **options: Any) -> Layer:
    return lambda comm: ColumnParallelDense(*sizes, comm, rng=np.random.default_rng(0), **options)


def row(*sizes: int, **options: Any) -> Layer:
    return lambda comm: RowParallelDense(*sizes, comm, rng=np.random.default_rng(0), **options)


def mlp(*sizes: int) -> Layer:
    return lambda comm: ParallelMLP(*sizes, comm, rng=np.random.default_rng(0))


def loss(logits: Any, labels: Any, **options: Any) -> Callable[[Communicator], Tensor]:
    return lambda comm: vocab_parallel_cross_entropy(logits, labels, comm, **options)


ONE_SUM, ONE_GATHER = {"all_reduce": 1}, {"gather_into": 1}


@pytest.mark.parametrize(
    ("layer", "features", "forward", "backward"),
    [
        (column(3, 4), 3, {}, ONE_SUM),
        (column(3, 4, gather=True), 3, ONE_GATHER, ONE_SUM),
        (row(4, 3), 2, ONE_SUM, {}),
        (row(4, 3, split_input=True), 4, ONE_SUM, ONE_GATHER),
        (mlp(3, 4, 3), 3, ONE_SUM, ONE_SUM),
        (lambda comm: lambda x: loss(x, [0, 5])(comm), 3, {"all_reduce": 2}, {}),
    ],
)
def test_how_often_ranks_talk(layer, features, forward, backward) -> None:
    def rank(comm: Communicator) -> None:
        counting = Counting(comm)
        f = layer(counting)
        for wants_gradient in (True, False):  # of data no gradient is sent
            y = f(Tensor(np.ones((2, features)), requires_grad=wants_gradient))
            assert counting.taken() == forward
            if y.requires_grad:
                y.sum().backward()
            assert counting.taken() == (backward if wants_gradient else {})

    run_ranks(2, rank)


# --- dropout ------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 10**6), st.booleans())
def test_ranks_drop_what_one_process_drops(ranks, width, sample, training) -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, ranks * width))

    def twice(layer: Module, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        layer.train(training).attach(Context()).context.seek(sample)
        leaf = Tensor(x, requires_grad=True)
        y = layer(leaf) + 2 * layer(leaf)
        y.sum().backward()
        return y.data, leaf.grad

    wanted = twice(nn.Dropout(0.4, rng=np.random.default_rng(1)), x)

    def rank(comm: Communicator) -> None:
        layer = ParallelDropout(0.4, comm, rng=np.random.default_rng(1))
        found = twice(layer, np.split(x, ranks, axis=-1)[comm.rank])
        for mine, whole in zip(found, wanted):
            np.testing.assert_array_equal(mine, np.split(whole, ranks, axis=-1)[comm.rank])

    run_ranks(ranks, rank)


# --- mistakes -----------------------------------------------------------------------------------

ONES = Tensor(np.ones((2, 3)))
NO_ROWS = np.ones((0, 3)), np.zeros(0, int)


@pytest.mark.parametrize(
    ("ranks", "f", "error", "said"),
    [
        (4, column(3, 10), SharedError, "10 outputs .* take 8 or 12 outputs, or 1 or 2 ranks"),
        (3, mlp(3, 2, 1), SharedError, "2 outputs .* 3 ranks; take 3 outputs, or 1 or 2 ranks"),
        (2, row(7, 2), SharedError, "7 inputs .* 2 ranks; take 6 or 8 inputs, or 1 rank(?!s)"),
        (2, lambda comm: ColumnParallelDense(3, 4, comm), InputError, "rng=…"),
        (2, column(3, 4, init="he"), InputError, "initialiser"),
        (2, row(4, 4, activation="relo"), InputError, "relu"),
        (2, lambda comm: row(4, 4)(comm)(ONES), InputError, r"Row.*\(2 × 2 ranks, 4\) .* \(…, 2\)"),
        (2, lambda comm: column(4, 4)(comm)(ONES), InputError, r"\(4, 2 × 2 ranks\) .* \(…, 4\)"),
        (2, loss(ONES, [0, 6]), InputError, "label 6 is outside 0 … 5"),
        (2, loss(ONES, [-1, 6]), InputError, "label -1 is outside 0 … 5"),
        (2, loss(ONES, [0]), InputError, r"shape \(1,\)"),
        (2, loss(ONES, [0.0, 1]), InputError, "float64"),
        (2, loss(ONES, [0, 1], reduction="men"), InputError, "did you mean 'mean'"),
        (2, loss(*NO_ROWS), InputError, "mean of no losses"),
    ],
)
def test_mistakes_get_a_sentence(ranks, f, error, said) -> None:
    with pytest.raises(error, match=said):
        run_ranks(ranks, f)


# --- training -----------------------------------------------------------------------------------

TRAINING = """
import numpy as np
from minigrad import nn, ops, optim
from minigrad.distributed import SerialCommunicator, world
from minigrad.distributed.tensor_parallel import *

class Model(nn.Module):
    def __init__(self, comm):
        rng, options = np.random.default_rng(0), {"dtype": "float64"}
        self.block = ParallelMLP(5, 8, 6, comm, rng=rng, **options)
        self.hidden = ColumnParallelDense(6, 4, comm, rng=rng, activation="relu", **options)
        self.dropout = ParallelDropout(0.3, comm, rng=rng)
        self.down = RowParallelDense(4, 6, comm, rng=rng, **options)
        self.norm = nn.LayerNorm(6, dtype="float64")
        self.logits = ColumnParallelDense(6, 4, comm, rng=rng, **options)

    def forward(self, x):
        x = self.block(x)
        x = x + self.down(self.dropout(self.hidden(x)))
        return self.logits(self.norm(x))

def train(comm):
    rng, model = np.random.default_rng(1), Model(comm)
    optimizer = optim.AdamW(model, 0.01)
    for _ in range(5):
        x, labels = rng.normal(size=(7, 5)), rng.integers(0, 4, 7)
        optimizer.zero_grad()
        loss = vocab_parallel_cross_entropy(model(x), labels, comm)
        loss.backward()
        optimizer.step()
    return model, float(loss.data)

comm = world()
(divided, loss), (whole, alone) = train(comm), train(SerialCommunicator())
off, names = abs(loss - alone), whole.named_parameters()
for name, parameter in divided.named_parameters().items():
    wanted = names[name].data
    wanted = wanted if parameter.shard is None else wanted[parameter.shard.slices]
    assert wanted.shape == parameter.shape
    off = max(off, abs(parameter.data - wanted).max())
assert off < 1e-10, off
print(f"{comm.rank} of {comm.size}")
"""


@pytest.mark.mpi
def test_five_steps_on_two_ranks_equal_one_process() -> None:
    job = mpirun(2, "-c", TRAINING)
    assert job.returncode == 0, job.stderr
    assert sorted(job.stdout.splitlines()) == ["0 of 2", "1 of 2"]
