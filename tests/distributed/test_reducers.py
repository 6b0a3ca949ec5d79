"""Naive, flat, bucketed and divided (ZeRO): the same sums, and what each rank keeps of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from test_data_parallel import Chain

from minigrad import ops, optim
from minigrad.arena import Arena
from minigrad.distributed import Communicator
from minigrad.distributed.averaging import LocalSGD
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Bucketed, Flat, Naive, Reducer
from minigrad.distributed.zero import ZeRO, slices_of
from minigrad.errors import InputError, SharedError
from minigrad.nn import Parameter
from minigrad.testing import run_ranks
from minigrad.train import Callback

REDUCERS: dict[str, Callable[[], Reducer]] = {
    "naive": Naive,
    "flat": Flat,
    "bucketed": lambda: Bucketed(100),
    "zero 1": lambda: ZeRO(1, 100),
    "zero 2": lambda: ZeRO(2, 100),
    "zero 1, one bucket": lambda: ZeRO(1),
    "zero 2, one bucket": lambda: ZeRO(2),
}
ELEMENTWISE = sorted(set(tiny.OPTIMIZERS) - {"lamb"})


@given(st.data())
def test_n_ranks_equal_one_process(data: st.DataObject) -> None:
    ranks = data.draw(st.integers(2, 8))
    options = {
        "optimizer": data.draw(st.sampled_from(sorted(tiny.OPTIMIZERS))),
        "batch_size": data.draw(st.integers(ranks, 17)),
        "samples": data.draw(st.integers(ranks, 40)),
        "micro_batches": data.draw(st.integers(1, 4)),
        "clip_norm": data.draw(st.sampled_from([None, 0.3])),
    }
    model = {
        "dropout": data.draw(st.sampled_from([0.0, 0.4])),
        "batch_norm": data.draw(st.booleans()),
    }
    make = REDUCERS[data.draw(st.sampled_from(sorted(REDUCERS)))]
    alone = tiny.train(model=tiny.network(**model), **options)
    runs = run_ranks(
        ranks,
        lambda c: tiny.train(c, model=tiny.network(c.rank, **model), reducer=make(), **options),
    )
    for run in runs:
        tiny.same(run, alone, 1e-10)
        tiny.same(run, runs[0], 0.0)


@pytest.mark.parametrize("name", REDUCERS)
@pytest.mark.parametrize("use_spare", [False, True])
def test_unused_tied_and_frozen_parameters(name: str, use_spare: bool) -> None:
    options: dict[str, Any] = {"micro_batches": 2, "clip_norm": 0.5}
    alone = tiny.train(model=Chain(0, use_spare), **options)
    runs = run_ranks(
        3,
        lambda c: tiny.train(
            c, model=Chain(c.rank, use_spare), reducer=REDUCERS[name](), **options
        ),
    )
    for run in runs:
        tiny.same(run, alone, 1e-10)


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("optimizer", ELEMENTWISE)
@pytest.mark.parametrize("ranks", [2, 3])
def test_zero_has_the_same_bits_as_undivided_training(
    stage: int, optimizer: str, ranks: int
) -> None:
    def job(comm: Communicator, reducer: Reducer) -> tiny.Run:
        model = tiny.network(dtype="float32", size=37)
        return tiny.train(comm, model=model, optimizer=optimizer, reducer=reducer)

    whole = run_ranks(ranks, lambda c: job(c, Bucketed(100)))
    divided = run_ranks(ranks, lambda c: job(c, ZeRO(stage, 300)))
    for run in divided:
        state, twin = run.model.state_dict(), whole[0].model.state_dict()
        for key in state:
            np.testing.assert_array_equal(state[key], twin[key], err_msg=key)


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_state_and_gradients_per_rank(ranks: int) -> None:
    """Adam's two moments, and in stage 2 the gradients: a p-th of each."""

    def job(comm: Communicator) -> tuple[int, int, int, bool]:
        model = tiny.network(size=800)
        optimizer = optim.Adam(model, 0.1)
        whole = optimizer.state_buffers.nbytes
        reducer = ZeRO(2, 1000)
        DataParallel(model, optimizer, comm, reducer=reducer)
        (arena,) = optimizer.arenas
        gradient = reducer.gradients(0)[0].nbytes if comm.size > 1 else arena.grad.nbytes
        kept = arena._grad is None
        return whole, optimizer.state_buffers.nbytes, gradient, kept

    for whole, part, gradient, released in run_ranks(ranks, job):
        assert abs(part - whole / ranks) <= 2 * 8
        assert abs(gradient - whole / 2 / ranks) <= 8
        assert released == (ranks > 1)


