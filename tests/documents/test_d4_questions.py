"""Article D4 §6: its questions, each answered by a small experiment."""

import pytest
from answers import answered


@pytest.mark.article("Q-D4-1", code="minigrad.ask.slow")
def test_q_d4_1_faster_with_nothing_new_to_learn():
    """However it is written, the training is the same: so many steps, give or take a look."""
    n = answered("D4-1").numbers
    assert 0 < n["fewest steps"] <= n["most steps"] <= n["fewest steps"] + 10


@pytest.mark.article("Q-D4-2", code="minigrad.ask.inaccurate")
def test_q_d4_2_a_larger_model_and_better_features():
    n = answered("D4-2").numbers
    best = max(n["wider"], n["wider, products"])
    assert n["linear"] + 4 * n["standard error"] < min(n["wider"], n["deeper"]) <= best
    assert n["linear"] + 2 * n["standard error"] < n["linear, products"]


@pytest.mark.article("Q-D4-3", code="minigrad.ask.overfitting")
def test_q_d4_3_holding_back_helps_where_labels_are_wrong():
    n = answered("D4-3").numbers
    for way in ("l1", "l2", "dropout"):
        assert abs(n[f"{way} test"] - n["none test"]) < 0.04
        assert n[f"{way} test, wrong labels"] > n["none test, wrong labels"]
    assert n["none train, wrong labels"] > 0.85  # at most 0.8 of the labels are true
    assert n["none test, wrong labels"] < n["none test"] - 0.05


@pytest.mark.article("Q-D4-4", code="minigrad.ask.unstable")
def test_q_d4_4_adam_has_the_wider_range():
    n = answered("D4-4").numbers
    assert n["Adam decades"] > n["SGD decades"] > 0
    assert n["Adam both"] > n["SGD both"]


@pytest.mark.article("Q-D4-5", code="minigrad.ask.initialisation")
def test_q_d4_5_the_first_weights_decide():
    n = answered("D4-5").numbers
    assert max(n["ReLU zeros"], n["ReLU too small"]) < 0.2
    assert n["ReLU too large"] < n["ReLU Xavier"] < n["ReLU He"]
    assert min(n["tanh Xavier"], n["tanh He"], n["ReLU He"]) > 0.8
    assert n["Xavier ratio"] < 0.1 < n["He ratio"] < 10 < n["large ratio"]
