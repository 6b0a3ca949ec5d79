"""The loop against a hand-written one, micro-batches, and what callbacks see and do."""

from __future__ import annotations

import inspect
import io
import json
import os
import signal
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minigrad import nn, ops, optim
from minigrad.data import DataLoader
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.errors import InputError, SharedError
from minigrad.testing import run_ranks
from minigrad.train import (
    Callback,
    DataParallel,
    EarlyStopping,
    Interrupts,
    JsonLog,
    Progress,
    Run,
    TensorBoard,
    evaluate,
    fit,
    loop,
)


def linear() -> nn.Dense:
    return nn.Dense(tiny.FEATURES, tiny.CLASSES, rng=np.random.default_rng(2), dtype="float64")


def by_hand(
    w: np.ndarray, b: np.ndarray, lr: optim.Schedule, limit: float, epochs: int
) -> list[dict[str, float]]:
    """Softmax regression by mini-batches of 8 of 29, in plain NumPy; w and b are changed."""
    x, y = tiny.data(29)
    x_test, y_test = tiny.data(9, seed=6)

    def predict(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float, int]:
        z = x @ w + b
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        return p, -np.log(p[range(len(y)), y]).sum(), (p.argmax(1) == y).sum()

    history, step = [], 0
    for epoch in range(epochs):
        loss, right, norms = 0.0, 0, []
        for batch in DataLoader(x, y, batch_size=8).epoch(epoch):
            p, batch_loss, batch_right = predict(batch.x, batch.y)
            loss, right = loss + batch_loss, right + batch_right
            delta = (p - np.eye(tiny.CLASSES)[batch.y]) / len(batch.y)
            dw, db = batch.x.T @ delta, delta.sum(0)
            norms.append(np.sqrt((dw**2).sum() + (db**2).sum()))
            scale = min(1.0, limit / (norms[-1] + 1e-6))
            w -= lr(step) * scale * dw
            b -= lr(step) * scale * db
            step += 1
        _, val_loss, val_right = predict(x_test, y_test)
        history.append(
            {
                "epoch": epoch + 1,
                "loss": loss / 29,
                "accuracy": right / 29,
                "val_loss": val_loss / 9,
                "val_accuracy": val_right / 9,
                "lr": lr(step - 1),
                "grad_norm": np.mean(norms),
            }
        )
    return history


@pytest.mark.parametrize("micro_batches", [1, 3, 8])
def test_the_loop_equals_a_hand_written_one(micro_batches: int) -> None:
    model, schedule = linear(), optim.Cosine(0.5, T=12)
    w, b = model.weight.data.copy(), model.bias.data.copy()
    run = tiny.train(
        model=model, optimizer=optim.SGD(model, schedule), epochs=3, clip_norm=0.65,
        micro_batches=micro_batches,
    )  # fmt: skip
    expected = by_hand(w, b, schedule, 0.65, 3)
    norms = [record["grad_norm"] for record in expected]
    assert min(norms) < 0.65 < max(norms)
    for record, wanted in zip(tiny.facts(run), expected, strict=True):
        assert record == pytest.approx(wanted, rel=1e-10)
    np.testing.assert_allclose(model.weight.data, w, rtol=1e-10)
    np.testing.assert_allclose(model.bias.data, b, rtol=1e-10)
    assert all(r["samples_per_s"] == pytest.approx(29 / r["seconds"]) for r in run.history)
    assert (run.epoch, run.batch, run.stop, run.optimizer.steps) == (3, 0, "", 12)


@given(
    micro_batches=st.integers(2, 9),
    batch_size=st.integers(1, 12),
    samples=st.integers(1, 25),
    optimizer=st.sampled_from(sorted(tiny.OPTIMIZERS)),
    dropout=st.sampled_from([0.0, 0.5]),
)
def test_k_micro_batches_equal_one_batch(
    micro_batches: int, batch_size: int, samples: int, optimizer: str, dropout: float
) -> None:
    options = {"batch_size": batch_size, "samples": samples, "optimizer": optimizer}
    whole = tiny.train(model=tiny.network(dropout=dropout), **options)
    cut = tiny.train(model=tiny.network(dropout=dropout), micro_batches=micro_batches, **options)
    tiny.same(cut, whole, 1e-10)


