"""N ranks equal one process; and what keeps the replicas the same, or tells that they are not."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import example, given
from hypothesis import strategies as st

from minigrad import nn, ops, optim
from minigrad.arena import Arena
from minigrad.autograd import Tensor
from minigrad.distributed import Call, Communicator, SerialCommunicator
from minigrad.distributed.agreement import ReplicasDiffer
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import buckets_of
from minigrad.errors import InputError, SharedError
from minigrad.nn import Module, Parameter
from minigrad.testing import run_ranks
from minigrad.train import Callback, Run, classify, evaluate


@st.composite
def jobs(draw: st.DrawFn) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """A number of ranks, the model's options, and the run's."""
    ranks = draw(st.integers(2, 5))
    batch_size = draw(st.integers(ranks, 14))
    run = {
        "optimizer": draw(st.sampled_from(sorted(tiny.OPTIMIZERS))),
        "batch_size": batch_size,
        "samples": draw(st.integers(ranks, 40)),
        "micro_batches": draw(st.integers(1, 4)),
        "clip_norm": draw(st.sampled_from([None, 0.3])),
        "bucket_bytes": draw(st.sampled_from([1, 100, 1 << 20])),
    }
    model = {"dropout": draw(st.sampled_from([0.0, 0.4])), "batch_norm": draw(st.booleans())}
    return ranks, model, run


LAST_BATCH_OF_ONE_ROW = {
    "optimizer": "adam", "batch_size": 7, "samples": 22, "micro_batches": 3, "clip_norm": 0.3,
    "bucket_bytes": 1,
}  # fmt: skip


@given(jobs())
@example((5, {"dropout": 0.4, "batch_norm": True}, LAST_BATCH_OF_ONE_ROW))
@example((1, {"dropout": 0.4, "batch_norm": True}, LAST_BATCH_OF_ONE_ROW))
def test_n_ranks_equal_one_process(job: tuple[int, dict[str, Any], dict[str, Any]]) -> None:
    ranks, model, options = job
    alone = tiny.train(model=tiny.network(**model), **options)
    runs = run_ranks(
        ranks, lambda comm: tiny.train(comm, model=tiny.network(comm.rank, **model), **options)
    )
    for run in runs:
        tiny.same(run, alone, 1e-10)
        tiny.same(run, runs[0], 0.0)


class Chain(Module):
    """Uses what it is told to; ``tail`` is tied to ``head``."""

    def __init__(self, seed: int, use_spare: bool) -> None:
        rng = np.random.default_rng(seed)
        size = tiny.FEATURES
        self.head = nn.Dense(size, size, rng=rng, dtype="float64")
        self.spare = nn.Dense(size, size, rng=rng, dtype="float64")
        self.frozen = nn.Dense(size, size, rng=rng, dtype="float64").freeze()
        self.frozen.weight._data = self.frozen.weight.data.T
        self.tail = self.head
        self.out = Parameter(rng.normal(size=(size, tiny.CLASSES)))
        self.use_spare = use_spare

    def forward(self, x: Tensor) -> Tensor:
        x = ops.tanh(self.frozen(self.head(x)))
        if self.use_spare:
            x = ops.tanh(self.spare(x))
        return ops.tanh(self.tail(x)) @ self.out


@pytest.mark.parametrize("use_spare", [False, True])
@pytest.mark.parametrize("bucket_bytes", [1, 200, 1 << 20])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_unused_tied_and_frozen_parameters(
    use_spare: bool, bucket_bytes: int, micro_batches: int
) -> None:
    options = {"bucket_bytes": bucket_bytes, "micro_batches": micro_batches}
    alone = tiny.train(model=Chain(0, use_spare), **options)
    runs = run_ranks(3, lambda c: tiny.train(c, model=Chain(c.rank, use_spare), **options))
    for run in runs:
        tiny.same(run, alone, 1e-10)


def test_a_parameter_that_only_some_ranks_use() -> None:
    def gradient(comm: Communicator) -> np.ndarray:
        model = Chain(0, use_spare=comm.rank == 1)
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm, bucket_bytes=1)
        parallel.backward(model(np.ones((2, tiny.FEATURES))).sum())
        return parallel.optimizer.arenas[0].grad.copy()

    models = [Chain(0, use_spare) for use_spare in (False, True, False)]
    for model in models:
        optim.SGD(model, 0.1)
        model(np.ones((2, tiny.FEATURES))).sum().backward()
    total = sum(model.out.arena.grad for model in models)
    for found in run_ranks(3, gradient):
        np.testing.assert_allclose(found, total, rtol=1e-12, atol=1e-12)


class Counting(SerialCommunicator):
    """Pretends to be one of two ranks, and notes what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 2
        self.sent: list[str] = []

    def _start(self, call: Call) -> Any:
        if not call.blocking:
            self.sent.append(f"{call.array.size}")
        return super()._start(call)

    def all_gather(self, array: np.ndarray) -> list[np.ndarray]:
        return [array, array]


