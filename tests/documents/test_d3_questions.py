"""Article D3 §6: its questions, each answered by a small experiment."""

import numpy as np
import pytest
from answers import answered


@pytest.mark.article("Q-D3-1", code="minigrad.ask.large_model")
def test_q_d3_1_large_and_ordinary_models():
    n = answered("D3-1").numbers
    assert n["large_parameters"] > 20 * n["small_parameters"]
    assert n["large_train_error"] < n["large_test_error"] < n["small_test_error"] / 5


@pytest.mark.article("Q-D3-2", code="minigrad.ask.training_strategies")
def test_q_d3_2_training_strategies():
    """Three ways to divide a training, one result; only two of them divide the model."""
    n = answered("D3-2").numbers
    assert n["difference"] < 1e-10
    assert n["loss after"] < n["loss before"]
    parameters = 3 * (64 * 64 + 64) + 64 * 10 + 10
    assert n["one process held"] == n["data held"] == parameters
    # of each pair of layers: columns and their biases, rows and all biases
    assert n["tensor held"] == (3 * 64 * 64 + 64 * 10) / 4 + 2 * 16 + 64 + 10
    assert n["pipeline held"] == 64 * 64 + 64
    assert n["data sent"] == 2 * 3 / 4 * parameters * 8 / 1024
    assert n["mean gradient"] < 1e-12 < 0.1 < n["one gradient"]


@pytest.mark.article("Q-D3-3", code="minigrad.ask.optimisation_strategies")
def test_q_d3_3_optimisation_strategies():
    """Only L2 acts on over-fitting much; clipping bounds from above; accumulation is exact."""
    n = answered("D3-3").numbers
    saved = {name: n["nothing gap"] - n[f"{name} gap"] for name in ("clipping", "decay", "l2")}
    assert saved["l2"] > 1.5 * max(saved["clipping"], saved["decay"])
    assert n["clipped accuracy"] > n["unclipped accuracy"] + 0.3
    assert n["vanishing, clipped"] == n["vanishing"] < 1e-3
    assert n["degrees"] > 10
    assert n["difference"] < 1e-12


@pytest.mark.article("Q-D3-4", code="minigrad.ask.evaluation_metrics")
def test_q_d3_4_accuracy_misleads():
    n = answered("D3-4").numbers
    assert n["never accuracy"] == 1 - n["malignant"] / n["samples"] > 0.9
    assert n["never recall"] == n["never F1"] == 0
    assert n["never AUC"] == 0.5
    assert n["trained recall"] < 0.8 < 0.9 < n["careful recall"]
    assert n["careful accuracy"] < n["never accuracy"] <= n["trained accuracy"]
    assert n["careful AUC"] == n["trained AUC"] > 0.85


@pytest.mark.article("Q-D3-5", code="minigrad.ask.trends")
def test_q_d3_5_loss_falls_with_size_and_with_data():
    n = answered("D3-5").numbers
    assert n["largest loss"] < n["smallest loss"] / 3
    assert n["all loss"] < n["fewest loss"] / 2
    assert min(n["parameter exponent"], n["data exponent"]) > 0.2
    assert n["most compute"] == 6 * n["largest"] * n["all samples"]
    slope = np.log(n["smallest loss"] / n["largest loss"]) / np.log(n["largest"] / n["smallest"])
    assert n["parameter exponent"] == pytest.approx(slope, rel=0.3)
