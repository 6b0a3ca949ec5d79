"""Dropout: its expectation, its scale, and masks that belong to samples, not to calls."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import InputError, Tensor, nn, ops
from minigrad.testing import check_grads


def layer(rate: float = 0.4, seed: int = 0) -> nn.Dropout:
    return nn.Dropout(rate, rng=np.random.default_rng(seed))


def mask(dropout: nn.Dropout, rows: int, *shape: int, first: int = 0) -> np.ndarray:
    dropout.context.seek(first)
    return dropout(np.ones((rows, *shape))).data


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_scale_and_expectation(rate: float) -> None:
    n = 40_000
    kept = mask(layer(rate), n // 10, 10)
    assert set(np.unique(kept)) == {0.0, 1 / (1 - rate)}
    five_sigma = 5 * np.sqrt(rate / (1 - rate) / n)
    assert abs(kept.mean() - 1) < five_sigma
    assert (abs(kept.mean(0) - 1) < five_sigma * np.sqrt(10)).all()


@given(
    cuts=st.lists(st.integers(0, 30), max_size=4),
    shape=st.sampled_from([(), (1,), (3,), (8,), (17,), (2, 3, 2)]),
    start=st.integers(0, 2**40),
)
def test_a_sample_is_masked_alike_however_the_batch_is_cut(
    cuts: list[int], shape: tuple[int, ...], start: int
) -> None:
    dropout = layer()
    whole = mask(dropout, 30, *shape, first=start)
    ends = [0, *sorted(cuts), 30]
    pairs = list(pairwise(ends))
    parts = [mask(dropout, b - a, *shape, first=start + a) for a, b in reversed(pairs)]
    np.testing.assert_array_equal(np.concatenate(parts[::-1]), whole)


def test_each_use_in_a_forward_has_a_mask_of_its_own() -> None:
    dropout = layer(0.5)
    first, second = mask(dropout, 4000, 9), dropout(np.ones((4000, 9))).data
    assert abs(((first - 1) * (second - 1)).mean()) < 5 / np.sqrt(first.size)
    np.testing.assert_array_equal(mask(dropout, 4000, 9), first)
    np.testing.assert_array_equal(dropout(np.ones((4000, 9))).data, second)


def test_samples_features_and_layers_are_independent() -> None:
    rng = np.random.default_rng(0)
    one, two = nn.Dropout(0.5, rng=rng), nn.Dropout(0.5, rng=rng)
    a, b = mask(one, 4000, 9) - 1, mask(two, 4000, 9) - 1
    pairs = [a * b, a[1:] * a[:-1], a[:, 1:] * a[:, :-1], a[9:, 0] * a[:-9, 0]]
    assert all(abs(pair.mean()) < 5 / np.sqrt(pair.size) for pair in pairs)


def test_evaluation_and_rate_zero_change_nothing() -> None:
    x = np.random.default_rng(3).normal(size=(6, 5))
    np.testing.assert_array_equal(layer().eval()(x).data, x)
    np.testing.assert_array_equal(layer(0.0)(x).data, x)


def test_the_same_key_gives_the_same_masks() -> None:
    one, two = layer(seed=1), layer(seed=2)
    assert (mask(one, 9, 9) != mask(two, 9, 9)).any()
    two.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(mask(one, 9, 9), mask(two, 9, 9))
    np.testing.assert_array_equal(mask(layer(seed=1), 9, 9), mask(one, 9, 9))


def test_gradient_and_dtype() -> None:
    dropout = layer()

    def seeking(x: Tensor) -> Tensor:
        dropout.context.seek(5)
        return dropout(x)

    check_grads(seeking, np.random.default_rng(0).normal(size=(4, 3)))
    assert dropout(np.ones((2, 2), np.float32)).dtype == np.float32


@pytest.mark.parametrize("shape", [(7,), (5, 9), (4, 3, 5), (2, 3, 4, 2), ()])
def test_the_op_is_linear_and_draws_the_same_mask_backward(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    check_grads(lambda x: ops.dropout(x, 0.4, (1, 2), 3), x)
    leaf = Tensor(x, requires_grad=True)
    y = ops.dropout(leaf, 0.4, (1, 2), 3)
    y.backward(np.ones(shape))
    np.testing.assert_array_equal(y.data, x * leaf.grad)


def test_its_numbers_are_those_of_every_version_before() -> None:
    dropout = layer(0.3, seed=7)
    dropout.context.seek(1000)
    for call in range(3):
        bits = np.random.Philox(key=dropout.key, counter=2000 + (call << 192)).random_raw(5 * 8)
        numbers = bits.view(np.uint32).reshape(5, 16)[:, :9] * 2.0**-32
        expected = ((numbers >= 0.3) / 0.7).astype(np.float32)
        np.testing.assert_array_equal(dropout(np.ones((5, 9), np.float32)).data, expected)


def test_no_mask_is_kept() -> None:
    x = Tensor(np.ones((64, 100), np.float32), requires_grad=True)
    y = layer()(x)
    assert y._node is not None
    assert not [a for a in y._node.kept or () if isinstance(a, np.ndarray)]


@pytest.mark.parametrize(
    ("rate", "key", "counter", "says"),
    [
        (1.0, (1, 2), 0, r"rate must be in \[0, 1\), 1.0 was given"),
        (0.5, (1, 2, 3), 0, "two integers of 64 bits"),
        (0.5, (1, 2**64), 0, "two integers of 64 bits"),
        (0.5, (1, 2), -1, "and counter one of 256"),
    ],
)
def test_what_the_op_refuses(rate: float, key: Any, counter: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        ops.dropout(np.ones(3), rate, key, counter)


def test_rate_zero_is_the_identity() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert ops.dropout(x, 0.0, (1, 2)) is x
