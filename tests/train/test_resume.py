"""A run that was cut goes on with the same bits; a checkpoint that does not fit is refused."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loop import StopAt

from minigrad import checkpoint, optim
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.errors import InputError
from minigrad.nn import Module
from minigrad.optim import Optimizer
from minigrad.testing import run_ranks
from minigrad.train import Checkpoints, Run, restore

MODELS = st.fixed_dictionaries(
    {"dropout": st.sampled_from([0.0, 0.4]), "batch_norm": st.booleans()}
)
OPTIONS = st.fixed_dictionaries(
    {
        "optimizer": st.sampled_from(sorted(tiny.OPTIMIZERS)),
        "micro_batches": st.integers(1, 3),
        "clip_norm": st.sampled_from([None, 0.3]),
    }
)


def cut(path: Path, comm: Communicator, model: Module, step: int, **options: Any) -> Run:
    """Train until just after ``step``, leaving a checkpoint."""
    callbacks = [StopAt(step), Checkpoints(path, {"of": "a test"})]
    return tiny.train(comm, model=model, callbacks=callbacks, epochs=3, **options)


def resumed(path: Path, comm: Communicator, model: Module, optimizer: str, **options: Any) -> Run:
    """Train to the end from a checkpoint, with a model and optimizer made anew."""
    made = tiny.OPTIMIZERS[optimizer](model)
    position = restore(path, DataParallel(model, made, comm), {"of": "a test"})
    return tiny.train(comm, model=model, optimizer=made, epochs=3, resume=position, **options)


@settings(max_examples=40)
@given(step=st.integers(1, 11), model=MODELS, options=OPTIONS)
def test_a_cut_run_has_the_same_bits(
    step: int, model: dict[str, Any], options: dict[str, Any]
) -> None:
    comm = SerialCommunicator()
    whole = tiny.train(model=tiny.network(**model), epochs=3, **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        first = cut(path, comm, tiny.network(**model), step, **options)
        assert first.optimizer.steps == step + (step % 4 != 0)  # batches an epoch: four
        second = resumed(path, comm, tiny.network(seed=7, **model), **options)
    tiny.same(second, whole)
    state, twin = second.optimizer.state_dict(), whole.optimizer.state_dict()
    assert state.keys() == twin.keys()
    for name in state:
        np.testing.assert_array_equal(state[name], twin[name], err_msg=name)


@settings(max_examples=25)
@given(
    step=st.integers(1, 11),
    before=st.integers(1, 4),
    after=st.integers(1, 4),
    model=MODELS,
    options=OPTIONS,
)
def test_on_another_number_of_ranks(
    step: int, before: int, after: int, model: dict[str, Any], options: dict[str, Any]
) -> None:
    whole = tiny.train(model=tiny.network(**model), epochs=3, **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        run_ranks(before, lambda c: cut(path, c, tiny.network(**model), step, **options))
        runs = run_ranks(after, lambda c: resumed(path, c, tiny.network(9, **model), **options))
    for run in runs:
        tiny.same(run, whole, 1e-10)
        tiny.same(run, runs[0])


def test_ranks_resume_with_the_same_bits(tmp_path: Path) -> None:
    model, options = {"dropout": 0.4, "batch_norm": True}, {"optimizer": "plateau"}
    whole = run_ranks(3, lambda c: tiny.train(c, model=tiny.network(**model), epochs=3, **options))
    path = tmp_path / "checkpoint"
    run_ranks(3, lambda c: cut(path, c, tiny.network(**model), 6, **options))
    runs = run_ranks(3, lambda c: resumed(path, c, tiny.network(9, **model), **options))
    for one, other in zip(runs, whole):
        tiny.same(one, other)


def test_the_plateau_schedule_acts_in_these_tests() -> None:
    run = tiny.train(optimizer="plateau", epochs=3)
    assert run.history[-1]["lr"] < run.history[0]["lr"]


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3]), (2, [2, 3]), (5, [3])])
def test_when_checkpoints_are_written(
    every: int, epochs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(
        checkpoint, "save", lambda path, tensors, meta: saved.append(meta["run"]["epoch"])
    )
    run_ranks(
        2, lambda c: tiny.train(c, epochs=3, callbacks=[Checkpoints(tmp_path / "x", {}, every)])
    )
    assert saved == epochs


def damage(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def flip(position: int) -> Callable[[Path], None]:
    def change(data: bytes) -> bytes:
        altered = bytearray(data)
        altered[position] ^= 1
        return bytes(altered)

    return damage(change)


def other(path: Path) -> None:
    checkpoint.save(path, {"a": np.zeros(2)}, {"some": "thing"})


SGD = tiny.OPTIMIZERS["momentum"]
UNFIT: dict[str, tuple[Callable[[Path], Any], Callable[[Module], Optimizer], dict[str, Any], str]]
UNFIT = {
    "missing": (lambda path: path.unlink(), SGD, {}, "cannot be read (No such file"),
    "truncated": (damage(lambda data: data[:-40]), SGD, {}, "is damaged: it was cut short"),
    "cut to its head": (damage(lambda data: data[:60]), SGD, {}, "its beginning is damaged"),
    "empty": (damage(lambda data: b""), SGD, {}, "is empty"),
    "a byte of a weight": (flip(-5), SGD, {}, "SHA-256 does not match"),
    "a byte of the names": (flip(900), SGD, {}, "SHA-256 does not match"),
    "a byte of the digest": (flip(80), SGD, {}, "is damaged"),
    "a pickle": (
        lambda path: path.write_bytes(pickle.dumps({"w": 1})), SGD, {}, "never loads one",
    ),
    "no run": (other, SGD, {}, "holds no training run"),
    "another optimizer": (lambda path: None, tiny.OPTIMIZERS["adam"], {}, "state of this Adam"),
    "another state": (
        lambda path: None, lambda m: optim.SGD(m, 0.1), {}, "unexpected: v/layers.0.weight",
    ),
    "another model": (
        lambda path: None, SGD, {"batch_norm": True}, "another model than this Sequential: missing",
    ),
    "another size": (lambda path: None, SGD, {"size": 7}, "shape (4, 5) given, (4, 7) expected"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_a_checkpoint_that_does_not_fit_changes_nothing(case: str, tmp_path: Path) -> None:
    spoil, optimizer_of, options, says = UNFIT[case]
    path = tmp_path / "checkpoint"
    cut(path, SerialCommunicator(), tiny.network(), 5)
    spoil(path)
    model = tiny.network(seed=3, **options)
    optimizer = optimizer_of(model)
    tiny.train(model=model, optimizer=optimizer, epochs=1)
    state = [{n: np.copy(a) for n, a in x.state_dict().items()} for x in (model, optimizer)]
    with pytest.raises(InputError) as caught:
        restore(path, DataParallel(model, optimizer))
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    for x, before in zip((model, optimizer), state):
        for name, array in x.state_dict().items():
            np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_other_settings_are_listed(tmp_path: Path) -> None:
    model = tiny.network()
    optimizer, path = SGD(model), tmp_path / "checkpoint"
    callbacks = [Checkpoints(path, {"lr": 0.1, "hidden": (3, 4), "seed": 0})]
    tiny.train(model=model, optimizer=optimizer, callbacks=callbacks)
    position = restore(path, DataParallel(model, optimizer), {"lr": 0.1, "hidden": [3, 4]})
    assert position["epoch"] == 2
    with pytest.raises(InputError) as caught:
        restore(
            path,
            DataParallel(model, optimizer),
            {"lr": 0.2, "hidden": [3, 4], "seed": 1, "new": "x"},
        )
    differences = "lr was 0.1, now 0.2; seed was 0, now 1; new was None, now 'x'; give the same"
    assert differences in str(caught.value)