def test_stage_2_has_two_buckets_under_way_and_shows_no_gradients() -> None:
    def job(comm: Communicator) -> int:
        model, most = Chain(0, True), 0
        reducer = ZeRO(2, 1)
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm, reducer=reducer)
        start = reducer.start

        def watch(index: int) -> Any:
            nonlocal most
            request = start(index)
            unsent = sum(
                getattr(r, "_held", None) is not None for r in [*reducer._requests, request]
            )
            most = max(most, unsent)
            return request

        reducer.start = watch  # type: ignore[method-assign]
        parallel.backward(model(np.ones((2, tiny.FEATURES))).sum())
        assert model.out.grad is None
        with pytest.raises(InputError, match=r"its own part only \(ZeRO stage 2\)"):
            _ = parallel.optimizer.arenas[0].grad
        return most

    assert run_ranks(2, job) == [2, 2]


@pytest.mark.parametrize("optimizer", ["adam", "lamb", "plateau"])
@pytest.mark.parametrize("stage", [1, 2])
def test_a_checkpoint_goes_on_on_any_number_of_ranks(optimizer: str, stage: int) -> None:
    def first(comm: Communicator) -> dict[str, Any]:
        run = tiny.train(comm, optimizer=optimizer, epochs=1, reducer=ZeRO(stage, 100))
        return {"state": run.parallel.state_dict(), "resume": run.position()}

    def second(comm: Communicator, saved: dict[str, Any], make: Any) -> tiny.Run:
        model = tiny.network(7)
        parallel = DataParallel(model, tiny.OPTIMIZERS[optimizer](model), comm, reducer=make())
        parallel.load_state_dict(saved["state"])
        return tiny.go_on(parallel, epochs=3, resume=saved["resume"])

    alone = tiny.train(optimizer=optimizer, epochs=3)
    (saved, *_) = run_ranks(3, first)
    for ranks in (1, 2, 4):
        for make in (partial(ZeRO, 1), partial(ZeRO, 2, 50), lambda: None):
            go_on = partial(second, saved=saved, make=make)
            for run in run_ranks(ranks, go_on):
                tiny.same(run, alone, 1e-10)


