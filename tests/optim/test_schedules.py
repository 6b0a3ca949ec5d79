"""Schedules: end points, monotony, the articles' formulas, PyTorch's schedulers."""

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import optim
from minigrad.errors import InputError

rates = st.floats(1e-6, 10)
lengths = st.integers(1, 1000)
steps = st.integers(0, 3000)
closed_forms = st.one_of(
    st.builds(optim.Constant, rates),
    st.builds(optim.Polynomial, rates, lengths, st.floats(0.1, 4)),
    st.builds(optim.Linear, rates, st.floats(0, 1)),
    st.builds(optim.InverseTime, rates, st.floats(0, 1)),
    st.builds(optim.StepDecay, rates, lengths, st.floats(0.01, 1)),
    st.builds(optim.Exponential, rates, st.floats(0.01, 1)),
    st.builds(optim.Cosine, rates, lengths),
)
schedules = closed_forms | st.builds(optim.Warmup, lengths, closed_forms)


@given(closed_forms, steps, steps)
def test_rates_start_at_lr_never_rise_and_are_never_negative(schedule, one, other):
    early, late = sorted((one, other))
    assert schedule(0) == pytest.approx(schedule.lr, rel=1e-15)
    assert schedule.lr * (1 + 1e-15) >= schedule(early) >= schedule(late) >= 0


@given(schedules, st.lists(steps, min_size=1, max_size=8))
def test_an_array_of_steps_gives_an_array_of_rates(schedule, many):
    np.testing.assert_allclose(schedule(np.array(many)), [schedule(t) for t in many], rtol=1e-14)
    assert type(schedule(many[0])) is float


@given(schedules)
def test_a_description_survives_json(schedule):
    described = schedule.describe()
    assert optim.schedule_from(json.loads(json.dumps(described))) == schedule


@given(rates, st.integers(1, 1000), st.floats(0.1, 4), st.integers(0, 50))
def test_polynomial_and_cosine_end_where_they_should(lr, T, alpha, beyond):
    assert optim.Polynomial(lr, T, alpha)(T + beyond) == 0
    assert optim.Cosine(lr, T)(T + beyond) == 0
    assert optim.Polynomial(lr, T, alpha, end=lr / 4)(T + beyond) == lr / 4
    assert optim.Cosine(lr, T, end=lr / 4)(T + beyond) == lr / 4


@given(rates, st.integers(1, 100), steps)
def test_warmup_reaches_the_full_rate_and_hands_over(lr, length, later):
    then = optim.Cosine(lr, 500)
    schedule = optim.Warmup(length, then)
    np.testing.assert_allclose(schedule(0), lr / length)
    np.testing.assert_allclose(schedule(length - 1), lr)
    assert schedule(length + later) == then(later)


FORMULAS = [
    (optim.Polynomial(0.1, 100, 2), 30, 0.1 * (1 - 30 / 100) ** 2),  # F5
    (optim.Linear(0.001, 0.0001), 2500, 0.001 * (1 - 0.0001 * 2500)),  # F6
    (optim.Linear(0.001, 0.0001), 10001, 0.0),  # E9: the printed form is negative from here on
    (optim.InverseTime(0.001, 0.0001), 2500, 0.001 / 1.25),  # F7
    (optim.StepDecay(1.0, 10, 0.5), 29, 0.25),
    (optim.StepDecay(1.0, 10, 0.5), 30, 0.125),
    (optim.Exponential(1.0, 0.9), 3, 0.729),
    (optim.Cosine(1.0, 10), 5, 0.5),
]


@pytest.mark.parametrize(("schedule", "step", "rate"), FORMULAS)
def test_formulas(schedule, step, rate):
    assert schedule(step) == pytest.approx(rate, rel=1e-12)


def test_plateau_lowers_the_rate_after_patience_runs_out():
    schedule = optim.ReduceOnPlateau(1.0, factor=0.5, patience=1, minimum=0.3)
    history = []
    for metric in (3.0, 2.0, 2.0, float("nan"), 2.0, 2.0, 1.0, 1.0, 1.0):
        schedule.observe(metric)
        history.append(schedule(0))
    assert history == [1.0, 1.0, 1.0, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]


BAD = [
    ({"name": "polynomial", "lr": 0.1, "T": 0}, "polynomial schedule: T is 0, but must be"),
    ({"name": "cosine", "lr": 0.1, "T": -5}, "T is -5"),
    ({"name": "cosine", "lr": 0.0, "T": 5}, "lr is 0.0"),
    ({"name": "cosine", "lr": 0.1, "T": 5, "end": -1}, "end is -1"),
    ({"name": "polynomial", "lr": 0.1, "T": 5, "alpha": 0}, "alpha is 0"),
    ({"name": "linear", "lr": 0.1, "decay": -1}, "decay is -1"),
    ({"name": "step", "lr": 0.1, "size": 0}, "size is 0, but must be a whole number above 0"),
    ({"name": "step", "lr": 0.1, "size": 2.5}, "size is 2.5"),
    ({"name": "exponential", "lr": 0.1, "gamma": 1.5}, "a factor of at most 1"),
    ({"name": "warmup", "steps": 5, "then": 0.1}, "must be a closed-form schedule"),
    ({"name": "plateau", "lr": 0.1, "factor": 1.0}, "factor is 1.0"),
    ({"name": "plateau", "lr": 0.1, "mode": "low"}, "unknown plateau schedule: mode 'low'"),
    ({"name": "cosin", "lr": 0.1}, "did you mean 'cosine'"),
    ({"name": "cosine", "lr": 0.1}, "schedule 'cosine' needs a value for T"),
    ({"name": "cosine", "lr": 0.1, "T": 5, "floor": 0}, "unknown setting of schedule 'cosine'"),
]


@pytest.mark.parametrize(("config", "message"), BAD)
def test_bad_settings_get_a_sentence(config, message):
    with pytest.raises(InputError, match=re.escape(message)):
        optim.schedule_from(config)


def test_closed_forms_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        optim.Constant(0.1).lr = 0.2


TORCH = [
    (optim.Constant(0.1), "ConstantLR", {"factor": 1.0}),
    (optim.Polynomial(0.1, 20, 2.0), "PolynomialLR", {"total_iters": 20, "power": 2.0}),
    (optim.StepDecay(0.1, 7, 0.3), "StepLR", {"step_size": 7, "gamma": 0.3}),
    (optim.Exponential(0.1, 0.9), "ExponentialLR", {"gamma": 0.9}),
    (optim.Cosine(0.1, 25, end=0.01), "CosineAnnealingLR", {"T_max": 25, "eta_min": 0.01}),
    (
        optim.Warmup(8, optim.Constant(0.1)),
        "LinearLR",
        {"start_factor": 1 / 8, "total_iters": 7},
    ),
]


@pytest.mark.parity
@pytest.mark.parametrize(("schedule", "name", "options"), TORCH)
def test_pytorch_parity(schedule, name, options):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
    for step in range(20):
        assert schedule(step) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["min", "max"])
def test_pytorch_parity_on_a_plateau(mode):
    torch = pytest.importorskip("torch")
    schedule = optim.ReduceOnPlateau(0.1, patience=2, minimum=1e-4, mode=mode)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode=mode, patience=2, min_lr=1e-4
    )
    for metric in np.random.default_rng(0).uniform(1, 2, 40):
        schedule.observe(metric)
        scheduler.step(metric)
        assert schedule(0) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
