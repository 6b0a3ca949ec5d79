"""A pipeline equals the undivided model; its schedules keep what theory says of them."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import staged
from hypothesis import example, given
from hypothesis import strategies as st
from mpirun import mpirun
from staged import PEAKS, SIZE, data, gradients, network, step, undivided

from minigrad import nn, no_grad
from minigrad.autograd import Tensor
from minigrad.distributed import Communicator
from minigrad.distributed.pipeline import (
    SCHEDULES,
    Instruction,
    Pipeline,
    Schedule,
    Slot,
    bubble,
    check,
    gantt,
    make_schedule,
    peak_activations,
    show,
    simulate,
)
from minigrad.distributed.pipeline.schedules import needs
from minigrad.distributed.pipeline.stage import balanced_cuts
from minigrad.errors import InputError, SharedError
from minigrad.testing import run_ranks

NAMES = st.sampled_from(sorted(SCHEDULES))
STAGES, MICRO_BATCHES = st.integers(1, 5), st.integers(1, 7)
# --- schedules ------------------------------------------------------------------------------------


@given(NAMES, st.integers(1, 9), st.integers(1, 20), st.floats(0.1, 5), st.floats(0.1, 5))
def test_idle_time_and_activations_are_those_of_theory(
    name: str, p: int, m: int, forward: float, backward: float
) -> None:
    schedule = make_schedule(name, p, m, warn=False)
    check(schedule)
    idle = (p - 1) / p if name == "naive" else (p - 1) / (m + p - 1)
    assert bubble(simulate(schedule, forward, backward)) == pytest.approx(idle, abs=1e-9)
    assert peak_activations(schedule) == [PEAKS[name](stage, p, m) for stage in range(p)]


@given(NAMES, STAGES, MICRO_BATCHES, st.floats(0, 3))
def test_nothing_begins_before_what_it_needs(name: str, p: int, m: int, transfer: float) -> None:
    schedule = make_schedule(name, p, m, warn=False)
    slots = simulate(schedule, 1.0, 2.0, transfer)
    ends = {slot[:2]: slot.end for slot in slots}
    assert len(ends) == len(slots) == 2 * p * m
    for stage, do, begin, end in slots:
        assert end - begin == pytest.approx({"forward": 1.0, "backward": 2.0}[do.kind])
        for other, what in needs(stage, do, p):
            assert begin >= ends[other, what] + transfer * (other != stage)
    for stage in range(p):
        own = [slot for slot in slots if slot.stage == stage]
        assert [slot.instruction for slot in own] == list(schedule[stage])
        assert all(a.end <= b.begin for a, b in itertools.pairwise(own))


def of(*texts: str) -> Schedule:
    """``of("F0 B0", "F0 B0")``: a schedule of two stages."""
    kinds: dict[str, Any] = {"F": "forward", "B": "backward"}
    return [[Instruction(kinds[do[0]], int(do[1:])) for do in text.split()] for text in texts]


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (of("F0 F1 B0 B1", "F0 B0"), "stage 1 has the forward of micro-batch 1 0 times"),
        (of("F0 B0 B0"), "stage 0 has the backward of micro-batch 0 2 times"),
        (of("B0 F0"), "never ends.*stage 0 at B0"),
        (of("F0 B0 F1 B1", "F0 F1 B0 B1"), "stage 0 at B0, stage 1 at F1"),
    ],
)
def test_check_finds_what_is_wrong(schedule: Schedule, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(schedule)


def test_a_schedule_prints() -> None:
    assert show(make_schedule("1f1b", 2, 3)) == (
        "stage 0  F0  F1  .   B0  F2  B1  .   B2\n"
        "stage 1  .   F0  B0  F1  B1  F2  B2  ."
    )  # fmt: skip
    assert show(make_schedule("gpipe", 2, 2)).splitlines()[1] == "stage 1  .   F0  F1  B1  B0  ."
    assert show(make_schedule("naive", 1, 2)) == "stage 0  F0  B0  F1  B1"
    assert show([]) == ""
    assert bubble([]) == 0


def test_few_micro_batches_warn() -> None:
    with pytest.warns(
        UserWarning, match=r"1 micro-batch on 4 pipeline stages .* 75% .* at least 4"
    ):
        assert peak_activations(make_schedule("1f1b", 4, 1)) == [1] * 4
    with pytest.warns(UserWarning, match="3 micro-batches on 4"):
        make_schedule("gpipe", 4, 3)
    make_schedule("naive", 4, 1)
    make_schedule("gpipe", 4, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gpip", 2, 2), "unknown pipeline schedule 'gpip': did you mean 'gpipe'"),
        (("gpipe", 2, 0), "2 stages and 0 micro-batches"),
        (("naive", 0, 1), "0 stages and 1 micro-batches"),
    ],
)
def test_no_schedule_of_nonsense(arguments: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_schedule(*arguments)


# --- cutting --------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 8))
def test_cuts_are_the_best_there_are(costs: list[int], stages: int) -> None:
    stages = min(stages, len(costs))

    def price(cuts: Sequence[int]) -> tuple[Any, ...]:
        parts = [sum(costs[a:b]) for a, b in itertools.pairwise([0, *cuts, len(costs)])]
        return max(parts), sum(part * part for part in parts), [-cut for cut in cuts]

    every = itertools.combinations(range(1, len(costs)), stages - 1)
    assert balanced_cuts(costs, stages) == min(every, key=price)


# --- training -------------------------------------------------------------------------------------


@given(
    STAGES, st.lists(st.integers(0, 3), min_size=1, max_size=7), NAMES, st.booleans(),
    st.integers(0, 7),
)  # fmt: skip
@example(5, [0, 0], "gpipe", False, 0)
@example(5, [2, 1, 3], "1f1b", True, 7)
def test_a_pipeline_equals_the_undivided_model(
    p: int, rows: list[int], schedule: str, tokens: bool, frozen: int
) -> None:
    wanted, model = undivided(sum(rows), tokens, frozen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        stages = run_ranks(p, lambda comm: step(comm, rows, schedule, tokens=tokens, frozen=frozen))
    assert stages[-1][0] == pytest.approx(wanted, rel=1e-12)
    names = [name for _, stage in stages for name in stage.state_dict()]
    assert sorted(names) == sorted(model.state_dict())
    found = {name: g for _, stage in stages for name, g in gradients(stage).items()}
    assert found.keys() == gradients(model).keys()
    for name, gradient in gradients(model).items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-12, atol=1e-12, err_msg=name)
    peaks = [stage.peak for _, stage in stages]
    assert peaks == [PEAKS[schedule](stage, p, len(rows)) for stage in range(p)]


def test_more_than_one_step_adds_up() -> None:
    def twice(comm: Communicator) -> dict[str, np.ndarray]:
        _, pipeline = step(comm, [2, 3], "1f1b")
        for _ in range(2):
            pipeline.run(
                [np.ones((2, 2, SIZE))] * 3,
                lambda m, y: y.sum() * (m - 1.0),
                backward=lambda tensor, gradient, last: tensor.backward(gradient),
                before=lambda m: pipeline.context.seek(0),
            )
        return gradients(pipeline)

    wanted = gradients(undivided(5)[1])
    first, second = run_ranks(2, twice)
    for name, gradient in (first | second).items():
        np.testing.assert_allclose(gradient, wanted[name], rtol=1e-9, atol=1e-12)


def test_few_micro_batches_warn_once() -> None:
    with pytest.warns(UserWarning, match="idle") as caught:
        run_ranks(3, lambda comm: step(comm, [2, 2], "gpipe"))
    assert len(caught) == 1


def test_a_gradient_goes_back_before_what_backward_does_with_the_others() -> None:
    arrived = threading.Event()

    def train(comm: Communicator) -> None:
        def backward(tensor: Tensor, gradient: Any, last: bool) -> None:
            if comm.rank == 0:
                arrived.set()
            tensor.backward(gradient)
            assert arrived.wait(10)

        Pipeline(network(), comm).run([data(2)[0]], lambda m, y: y.sum(), backward=backward)

    with pytest.warns(UserWarning, match="1 micro-batch on 2 pipeline stages"):
        run_ranks(2, train)


def test_outputs_that_do_not_depend_on_the_inputs() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Tensor(np.ones(3), requires_grad=True) * 2

    def train(comm: Communicator) -> list[float]:
        weight = nn.PReLU(dtype="float64")
        Pipeline(nn.Sequential(weight, Constant()), comm).run(
            [np.ones((1, 2))] * 2,
            lambda m, y: y.sum(),
            backward=lambda tensor, gradient, last: tensor.backward(gradient),
        )
        return [] if comm.rank else gradients(weight)["slope"].tolist()

    assert run_ranks(2, train)[0] == [0.0]


def test_the_layers_of_other_stages_are_freed() -> None:
    def freed(comm: Communicator) -> list[bool]:
        model = network()
        layers = [weakref.ref(layer) for layer in model.layers]
        pipeline = Pipeline(model, comm, cuts=[2])
        del model
        gc.collect()
        assert all(name.split(".")[0] == "layers" for name in pipeline.state_dict())
        return [layer() is None for layer in layers]

    assert run_ranks(2, freed) == [[False] * 2 + [True] * 6, [True] * 2 + [False] * 6]


class Slow(nn.Module):
    """Takes its time, forward and twice that backward, and none of the processor's."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.weight = nn.Parameter(np.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        y = x * self.weight
        time.sleep(self.seconds)
        y.register_hook(lambda g: time.sleep(2 * self.seconds))
        return y


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_measured_idle_time_is_that_of_theory(schedule: str) -> None:
    def timeline(comm: Communicator) -> list[Slot]:
        pipeline = Pipeline(nn.Sequential(*(Slow(0.01) for _ in range(3))), comm, schedule=schedule)
        pipeline.run(
            [np.ones((1, 2))] * 6,
            lambda m, y: y.sum(),
            backward=lambda tensor, gradient, last: tensor.backward(gradient),
        )
        return pipeline.timeline()

    off = []
    for _ in range(3):  # a machine that is busy with something else may take long over a sleep
        measured = run_ranks(3, timeline)
        assert measured[0] == measured[2]
        assert measured[0][0].begin == 0
        assert len(measured[0]) == 2 * 3 * 6
        off.append(abs(bubble(measured[0]) - 2 / 8))
        if off[-1] < 0.06:
            break
    assert min(off) < 0.06


