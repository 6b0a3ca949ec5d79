"""A whole training run on real data: by the kernels, by the formulas beside them, on a GPU."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from harness import KINDS

import minigrad as mg
from minigrad import nn, ops, optim
from minigrad.data import load
from minigrad.kernels import reference

STEPS = 200
ON = [kind for kind in KINDS if kind.values != ("executor",)]


def losses(device: str = "cpu", *, by_formula: bool = False) -> np.ndarray:
    """The loss of each of 200 steps on the digits, float32: every fused piece takes part."""
    data = load("digits")
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Dense(64, 32, rng=rng, activation="relu"),
        nn.LayerNorm(32),
        nn.Dropout(0.1, rng=rng),
        nn.Dense(32, 16, rng=rng, activation="gelu"),
        nn.Dense(16, 10, rng=rng),
    ).to(device)
    found = []
    with reference() if by_formula else contextlib.nullcontext():
        optimizer = optim.AdamW(model, 1e-3)
        norm = optim.GradientNorm(optimizer.arenas, 1.0)
        for step in range(STEPS):
            rows = np.arange(32 * step, 32 * step + 32) % len(data.x_train)
            x = mg.Tensor(data.x_train[rows], device=device)
            labels = mg.Tensor(data.y_train[rows], device=device)
            model.context.seek(32 * step)
            loss = ops.cross_entropy(model(x), labels, label_smoothing=0.1)
            loss.backward()
            optimizer.step(norm=norm.measure(), zero_grad=True)
            found.append(loss.item())
    return np.array(found)


@pytest.mark.parametrize("where", ON)
def test_kernels_and_formulas_train_alike(where):
    pytest.importorskip("sklearn")
    device = "cuda:0" if where == "gpu" else "cpu"
    by_kernels, by_formulas = losses(device), losses(by_formula=True)
    assert by_kernels[-20:].mean() < 0.7 * by_kernels[:20].mean()
    np.testing.assert_allclose(by_kernels, by_formulas, atol=1e-5)
    assert (by_kernels != by_formulas).any()  # or the kernels took no part
    np.testing.assert_array_equal(losses(device), by_kernels)
