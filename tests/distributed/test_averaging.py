"""Local SGD and the parameter server: against data parallelism, and a simulation in NumPy."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from mpirun import mpirun

from minigrad import nn, optim
from minigrad.data import DataLoader
from minigrad.distributed import Communicator
from minigrad.distributed.averaging import LocalSGD, ParameterServer
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.layout import arrange
from minigrad.distributed.mesh import Mesh
from minigrad.distributed.reducers import Reducer
from minigrad.errors import InputError, SharedError
from minigrad.testing import run_ranks
from minigrad.train import Callback, Run

EACH_STEP: dict[str, Callable[[], Reducer]] = {
    "local SGD": lambda: LocalSGD(1),
    "parameter server": ParameterServer,
}
LINEAR = ["sgd", "momentum"]


@given(st.data())
def test_averaging_each_step_of_sgd_is_data_parallelism(data: st.DataObject) -> None:
    """For shares that are uneven, and for ranks that have none in the last batch."""
    ranks = data.draw(st.integers(2, 5))
    make = EACH_STEP[data.draw(st.sampled_from(sorted(EACH_STEP)))]
    options = {
        "optimizer": data.draw(st.sampled_from(LINEAR)),
        "batch_size": data.draw(st.integers(ranks, 13)),
        "samples": data.draw(st.integers(ranks, 30)),
        "micro_batches": data.draw(st.integers(1, 3)),
    }
    batch_norm = data.draw(st.booleans())
    alone = tiny.train(model=tiny.network(batch_norm=batch_norm), **options)
    runs = run_ranks(
        ranks,
        lambda c: tiny.train(
            c, model=tiny.network(c.rank, batch_norm=batch_norm), reducer=make(), **options
        ),
    )
    for run in runs:
        tiny.same(run, runs[0])
        state, twin = run.model.state_dict(), alone.model.state_dict()
        for name in twin:
            np.testing.assert_allclose(state[name], twin[name], rtol=1e-11, atol=1e-12)


def test_the_parameter_server_has_the_bits_of_local_sgd() -> None:
    """On threads, which add up in rank order."""
    runs = [
        run_ranks(3, lambda c, make=make: tiny.train(c, optimizer="adam", reducer=make()))
        for make in EACH_STEP.values()
    ]
    for one, other in zip(*runs):
        tiny.same(one, other)


@pytest.mark.parametrize(("optimizer", "differs"), [("sgd", False), ("adam", True), ("lion", True)])
def test_only_steps_that_are_linear_in_the_gradient_can_be_averaged(
    optimizer: str, differs: bool
) -> None:
    runs = [
        run_ranks(2, lambda c, r=reducer: tiny.train(c, optimizer=optimizer, epochs=8, reducer=r()))
        for reducer in (lambda: LocalSGD(1), lambda: None)
    ]
    local, parallel = (ranks[0] for ranks in runs)
    far = abs(local.model[0].weight.data - parallel.model[0].weight.data).max()
    assert (far > 1e-4) == differs
    assert abs(local.history[-1]["loss"] - parallel.history[-1]["loss"]) < 0.05


# --- against a simulation -------------------------------------------------------------------------


def simulated(
    ranks: int, every: int, lr: float, epochs: int, clip: float, batch_size: int, samples: int
) -> tuple[np.ndarray, list[float]]:
    """Softmax regression by local SGD, (FEATURES, CLASSES) weights without a bias, and the mean
    gradient norm of each epoch: the ranks one after the other, in NumPy."""
    x, y = tiny.data(samples)
    whole = DataLoader(x, y, batch_size=batch_size)
    weights = [network().weight.data.copy() for _ in range(ranks)]
    norms, step = [], 0
    for epoch in range(epochs):
        lengths = []
        for batch in whole.epoch(epoch):
            gradients = []
            for weight, own in zip(weights, np.array_split(np.arange(batch.total), ranks)):
                scores = np.exp(batch.x[own] @ weight)
                p = scores / scores.sum(1, keepdims=True)
                p[np.arange(len(own)), batch.y[own]] -= 1
                gradients.append(batch.x[own].T @ p * ranks / batch.total)
            lengths.append(math.sqrt(np.mean([(g**2).sum() for g in gradients])))
            for weight, gradient in zip(weights, gradients):
                weight -= lr * min(1, clip / (lengths[-1] + 1e-6)) * gradient
            step += 1
            if step % every == 0:
                weights = [sum(weights) / ranks for _ in weights]
        weights = [sum(weights) / ranks for _ in weights]
        norms.append(float(np.mean(lengths)))
    return weights[0], norms


def network() -> nn.Dense:
    rng = np.random.default_rng(3)
    return nn.Dense(tiny.FEATURES, tiny.CLASSES, rng=rng, bias=False, dtype="float64")


@pytest.mark.parametrize("every", [1, 3, 4, 100])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("clip", [1e9, 0.5])
def test_against_numpy(every: int, ranks: int, clip: float) -> None:
    """5 ranks and 1 sample in the last batch: four have nothing to do."""
    options = {"epochs": 3, "batch_size": 8, "samples": 33}
    weight, norms = simulated(ranks, every, 0.2, clip=clip, **options)

    def job(comm: Communicator) -> Run:
        model = network()
        optimizer = optim.SGD(model, 0.2)
        return tiny.train(
            comm, model=model, optimizer=optimizer, reducer=LocalSGD(every), clip_norm=clip,
            **options,
        )  # fmt: skip

    for run in run_ranks(ranks, job):
        np.testing.assert_allclose(run.model.weight.data, weight, rtol=1e-12, atol=1e-12)
        found = [record["grad_norm"] for record in run.history]
        np.testing.assert_allclose(found, norms, rtol=1e-12)


# --- when replicas are the same, and when not -----------------------------------------------------


class Watching(Callback):
    """Notes rank by rank the weights after each step, and at each epoch's end."""

    def __init__(self) -> None:
        self.steps: list[np.ndarray] = []
        self.epochs: list[np.ndarray] = []

    def on_step(self, run: Run) -> None:
        self.steps.append(run.optimizer.arenas[0].data.copy())

    def on_epoch(self, run: Run) -> None:
        self.epochs.append(run.optimizer.arenas[0].data.copy())
        run.parallel.check_replicas()