def test_nothing_is_sent_before_the_last_micro_batch_and_buckets_in_order() -> None:
    comm, model = Counting(), tiny.network()
    optimizer = optim.SGD(model, 0.1)
    arena = optimizer.arenas[0]
    parallel = DataParallel(model, optimizer, comm, bucket_bytes=1)
    x = tiny.data(6)[0]
    for last in (False, False, True):
        assert comm.sent == []
        parallel.backward(model(x).sum(), last=last)
    assert comm.sent == [str(span.stop - span.start) for span in arena.spans]
    gradient = arena.grad.copy()
    arena.zero_grad()
    for _ in range(3):
        model(x).sum().backward()
    np.testing.assert_array_equal(gradient, arena.grad)


def test_summed_gradients_are_not_summed_again() -> None:
    model = tiny.network()
    parallel = DataParallel(model, optim.SGD(model, 0.1), Counting())
    x = tiny.data(6)[0]
    parallel.backward(model(x).sum())
    with pytest.raises(InputError, match="counted again"):
        parallel.backward(model(x).sum())
    parallel.zero_grad()
    parallel.backward(model(x).sum())


def test_layers_that_communicate_do_not_disturb_the_buckets() -> None:
    """A branch that one rank alone takes, beside batch norm."""

    def job(comm: Communicator) -> np.ndarray:
        model = nn.Sequential(tiny.network(batch_norm=True), Branch(comm.rank == 1))
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm, bucket_bytes=1)
        parallel.backward(model(tiny.data(6)[0]).sum())
        return parallel.optimizer.arenas[0].grad.copy()

    one, two = run_ranks(2, job)
    np.testing.assert_array_equal(one, two)


class Branch(Module):
    def __init__(self, taken: bool) -> None:
        self.weight = Parameter(np.ones(tiny.CLASSES))
        self.taken = taken

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight if self.taken else x


def test_a_bucket_is_sent_while_backward_goes_on() -> None:
    comm, model = Counting(), tiny.network()
    parallel = DataParallel(model, optim.SGD(model, 0.1), comm, bucket_bytes=1)
    seen: list[int] = []
    hidden = ops.tanh(model[0](tiny.data(6)[0]))
    hidden.register_hook(lambda g: seen.append(len(comm.sent)))
    parallel.backward(model[2](hidden).sum())
    assert seen == [1]  # the last layer's weight; its bias lies in the other group
    assert len(comm.sent) == 4


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    limit=st.integers(0, 20),
)
def test_buckets_cover_the_arena_in_order(sizes: list[int], limit: int) -> None:
    arena = Arena({str(i): Parameter(np.zeros(size)) for i, size in enumerate(sizes)})
    buckets = buckets_of(arena, 8 * limit)
    assert [span for bucket in buckets for span in bucket] == arena.spans
    for bucket in buckets:
        assert len(bucket) == 1 or bucket[-1].stop - bucket[0].start <= max(1, limit)
    for one, two in pairwise(buckets):
        assert two[0].stop - one[0].start > limit


def test_weights_and_buffers_come_from_rank_0() -> None:
    def job(comm: Communicator) -> dict[str, np.ndarray]:
        model = nn.Sequential(
            tiny.network(comm.rank, dropout=0.5, batch_norm=True), Chain(comm.rank, True)
        )
        model[0][1].running_mean += comm.rank
        DataParallel(model, optim.SGD(model, 0.1), comm)
        return model.state_dict()

    states = run_ranks(3, job)
    for state in states[1:]:
        for name, array in state.items():
            np.testing.assert_array_equal(array, states[0][name], err_msg=name)