def test_validation_neither_teaches_nor_is_counted() -> None:
    with_it = tiny.train(model=tiny.network(dropout=0.3, batch_norm=True))
    without = tiny.train(model=tiny.network(dropout=0.3, batch_norm=True), validation=None)
    assert "val_loss" not in without.history[0]
    for record in with_it.history:
        del record["val_loss"], record["val_accuracy"]
    tiny.same(with_it, without)


class Recorder(Callback):
    def __init__(self) -> None:
        self.events: list[str] = []

    def on_start(self, run: Run) -> None:
        self.events.append(f"start {run.epoch}.{run.batch}")

    def on_step(self, run: Run) -> None:
        self.events.append(f"{run.epoch}.{run.batch}")
        assert run.model.training

    def on_epoch(self, run: Run) -> None:
        self.events.append(f"epoch {run.epoch} {run.history[-1]['epoch']}")

    def on_end(self, run: Run) -> None:
        self.events.append(f"end {run.stop}")


@pytest.mark.parametrize("ranks", [1, 3])
def test_samples_are_numbered_through_all_epochs(ranks: int) -> None:
    class Numbers(Callback):
        def __init__(self) -> None:
            self.seen: list[int] = []

        def on_step(self, run: Run) -> None:
            self.seen.append(run.model.context.sample)

    def job(comm: Communicator) -> list[int]:
        numbers = Numbers()
        tiny.train(comm, samples=20, batch_size=9, epochs=2, callbacks=[numbers])
        return numbers.seen

    of_rank_0 = [0, 9, 18, 20, 29, 38]
    assert (
        run_ranks(ranks, job)
        == [
            of_rank_0,
            [3, 12, 19, 23, 32, 39],
            [6, 15, 20, 26, 35, 40],
        ][:ranks]
    )


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_mode(training: bool) -> None:
    model = tiny.network(dropout=0.5).train(training)
    result = evaluate(model, tiny.LOSS, *tiny.data(9), comm=SerialCommunicator())
    assert {module.training for module in model.modules()} == {training}
    outputs = model.eval()(tiny.data(9)[0])
    assert result["loss"] == pytest.approx(tiny.LOSS(outputs, tiny.data(9)[1]).mean().item())


class StopAt(Callback):
    """Stops the run at a step, or before the first one."""

    def __init__(self, step: int, rank: int = 0) -> None:
        self.step, self.rank = step, rank

    def on_step(self, run: Run) -> None:
        if run.optimizer.steps == self.step and run.comm.rank == self.rank:
            run.stop = "enough"

    on_start = on_step


def test_when_callbacks_are_called() -> None:
    recorder = Recorder()
    tiny.train(samples=16, callbacks=[recorder], model=tiny.network().eval())
    assert recorder.events == [
        "start 0.0", "0.1", "0.2", "epoch 1 1", "1.1", "1.2", "epoch 2 2", "end ",
    ]  # fmt: skip


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize(
    ("step", "events"),
    [
        (0, ["start 0.0", "end enough"]),
        (1, ["start 0.0", "0.1", "0.2", "end enough"]),
        (3, ["start 0.0", "0.1", "0.2", "0.3", "epoch 1 1", "end enough"]),
    ],
)
def test_where_a_run_stops(ranks: int, step: int, events: list[str]) -> None:
    """One step after the wish, as that is when all ranks know, or at the end of the epoch."""

    def job(comm: Communicator) -> list[str]:
        recorder = Recorder()
        tiny.train(comm, samples=21, callbacks=[StopAt(step, ranks - 1), recorder])
        return recorder.events

    assert run_ranks(ranks, job) == [events] * ranks


def test_no_epochs_to_go() -> None:
    first = tiny.train(epochs=2)
    again = tiny.train(model=first.model, optimizer=first.optimizer, resume=first.position())
    tiny.same(first, again)
    assert first.optimizer.steps == 8


# --- callbacks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "patience", "stops_after"),
    [
        ([3, 2, 1, 0], 1, None),
        ([3, 2, 2], 1, 3),
        ([3, 2, 4, 1, 2, 2], 2, 6),
        ([1, 2, 3, 0], 3, None),
        ([1, 2, 3, 4], 3, 4),
    ],
)
def test_early_stopping(losses: list[float], patience: int, stops_after: int | None) -> None:
    run = tiny.train(epochs=0)
    stopping = EarlyStopping(patience)
    for epoch, loss in enumerate(losses, 1):
        run.history.append({"val_loss": loss})
        EarlyStopping(patience).on_epoch(run)  # it has no memory of its own
        stopping.on_epoch(run)
        assert bool(run.stop) == (epoch == stops_after)
    if stops_after:
        assert run.stop == f"val_loss has not improved for {patience} epochs"