@pytest.mark.parametrize(("every", "equal"), [(1, [1] * 5), (2, [0, 1, 0, 1, 0]), (9, [0] * 5)])
def test_replicas_differ_between_averagings_and_only_there(every: int, equal: list[int]) -> None:
    def job(comm: Communicator) -> Watching:
        watching = Watching()
        tiny.train(
            comm, samples=40, epochs=1, check_every=1, reducer=LocalSGD(every), callbacks=[watching]
        )
        return watching

    one, other = run_ranks(2, job)
    found = [np.array_equal(a, b) for a, b in zip(one.steps, other.steps, strict=True)]
    assert found == [bool(same) for same in equal]
    np.testing.assert_array_equal(one.epochs, other.epochs)


def test_replicas_that_drift_are_still_found() -> None:
    class Flip(Callback):
        def on_step(self, run: Run) -> None:
            if run.comm.rank == 1 and run.optimizer.steps == 2:  # just after an averaging
                run.model[0].weight.data[0, 0] += 1e-9

        def on_epoch(self, run: Run) -> None:
            run.parallel.check_replicas()

    def job(comm: Communicator) -> None:
        tiny.train(comm, samples=16, epochs=1, reducer=LocalSGD(2), callbacks=[Flip()])

    with pytest.raises(RuntimeError, match=r"layers.0.weight' on rank 1"):
        run_ranks(2, job)


def test_a_run_that_stops_between_averagings_is_averaged() -> None:
    class Stop(Callback):
        def on_step(self, run: Run) -> None:
            run.stop = "enough"

        def on_end(self, run: Run) -> None:
            self.weights = run.parallel.state_dict()["model/layers.0.weight"].copy()
            run.parallel.check_replicas()

    def job(comm: Communicator) -> np.ndarray:
        stop = Stop()
        tiny.train(comm, reducer=LocalSGD(8), callbacks=[stop])
        return stop.weights

    one, other = run_ranks(2, job)
    np.testing.assert_array_equal(one, other)


def test_what_was_computed_before_an_averaging_has_no_gradient_any_more() -> None:
    def job(comm: Communicator) -> None:
        model = tiny.network()
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm, reducer=LocalSGD(8))
        x = tiny.data(4, seed=comm.rank)[0]
        parallel.backward(model(x).sum())
        parallel.step()
        outputs = model(x)
        parallel.synchronise()
        with pytest.raises(InputError, match="has been overwritten since"):
            outputs.sum().backward()

    run_ranks(2, job)


