"""Initialisers: bounds, variance, fan, and the generator that is handed to them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from minigrad import nn
from minigrad.errors import InputError
from minigrad.nn.init import INITIALISERS

FAN_IN, FAN_OUT = 300, 200
VARIANCE = {"xavier": 2 / (FAN_IN + FAN_OUT), "he": 2 / FAN_IN}


def draw(name: str, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return INITIALISERS[name](np.random.default_rng(seed), (FAN_IN, FAN_OUT), dtype)


@pytest.mark.parametrize("name", INITIALISERS)
def test_mean_variance_and_bounds(name: str) -> None:
    kind, _, shape = name.partition("_")
    w, variance = draw(name), VARIANCE[kind]
    assert abs(w.mean()) < 5 * np.sqrt(variance / w.size)
    assert w.var() == pytest.approx(variance, rel=0.02)  # five standard errors
    bound = np.sqrt(3 * variance)
    if shape == "uniform":
        assert 0.999 * bound < abs(w).max() <= bound
    else:
        assert np.mean(abs(w) < np.sqrt(variance)) == pytest.approx(0.6827, abs=0.01)
        assert abs(w).max() > bound


@pytest.mark.parametrize("name", INITIALISERS)
def test_the_generator_decides(name: str) -> None:
    np.testing.assert_array_equal(draw(name, seed=3), draw(name, seed=3))
    assert (draw(name, seed=3) != draw(name, seed=4)).all()
    assert draw(name, dtype="float32").dtype == np.float32
    np.testing.assert_array_equal(draw(name, dtype="float32"), draw(name).astype("float32"))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3), ()])
def test_a_shape_without_fans(shape: tuple[int, ...]) -> None:
    says = re.escape(f"needs a shape (fan_in, fan_out), {shape} was given")
    with pytest.raises(InputError, match=says):
        INITIALISERS["he_normal"](np.random.default_rng(0), shape, "float32")


def test_equal_layers_start_differently() -> None:
    rng = np.random.default_rng(0)
    one, two = (nn.Dense(4, 4, rng=rng, init="he_normal") for _ in range(2))
    assert (one.weight.data != two.weight.data).all()
    assert not one.bias.data.any()


def test_a_function_of_ones_own() -> None:
    layer = nn.Dense(
        2, 3, rng=np.random.default_rng(0), init=lambda rng, shape, dtype: np.eye(2, 3)
    )
    np.testing.assert_array_equal(layer.weight.data, np.eye(2, 3))