def test_early_stopping_ends_a_run() -> None:
    model = tiny.network()
    options = {"optimizer": optim.SGD(model, optim.Constant(1e-12)), "model": model, "epochs": 50}
    run = tiny.train(callbacks=[EarlyStopping(2, key="accuracy")], **options)
    assert (run.epoch, run.stop) == (3, "accuracy has not improved for 2 epochs")
    with pytest.raises(InputError, match="patience must be at least 1 epoch, not 0"):
        EarlyStopping(0)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_is_the_history(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"

    def job(comm: Communicator) -> Run:
        return tiny.train(comm, epochs=3, callbacks=[JsonLog(path)])

    runs = run_ranks(2, job)
    assert read(path) == runs[0].history
    position = {**runs[0].position(), "history": runs[0].history[:1], "epoch": 1}
    again = tiny.train(epochs=2, resume=position, callbacks=[JsonLog(path)])
    assert read(path) == again.history
    assert len(again.history) == 2


def test_progress_in_plain_lines() -> None:
    def job(comm: Communicator) -> str:
        stream = io.StringIO()
        tiny.train(comm, callbacks=[Progress(4, stream)])
        return stream.getvalue()

    told, untold = run_ranks(2, job)
    assert untold == ""
    lines = [line.split() for line in told.splitlines()]
    title = "epoch loss accuracy val. loss val. accuracy learning rate gradient norm samples/s"
    assert lines[0] == title.split()
    assert [line[0] for line in lines[1:]] == ["1", "2"]
    assert len({len(line) for line in told.splitlines()}) == 1


def test_progress_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    tiny.train(callbacks=[Progress(4, stream)])
    assert "8/8" in stream.getvalue()
    assert stream.getvalue().count("gradient norm") == 1


def test_tensorboard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[Any] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            written.append(folder)

        def add_scalar(self, *what: Any) -> None:
            written.append(what)

        def close(self) -> None:
            written.append("closed")

    fake = types.ModuleType("tensorboardX")
    fake.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    run = tiny.train(callbacks=[TensorBoard(tmp_path)])
    scalars = [(key, value, r["epoch"]) for r in run.history for key, value in r.items()]
    assert written == [str(tmp_path), *scalars, "closed"]


class Kill(Callback):
    """Sends this process a signal after a step, or during ``on_epoch``."""

    def __init__(self, number: signal.Signals, step: int, times: int = 1) -> None:
        self.number, self.step, self.times = number, step, times

    def on_step(self, run: Run) -> None:
        if run.optimizer.steps == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_a_whole_step(number: signal.Signals) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with Interrupts() as interrupts:
        run = tiny.train(epochs=9, callbacks=[Kill(number, 5), interrupts])
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
    assert (run.stop, run.optimizer.steps, run.epoch, run.batch) == (number.name, 6, 1, 2)
    with Interrupts():
        assert signal.getsignal(number) not in before
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_second_interrupt_ends_it_at_once() -> None:
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        tiny.train(callbacks=[Kill(signal.SIGINT, 2, times=2), interrupts])


def test_fit_fits_on_one_screen() -> None:
    lines = inspect.getsource(loop.fit).partition('"""')[2].partition('"""')[2].splitlines()
    assert len(lines) < 50


def test_data_of_another_rank_are_refused() -> None:
    model = linear()
    parallel = DataParallel(model, optim.SGD(model, 0.1), SerialCommunicator())
    data = DataLoader(*tiny.data(9), batch_size=4, rank=1, size=2)
    with pytest.raises(SharedError, match=r"for rank 1 of 2, but this is rank 0 of 1.*size=comm"):
        fit(parallel, tiny.LOSS, data, epochs=1)


def test_ranks_without_a_communicator_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(InputError, match=r"several ranks were started.*distributed\.world\(\)"):
        DataParallel(linear(), optim.SGD(linear(), 0.1))


def test_a_loss_must_give_a_number_a_sample() -> None:
    model = linear()
    parallel = DataParallel(model, optim.SGD(model, 0.1), SerialCommunicator())
    data = DataLoader(*tiny.data(9), batch_size=4)
    with pytest.raises(SharedError, match=r"the loss of 4 samples has shape \(\)"):
        fit(parallel, ops.cross_entropy, data, epochs=1)