def every_rank_raises(n: int, f: Callable[[Communicator], Any], error: type[Exception]) -> str:
    """The one message with which all ranks raise ``error``."""
    said: list[str] = []
    lock = threading.Lock()

    def job(comm: Communicator) -> None:
        with pytest.raises(error) as caught:
            f(comm)
        with lock:
            said.append(str(caught.value))

    run_ranks(n, job)
    assert len(said) == n
    assert len(set(said)) == 1
    return said[0]


def test_a_flipped_parameter_is_found_on_every_rank() -> None:
    def job(comm: Communicator) -> None:
        model = tiny.network()
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm)
        parallel.check_replicas()
        if comm.rank == 2:
            bits = model[2].weight.data.view(np.int64)
            bits[1, 1] ^= 1
        parallel.check_replicas()

    says = every_rank_raises(4, job, ReplicasDiffer)
    assert "different numbers in 'layers.2.weight' on rank 2; something changed" in says


def test_fit_looks_at_the_replicas() -> None:
    class Flip(Callback):
        def on_step(self, run: Run) -> None:
            if run.comm.rank == 1 and run.optimizer.steps == 3:
                run.model[0].bias.data = run.model[0].bias.data + 1e-12

    def job(comm: Communicator) -> None:
        tiny.train(comm, callbacks=[Flip()], check_every=4)

    assert "numbers in 'layers.0.bias' on rank 1;" in every_rank_raises(2, job, ReplicasDiffer)


@pytest.mark.parametrize(
    ("odd", "differ"),
    [
        (lambda: tiny.network(batch_norm=True), "layers.1.running_mean float64[5]"),
        (lambda: tiny.network(dtype="float32"), "layers.0.bias float32[5]"),
        (lambda: nn.Sequential(tiny.network()[0], nn.Tanh()), "layers.2.bias float64[3]"),
        (lambda: frozen_first(tiny.network()), "layers.0.bias is trained"),
    ],
)
def test_another_model_on_one_rank_is_told_on_all(
    odd: Callable[[], nn.Sequential], differ: str
) -> None:
    def job(comm: Communicator) -> None:
        model = odd() if comm.rank == 1 else tiny.network()
        DataParallel(model, optim.SGD(model, 0.1), comm)

    says = every_rank_raises(3, job, SharedError)
    assert says.startswith("rank 1 built another model than rank 0")
    assert differ in says


@pytest.mark.parametrize(
    ("odd", "differ"),
    [
        (lambda model: optim.SGD(model, 0.2), "rank 1 has learning rate '0.2', rank 0 '0.1'"),
        (lambda model: optim.Adam(model, 0.1), "rank 1 has optimizer 'Adam', rank 0 'SGD'"),
        (lambda model: optim.SGD(model, 0.1, momentum=0.5), "momentum=0.5"),
    ],
)
def test_another_optimizer_on_one_rank_is_told_on_all(
    odd: Callable[[nn.Module], optim.Optimizer], differ: str
) -> None:
    def job(comm: Communicator) -> None:
        model = tiny.network()
        DataParallel(model, odd(model) if comm.rank == 1 else optim.SGD(model, 0.1), comm)

    assert differ in every_rank_raises(3, job, SharedError)


def test_another_activation_on_one_rank_is_told_on_all() -> None:
    def job(comm: Communicator) -> None:
        layers = list(tiny.network().layers)
        layers[1] = nn.ReLU() if comm.rank == 1 else nn.Tanh()
        model = nn.Sequential(*layers)
        DataParallel(model, optim.SGD(model, 0.1), comm)

    assert "ReLU()" in every_rank_raises(2, job, SharedError)


def frozen_first(model: nn.Sequential) -> nn.Sequential:
    model[0].freeze()
    return model


class Poison(Callback):
    """Makes one weight infinite before step 4, on one rank's copy or on all."""

    def __init__(self, layer: int, rank: int | None = None) -> None:
        self.layer, self.rank = layer, rank

    def on_step(self, run: Run) -> None:
        if run.optimizer.steps == 3 and self.rank in (None, run.comm.rank):
            run.model[self.layer].weight.data[0, 0] = np.inf


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize(
    ("layer", "name"), [(0, "layers.0, Dense(4, 5, bias=False)"), (3, "layers.3, Dense(5, 3)")]
)
def test_a_loss_that_is_not_finite_names_step_and_layer(ranks: int, layer: int, name: str) -> None:
    def job(comm: Communicator) -> None:
        model = tiny.network(batch_norm=True)
        with np.errstate(invalid="ignore"):
            tiny.train(comm, model=model, callbacks=[Poison(layer)], check_every=0)

    says = every_rank_raises(ranks, job, SharedError)
    assert says.startswith("step 4 (epoch 1, batch 4): the loss is nan and the gradient's norm nan")
    assert f"the first layer with such an output is {name}. Try a smaller" in says