def test_a_run_goes_on_where_it_was() -> None:
    """Averagings are counted in the optimizer's steps; SGD has no state that could differ."""

    def whole(comm: Communicator) -> Run:
        return tiny.train(comm, optimizer="sgd", epochs=3, reducer=LocalSGD(3))

    def halves(comm: Communicator) -> Run:
        first = tiny.train(comm, optimizer="sgd", epochs=1, reducer=LocalSGD(3))
        model = tiny.network(comm.rank + 5)
        optimizer = tiny.OPTIMIZERS["sgd"](model)
        second = DataParallel(model, optimizer, comm, reducer=LocalSGD(3))
        second.load_state_dict(first.parallel.state_dict())
        return tiny.go_on(second, epochs=3, resume=first.position())

    for one, other in zip(run_ranks(3, whole), run_ranks(3, halves)):
        tiny.same(one, other)


def test_a_gradient_that_is_not_finite_on_one_rank_stops_all() -> None:
    class Spoiled(LocalSGD):
        """The loss of rank 1 is fine, its gradient is not."""

        def finish(self) -> None:
            super().finish()
            if self.comm.rank == 1:
                self.optimizer.arenas[0].grad[3] = np.inf

    def job(comm: Communicator) -> bool:
        model = tiny.network()
        before = model.state_dict()["layers.2.weight"].copy()
        with pytest.raises(SharedError, match="the gradient's norm inf"):
            tiny.train(comm, model=model, reducer=Spoiled(2))
        return np.array_equal(before, model.state_dict()["layers.2.weight"])

    assert run_ranks(2, job) == [True, True]


def test_replicas_of_several_ranks() -> None:
    """Two replicas of two ranks each, which share layers: as two replicas of one."""

    def model() -> nn.Sequential:
        rng = np.random.default_rng(0)
        sizes = ((tiny.FEATURES, 8), (8, 6), (6, tiny.CLASSES))
        dense = [nn.Dense(*size, rng=rng, dtype="float64") for size in sizes]
        return nn.Sequential(dense[0], nn.Tanh(), dense[1], nn.Tanh(), dense[2])

    def job(comm: Communicator, tensor: int) -> tuple[list[Any], dict[str, np.ndarray]]:
        mesh = Mesh(comm, tensor=tensor)
        part = arrange(model(), mesh)
        optimizer = tiny.OPTIMIZERS["adam"](part)
        parallel = DataParallel(part, optimizer, mesh, reducer=LocalSGD(3))
        run = tiny.go_on(parallel, epochs=2, clip_norm=0.3)
        return tiny.facts(run), parallel.state_dict()

    facts, state = run_ranks(2, lambda c: job(c, 1))[0]
    for found, twin in run_ranks(4, lambda c: job(c, 2)):
        for one, other in zip(found, facts, strict=True):
            assert one == pytest.approx(other, rel=1e-10)
        for name in state:
            if name.startswith("model/"):
                np.testing.assert_allclose(twin[name], state[name], rtol=1e-9, atol=1e-10)


def test_one_rank_has_nothing_to_average() -> None:
    tiny.same(tiny.train(reducer=LocalSGD(3)), tiny.train())


def test_bad_input() -> None:
    with pytest.raises(InputError, match="at least 1, not 0"):
        LocalSGD(0)


JOB = """
import tiny
from minigrad.distributed import world
from minigrad.distributed.averaging import LocalSGD, ParameterServer
from minigrad.testing import run_ranks

comm = world()
for make in (lambda: LocalSGD(3), ParameterServer):
    run = tiny.train(comm, reducer=make(), clip_norm=0.5)
    threads = run_ranks(comm.size, lambda c: tiny.train(c, reducer=make(), clip_norm=0.5))
    tiny.same(run, threads[0], 1e-10)
    print("equal")
"""


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_mpi_ranks_are_as_threads(ranks: int) -> None:
    paths = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parent.parent)))
    job = mpirun(ranks, "-c", JOB, env={"PYTHONPATH": paths})
    assert job.stdout.split() == ["equal"] * 2 * ranks, job.stderr