# --- evaluation -----------------------------------------------------------------------------------


@given(STAGES, st.integers(0, 4), st.booleans())
def test_evaluation_gives_the_outputs_everywhere(p: int, rows: int, tokens: bool) -> None:
    x, _ = data(rows, tokens)
    wanted = network(tokens).eval()(Tensor(x)).data

    def outputs(comm: Communicator) -> list[np.ndarray]:
        pipeline = Pipeline(network(tokens), comm)
        found = [pipeline.eval()(Tensor(x))]
        with no_grad():
            found.append(pipeline.train().eval()(Tensor(x)))
        assert not any(y.requires_grad for y in found)
        return [y.data for y in found]

    for found in run_ranks(p, outputs):
        for y in found:
            assert y.dtype == wanted.dtype
            np.testing.assert_allclose(y, wanted, rtol=1e-13)


def tied() -> nn.Sequential:
    layer = nn.Dense(2, 2, rng=np.random.default_rng(0))
    return nn.Sequential(layer, nn.ReLU(), layer)


def shared_dropout() -> nn.Sequential:
    layer = nn.Dropout(rng=np.random.default_rng(0))
    return nn.Sequential(nn.Flatten(), layer, nn.Tanh(), nn.Sequential(nn.ReLU(), layer))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda c: Pipeline(nn.Sequential(nn.ReLU()), c), "2 pipeline stages .* has 1 layer, "),
        (lambda c: Pipeline(nn.Sequential(), c), "has 0 layers"),
        (lambda c: Pipeline(nn.ReLU(), c), r"nn.Sequential, but the model is a ReLU"),  # type: ignore[arg-type]
        (lambda c: Pipeline(network(), c, schedule="2f2b"), "unknown pipeline schedule '2f2b'"),
        (lambda c: Pipeline(network(), c, cuts=[]), r"cuts \[\] do not make 2 stages of 8 layers"),
        (lambda c: Pipeline(network(), c, cuts=[8]), r"1 rising layer numbers from 1 to 7"),
        (lambda c: Pipeline(network(), c, cuts=[3, 2]), r"cuts \[3, 2\]"),
        (lambda c: Pipeline(tied(), c), "layers 0 and 2 share .* in stages 0 and 1"),
        (lambda c: Pipeline(shared_dropout(), c, cuts=[2]), "layers 1 and 3 share"),
        (lambda c: Pipeline(network(), c)(data(2)[0]), r"train it with pipeline.run"),
        (lambda c: Pipeline(network(), c).eval()(Tensor(data(2)[0], True)), r"pipeline.run"),
        (
            lambda c: Pipeline(network(), c).run([], lambda m, y: y, backward=lambda *_: None),
            "no micro-batches",
        ),
    ],
)
def test_all_ranks_say_what_is_wrong(build: Any, words: str) -> None:
    def refused(comm: Communicator) -> None:
        with pytest.raises(InputError, match=words) as caught:
            build(comm)
        assert isinstance(caught.value, SharedError) or "schedule" in words

    run_ranks(2, refused)