@pytest.mark.parametrize("name", sorted(set(REDUCERS) - {"zero 2", "zero 2, one bucket"}))
def test_gradients_differ_between_micro_batches_and_agree_after_the_last(name: str) -> None:
    """What accumulation saves: until the last backward of a step, nothing is sent."""

    def job(comm: Communicator) -> list[np.ndarray]:
        model = tiny.network()
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm, reducer=REDUCERS[name]())
        x = tiny.data(6, seed=comm.rank)[0]
        parallel.zero_grad()
        parallel.backward(model(x).sum(), last=False)
        before = model[0].weight.grad.copy()
        parallel.backward(model(x).sum())
        parallel.step()
        return [before, model[0].weight.data.copy()]

    (before, after), (other_before, other_after) = run_ranks(2, job)
    assert not np.isclose(before, other_before).any()
    np.testing.assert_array_equal(after, other_after)


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    ranks=st.integers(1, 9),
    whole=st.booleans(),
)
def test_slices_cover_an_arena_in_order(sizes: list[int], ranks: int, whole: bool) -> None:
    arena = Arena({str(i): Parameter(np.zeros(size)) for i, size in enumerate(sizes)})
    slices = slices_of(arena, ranks, whole_spans=whole)
    assert (slices[0].start, slices[-1].stop, len(slices)) == (0, len(arena), ranks)
    assert all(one.stop == two.start for one, two in pairwise(slices))
    stops = {0, len(arena), *(span.stop for span in arena.spans)}
    for part in slices:
        assert part.stop in stops if whole else part.stop - part.start <= -(-len(arena) // ranks)


def test_there_is_no_stage_3() -> None:
    with pytest.raises(InputError, match="stages 1 and 2 here, and 3"):
        ZeRO(3)


def test_an_optimizer_that_has_made_steps_is_not_divided() -> None:
    def job(comm: Communicator) -> None:
        model = tiny.network()
        optimizer = optim.Adam(model, 0.1)
        optimizer.step()
        with pytest.raises(InputError, match=r"has made 1 steps.*make the DataParallel first"):
            DataParallel(model, optimizer, comm, reducer=ZeRO(1))

    run_ranks(2, job)


@pytest.mark.parametrize("make", [lambda: ZeRO(1), lambda: ZeRO(2), lambda: LocalSGD(2)])
def test_an_update_past_the_parallel_is_refused(make: Callable[[], Reducer]) -> None:
    def job(comm: Communicator) -> None:
        model = tiny.network()
        optimizer = optim.SGD(model, 0.1)
        parallel = DataParallel(model, optimizer, comm, reducer=make())
        x = tiny.data(4)[0]
        parallel.zero_grad()
        parallel.backward(model(x).sum())
        optimizer.step()
        parallel.zero_grad()
        with pytest.raises(InputError, match=r"call parallel.step\(\), not optimizer"):
            parallel.backward(model(x).sum())

    run_ranks(2, job)


@pytest.mark.parametrize("name", ["zero 1", "zero 2"])
def test_zeros_may_be_written_through_the_optimizer(name: str) -> None:
    def job(comm: Communicator, through: bool) -> np.ndarray:
        model = tiny.network()
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm, reducer=REDUCERS[name]())
        for seed in range(3):
            (parallel.optimizer if through else parallel).zero_grad()
            parallel.backward(model(tiny.data(4, seed)[0]).sum())
            parallel.step()
        return model[0].weight.data.copy()

    one, other = (run_ranks(2, partial(job, through=through))[0] for through in (True, False))
    np.testing.assert_array_equal(one, other)


def test_a_backward_that_failed_leaves_nothing_behind() -> None:
    def job(comm: Communicator) -> np.ndarray:
        model = tiny.network()
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm, bucket_bytes=1)
        x = tiny.data(4)[0]
        with pytest.raises(RuntimeError, match="in the middle"):
            parallel.backward(model[2](ops.tanh(broken(model[0](x)))).sum())
        parallel.zero_grad()
        parallel.backward(model(x).sum())
        return model[0].weight.grad.copy()

    def broken(y: Any) -> Any:
        def fail(g: Any) -> None:
            raise RuntimeError("in the middle")

        y.register_hook(fail)
        return y

    model = tiny.network()
    model(tiny.data(4)[0]).sum().backward()
    for found in run_ranks(2, job):
        np.testing.assert_allclose(found, 2 * model[0].weight.grad, rtol=1e-12)


def test_callbacks_that_communicate_after_one_that_fails() -> None:
    class Fails(Callback):
        def on_epoch(self, run: tiny.Run) -> None:
            if run.comm.rank == 0:
                raise OSError(28, "No space left on device")

    class Gathers(Callback):
        def on_epoch(self, run: tiny.Run) -> None:
            run.parallel.state_dict()

    def job(comm: Communicator) -> None:
        with pytest.raises(SharedError, match="No space left"):
            tiny.train(comm, reducer=ZeRO(1), callbacks=[Fails(), Gathers()])

    run_ranks(3, job)
