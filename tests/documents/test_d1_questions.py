"""The questions of article D1 §6, each answered by an experiment."""

import pytest
from answers import answered


@pytest.mark.article("Q-D1-1", code="minigrad.ask.training_is_slow")
def test_q_d1_1_training_is_slow():
    n = answered("D1-1").numbers
    assert n["Adam steps"] < n["SGD steps"]
    assert n["large batch steps"] < n["small batch steps"]
    # the same training, looked at every 5 steps: rounding may move it across the target
    assert abs(n["steps of one rank"] - n["steps of two ranks"]) <= 5


@pytest.mark.article("Q-D1-2", code="minigrad.ask.gradients_vanish")
def test_q_d1_2_gradients_vanish():
    answer = answered("D1-2")
    n = answer.numbers
    for name in ("tanh", "ReLU", "leaky ReLU", "PReLU"):
        assert n[f"{name}, plain"] < 1e-9
        assert n[f"{name}, scaled"] > 1e-2
    assert n["sigmoid, plain"] < n["sigmoid, scaled"] < 1e-9
    assert "not borne out" in answer.en[2]
    assert "并不成立" in answer.zh[2]