def test_one_layer_without_state_may_be_in_two_stages() -> None:
    relu = nn.ReLU()
    x = np.array([[-1.0, 2.0]])
    model = nn.Sequential(relu, relu)
    assert (
        run_ranks(2, lambda comm: Pipeline(model, comm).eval()(Tensor(x)).data.tolist())
        == [[[0.0, 2.0]]] * 2
    )


def test_a_layer_is_named_by_its_number_in_the_whole_model() -> None:
    def wrong(comm: Communicator) -> None:
        rng = np.random.default_rng(0)
        model = nn.Sequential(nn.Dense(2, 3, rng=rng), nn.Tanh(), nn.Dense(4, 2, rng=rng))
        Pipeline(model, comm, cuts=[1]).eval()(np.ones((1, 2), np.float32))

    with pytest.raises(InputError, match=r"layer 2: Dense\(4, 2\)"):
        run_ranks(2, wrong)


def test_too_many_axes_between_stages() -> None:
    def deep(comm: Communicator) -> None:
        Pipeline(nn.Sequential(nn.ReLU(), nn.ReLU()), comm).eval()(np.ones((1,) * 9))

    with pytest.raises(InputError, match="9 axes"):
        run_ranks(2, deep)


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_of_plan_and_measurement(tmp_path: Path, suffix: str) -> None:
    planned = simulate(make_schedule("1f1b", 4, 8))
    happened = [Slot(s.stage, s.instruction, s.begin / 50, s.end / 50 + 0.003) for s in planned]
    gantt(tmp_path / f"both{suffix}", planned, happened)
    gantt(tmp_path / f"plan{suffix}", planned)
    both, plan = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("both", "plan"))
    assert both.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert len(both) > len(plan) > 5000


@pytest.mark.parametrize(
    ("name", "slots", "words"),
    [
        ("nowhere/plan.png", 1, "nowhere.*could not be written"),
        ("plan.jpgg", 1, "unknown picture format '.jpgg'"),
        ("plan.png", 0, "no slots of the what happened|no measured|there are no slots"),
    ],
)
def test_a_picture_that_cannot_be(tmp_path: Path, name: str, slots: int, words: str) -> None:
    planned = simulate(make_schedule("naive", 1, 1))
    with pytest.raises(InputError, match=words):
        gantt(tmp_path / name, planned, planned * slots)


# --- real processes -------------------------------------------------------------------------------


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_processes_equal_one(ranks: int) -> None:
    job = mpirun(ranks, staged.__file__)
    assert job.returncode == 0, job.stderr
    assert sorted(job.stdout.split("\n")) == [
        "",
        *(f"stage {rank} equals" for rank in range(ranks)),
    ]