def test_the_earliest_layer_is_named_when_ranks_fail_in_different_ones() -> None:
    def job(comm: Communicator) -> None:
        poison = Poison(2 if comm.rank == 0 else 0)
        with np.errstate(invalid="ignore"):
            tiny.train(comm, callbacks=[poison], check_every=0)

    assert "such an output is layers.0, Dense(4, 5)" in every_rank_raises(2, job, SharedError)


def test_a_gradient_that_alone_is_not_finite() -> None:
    def job(comm: Communicator) -> None:
        model = tiny.network()
        model[2].weight.register_hook(lambda g: g * np.inf)
        with np.errstate(invalid="ignore"):
            tiny.train(comm, model=model)

    says = every_rank_raises(2, job, SharedError)
    assert re.search(r"step 1 .* all layers' outputs are finite, so it arose in the loss or", says)


@pytest.mark.parametrize("event", ["on_start", "on_epoch", "on_end"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), InputError("no good")])
def test_a_callback_that_fails_on_one_rank_fails_on_all(event: str, error: Exception) -> None:
    class Fails(Callback):
        def __init__(self, rank: int) -> None:
            if rank == 0:
                setattr(self, event, self._fail)

        def _fail(self, run: Run) -> None:
            raise error

    says = every_rank_raises(
        3, lambda comm: tiny.train(comm, callbacks=[Fails(comm.rank)]), SharedError
    )
    assert says == str(error)


def test_stopping_on_one_rank_stops_all_with_its_reason() -> None:
    class Stops(Callback):
        def on_step(self, run: Run) -> None:
            if run.comm.rank == 1 and run.optimizer.steps == 5:
                run.stop = "rank 1 had enough"

    runs = run_ranks(3, lambda comm: tiny.train(comm, epochs=9, callbacks=[Stops()]))
    assert {run.stop for run in runs} == {"rank 1 had enough"}
    assert {run.optimizer.steps for run in runs} == {6}
    assert {(run.epoch, run.batch) for run in runs} == {(1, 2)}


@given(ranks=st.integers(1, 5), samples=st.integers(1, 12))
def test_evaluation_over_ranks_is_that_of_one_process(ranks: int, samples: int) -> None:
    x, y = tiny.data(samples)

    def job(comm: Communicator) -> Any:
        model = tiny.network(dropout=0.5, batch_norm=True).attach(nn.Context(comm))
        return evaluate(model, tiny.LOSS, x, y, comm=comm), classify(model, x, y, comm=comm)[0]

    alone, confusion = job(SerialCommunicator())
    assert confusion.accuracy() == alone["accuracy"]
    for result, matrix in run_ranks(ranks, job):
        assert result == pytest.approx(alone, rel=1e-12)
        np.testing.assert_array_equal(matrix.matrix, confusion.matrix)


def test_an_evaluation_that_is_not_finite_on_one_rank_is_told_on_all() -> None:
    x, y = tiny.data(9)
    x[-1, 0] = np.nan

    def job(comm: Communicator) -> None:
        evaluate(tiny.network(), tiny.LOSS, x, y, comm=comm)

    says = every_rank_raises(3, job, SharedError)
    assert says.startswith("the loss on samples not learned from is nan; the first layer with such")
    assert "layers.0, Dense(4, 5). Try" in says


def test_ranks_that_update_in_different_forms_are_refused() -> None:
    """Kernels on one machine and NumPy on another would drift apart in the last bits."""

    def job(comm: Communicator) -> None:
        model = tiny.network(comm.rank)
        DataParallel(model, optim.Adam(model, 0.1, form=["in_place", "formula"][comm.rank]), comm)

    with pytest.raises(SharedError, match=r"rank 1 has update form 'formula', rank 0 'in_place'"):
        run_ranks(2, job)


def test_the_norms_limit_can_change() -> None:
    model = tiny.network(0)
    parallel = DataParallel(model, optim.SGD(model, 0.1))
    parallel.optimizer.arenas[0].grad[...] = 5
    length = parallel.norm().value
    assert parallel.norm(1.0).scale == 1 / (length + 1e-6)
    assert parallel.norm().scale == 1
