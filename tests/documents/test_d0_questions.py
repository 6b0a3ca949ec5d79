"""The questions of article D0 §6, each answered by an experiment."""

import pytest
from answers import answered


@pytest.mark.article("Q-D0-1", code="minigrad.ask.choosing_compute")
def test_q_d0_1_how_to_choose_computing_resources():
    n = answered("D0-1").numbers
    assert n["small ms"] < n["large ms"]
    assert n["told, small"] < n["told, ranks"]
    assert n["MB"] == pytest.approx(n["told MB"], rel=1e-3)  # which leaves out where spans begin


@pytest.mark.article("Q-D0-2", code="minigrad.ask.choosing_data")
def test_q_d0_2_how_to_choose_a_data_set():
    n = answered("D0-2").numbers
    assert n["few"] < n["middle"] < n["most"]
    assert n["lacking"] < n["middle"]
    assert n["wrong"] < n["most"]


@pytest.mark.article("Q-D0-3", code="minigrad.ask.choosing_strategy")
def test_q_d0_3_how_to_choose_a_training_strategy():
    n = answered("D0-3").numbers
    assert n["short best"] <= n["short momentum"] < n["short SGD"]
    assert n["long best"] <= min(n["long momentum"], n["long momentum, decay"]) < n["short best"]


@pytest.mark.article("Q-D0-4", code="minigrad.ask.improving_performance")
def test_q_d0_4_how_to_improve_performance():
    n = answered("D0-4").numbers
    assert n["baseline"] < n["all"] - 0.1
    assert n["scaled inputs"] > 0
    gains = ("scaled inputs", "Adam", "ReLU", "more width", "rate decay", "dropout")
    total = sum(n[name] for name in gains)
    assert total == pytest.approx(100 * (n["all"] - n["baseline"]))
