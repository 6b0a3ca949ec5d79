"""What the benchmarks compare with is right, and what they count is so."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mpirun import ROOT

from minigrad import ops
from minigrad.backend import device_count
from minigrad.errors import InputError
from minigrad.kernels.build import compiler

if ROOT not in sys.path:
    sys.path.append(ROOT)
from benchmarks import __main__ as command
from benchmarks import gpu, machine, memory, network, optimizers, pieces, report
from benchmarks.harness import Result, Row, Spread, Times, host_clock, optional_jax
from benchmarks.memcpy import memcpy

BATCHES = network.batches(32, count=2)


def losses(*works: Any, steps: int = 5) -> np.ndarray:
    """A row a step, a column for each of ``works``; no two steps give the same loss."""
    found = np.array([[float(step()) for step in works] for _ in range(steps)])
    assert len(set(found[:, 0])) == steps
    return found


def test_the_step_by_hand_learns_as_minigrad_does() -> None:
    found = losses(network.minigrad_step(BATCHES), network.numpy_step(BATCHES))
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-6)


@pytest.mark.parity
def test_the_step_in_pytorch_learns_as_minigrad_does() -> None:
    torch = pytest.importorskip("torch")
    found = losses(network.minigrad_step(BATCHES), network.torch_step(torch, BATCHES))
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-5)


@pytest.mark.parity
@pytest.mark.filterwarnings("default")
def test_the_step_in_jax_learns_as_minigrad_does(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    pytest.importorskip("optax")
    for name in ("NPROC", "XLA_FLAGS"):  # what it sets must not outlive the test
        monkeypatch.setenv(name, "")
    libraries = optional_jax()
    assert libraries is not None
    found = losses(network.minigrad_step(BATCHES), network.jax_step(libraries, BATCHES))
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 32])
def test_only_what_a_rule_named_is_kept(rows: int) -> None:
    x, labels = network.batches(rows, count=1)[0]
    model = network.minigrad_model()
    loss = ops.cross_entropy(model(x), labels)
    hidden = sum(network.SIZES[1:-1])
    by_hand = 4 * rows * (hidden + 10 + 2)  # ReLU outputs, logits, maximum and log-sum of each row
    assert memory.kept_bytes(loss, model, [x, labels]) == by_hand == memory.by_hand(rows)
    loss.backward()
    assert memory.kept_bytes(loss, model, [x, labels]) == 0


@pytest.mark.parametrize("clip", [False, True])
def test_adamw_in_pytorch_is_minigrads(clip: bool) -> None:
    torch = pytest.importorskip("torch")
    theta, g = np.random.default_rng(0).standard_normal((2, 3, 5), np.float32)
    works = [
        optimizers.contestant("AdamW", theta, g, clip=clip),
        optimizers.contestant("AdamW", theta, g, clip=clip, form="formula"),
        optimizers.torch_adamw(torch, theta, g, clip=clip),
    ]
    found = losses(*works)
    np.testing.assert_allclose(found, found[:, :1].repeat(3, axis=1), rtol=1e-6)


@pytest.mark.parametrize("rule", optimizers.RULES)
def test_the_forms_of_a_rule_are_alike(rule: str) -> None:
    theta, g = np.random.default_rng(0).standard_normal((2, 3, 5), np.float32)
    works = [optimizers.contestant(rule, theta, g, form=form) for form in (None, "in_place")]
    found = losses(*works)
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-6)


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("length", [0, 1, 63, 64, 1000])
def test_memcpy_moves_every_byte(length: int, threads: int) -> None:
    work = memcpy(2 * length, threads)
    assert work is not None
    np.testing.assert_array_equal(work(), np.full(length, 2, np.uint8))


@pytest.mark.parametrize(
    ("goal", "at_least", "met"),
    [(None, False, None), (2, False, True), (1, False, True), (0.9, False, False),
     (2, True, False), (1, True, True), (0.9, True, True)],
)  # fmt: skip
def test_a_goal_is_a_bound_from_above_or_below(
    goal: float | None, at_least: bool, met: bool | None
) -> None:
    row = Row("x", Spread(1, 1, 1), goal=goal, at_least=at_least)
    assert row.met is met
    shown = report.table(Result("", [row]))
    assert ("≥" if at_least else "≤") in shown or goal is None
    assert ("MISSED" in shown) is (met is False)


def test_a_share_is_a_ratio_of_rates() -> None:
    times = Times({"mine": [2.0, 4.0, 8.0], "copy": [1.0, 1.0, 2.0]})
    row = times.share("mine", 30, ("copy", 20), "x", goal=0.5)
    assert row.value.median == 30 / 8 / (20 / 2)  # the rounds' shares are 3/4, 3/8, 3/8
    assert not row.met


@pytest.mark.parametrize(
    ("make", "bytes_each"),
    [
        (lambda: pieces.copy("cpu", 4 * 77 * 13), 8),
        # 4 bytes: what forward reads, what it writes, what backward reads, what it writes
        (lambda: pieces.layer_norm("cpu", 77, 13), 4 + 4 + 8 + 4),
        (lambda: pieces.dense_activation("cpu", "relu", 77, 13), 4 + 4 + 8 + 4),
        (lambda: pieces.dense_activation("cpu", "gelu", 77, 13), 4 + 4 + 8 + 4),
        (lambda: pieces.dropout("cpu", 77, 13), 4 + 4 + 4 + 4),
        (lambda: pieces.to_half("cpu", 77 * 13), 4 + 2),
        (lambda: pieces.to_float("cpu", 77 * 13), 2 + 4),
    ],
)  # fmt: skip
def test_the_bytes_of_a_piece(make: Any, bytes_each: int) -> None:
    piece = make()
    assert piece.moved == 77 * 13 * bytes_each
    assert np.isfinite(np.asarray(piece.work(), np.float64)).all()


def test_the_bytes_of_cross_entropy_are_those_of_logits_and_labels() -> None:
    piece, logits, labels = pieces.cross_entropy("cpu", 77, 13)
    assert piece.moved == 77 * 13 * (4 + 4 + 4) + 77 * (8 + 8)
    expected = ops.cross_entropy(logits, labels).item()
    np.testing.assert_allclose(float(piece.work()), expected, rtol=1e-6)


def test_what_the_gpu_is_asked_for_runs_on_a_cpu() -> None:
    torch = pytest.importorskip("torch")
    sizes = gpu.Sizes(copied=256, parameters=(3, 5), logits=(7, 11), table=(5, 9), batch=4)
    bench = gpu.Bench("cpu", sizes, host_clock, torch, rounds=2, budget=0)

    def capture(step: Any, *given: Any, warmup: int) -> Any:
        for _ in range(warmup):
            step()
        return step

    bench.optimizer()
    bench.cross_entropy()
    bench.others()
    bench.step(capture)
    goals = {row.what.split(",")[0]: row.goal for row in bench.result.rows if row.at_least}
    assert goals["AdamW"] == 0.92
    assert goals["softmax cross-entropy 7 x 11"] == 0.85
    bounds = [row.goal for row in bench.result.rows if row.goal and not row.at_least]
    assert bounds == [0.95, 0.75, 0.2]  # and 1.0 of PyTorch's graph, which a CPU has not
    assert len(bench.result.rows) == 14


def test_events_count_milliseconds() -> None:
    done: list[str] = []
    event = partial(
        SimpleNamespace,
        record=lambda: done.append("record"),
        synchronize=lambda: done.append("wait"),
    )
    cupy = SimpleNamespace(
        cuda=SimpleNamespace(Event=event, get_elapsed_time=lambda first, last: 250.0)
    )
    seconds = gpu.event_clock(cupy)(lambda: done.append("work"), 3)
    assert seconds == 0.25
    assert done == ["record", "work", "work", "work", "record", "wait"]


def test_the_record_names_card_driver_and_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    card = {"name": b"A card", "totalGlobalMem": 80}
    runtime = SimpleNamespace(
        getDeviceProperties=lambda index: card,
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 13000,
    )
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime), __version__="14.2.0")
    monkeypatch.setattr(machine, "device_count", lambda: 1)
    monkeypatch.setattr(machine, "module_for", lambda device: cupy)
    monkeypatch.setattr(machine, "_driver", lambda: "580.1")
    found = machine.describe()
    names = ("gpu", "gpu_bytes", "driver", "cuda", "driver_cuda", "cupy")
    assert [found[n] for n in names] == ["A card", 80, "580.1", "12.9", "13.0", "14.2.0"]


def test_the_full_sizes_are_those_of_the_goals() -> None:
    assert gpu.FULL.copied >= 10**9
    assert math.prod(gpu.FULL.parameters) == 10**8
    assert gpu.FULL.logits == (8192, 50257)
    assert gpu.ROUNDS >= 20


@pytest.mark.skipif(device_count() > 0, reason="needs a machine without a GPU")
def test_without_a_gpu_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="needs CuPy and a CUDA device"):
        gpu.run()
    for name in command.ONE_THREAD:  # which the command sets
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu", "--out", str(tmp_path / "results")])
    assert command.main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "results").exists()
    assert "gpu" not in command.default_names()


def test_results_of_before_are_shown_beside_those_of_now(tmp_path: Path) -> None:
    row = Row("copy", Spread(0.9, 0.8, 0.95), "", 0.92, at_least=True)
    report.write(tmp_path, "gpu", Result("a title", [replace(row, goal=None), row]))
    old = (tmp_path / "gpu.json").read_text(encoding="utf-8").replace('"at_least": true,', "")
    (tmp_path / "before.json").write_text(old.replace('"name": "gpu"', '"name": "before"'))
    report.write(tmp_path, "gpu", Result("a title", [row]))
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| gpu | copy | 0.9 (0.8 to 0.95) | ≥ 0.92 | **no** |" in page
    assert "| before | copy | 0.9 (0.8 to 0.95) |" in page
