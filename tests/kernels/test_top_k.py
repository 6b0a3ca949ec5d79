"""Gradient compression: the same choice as the formula, bit for bit, in every form and grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import KINDS, SPECIAL, on, values
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import InputError
from minigrad.kernels import compression, reference
from minigrad.kernels.compression import top_k

DTYPES = ["float32", "float64"]
DIGIT = 11


def expected(g: Any, residual: Any, k: int) -> tuple[Any, Any, Any]:
    """By sorting in Python: NaN first, then by magnitude, then by index."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = residual + g
    keys = [(-np.inf if np.isnan(x) else -abs(float(x)), not np.isnan(x)) for x in total]
    order = sorted(range(total.size), key=lambda i: (keys[i][1], keys[i][0], i))
    indices = np.array(sorted(order[:k]), np.int64)
    rest = total.copy()
    rest[indices] = 0
    return indices, total[indices], rest


def select(where: str, g: Any, residual: Any, k: int, blocks: int) -> tuple[Any, Any]:
    """What top_k does, launch by launch, in ``blocks`` blocks."""
    width, dtype = 8 * residual.itemsize, residual.dtype
    counts = np.full((blocks, 1 << DIGIT), 7, np.uint32)
    chosen = np.array([0, k], np.uint64)
    bits, known, added = width, 0, g
    while bits > 0:
        shift = max(0, bits - DIGIT)
        on(where, "top_k_count", residual, added, chosen, counts, known, shift)
        on(where, "top_k_digit", counts, chosen, shift, 1)
        bits, added, known = shift, None, 2**width - 2**shift
    above, same = np.full(blocks, -1), np.full(blocks, -1)
    indices, found = np.full(k, -1), np.full(k, 99, dtype)
    on(where, "top_k_tally", residual, chosen, above, same)
    on(where, "top_k_take", residual, chosen, above, same, indices, found)
    return indices, found


def check(found: tuple[Any, Any], residual: Any, wanted: tuple[Any, Any, Any]) -> None:
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_array_equal(residual, wanted[2])


def draw(seed: int, n: int, dtype: str) -> tuple[Any, Any]:
    """A gradient and a residual with ties, zeros of both signs and, sometimes, special values."""
    rng = np.random.default_rng(seed)
    g, residual = values(rng, n, dtype), values(rng, n, dtype)
    if seed % 3 == 0:
        g, residual = np.round(g), np.round(residual)
    if seed % 2 == 0 and n:
        where = rng.integers(0, n, min(n, 8))
        g[where] = rng.choice(np.array(SPECIAL, dtype), where.size)
    return g, residual


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "blocks"), [(1, 1), (32, 3), (257, 1), (700, 5)])
def test_each_launch(where: str, dtype: str, n: int, blocks: int) -> None:
    for seed, k in enumerate([1, n, (n + 1) // 2]):
        g, residual = draw(seed, n, dtype)
        wanted = expected(g, residual, k)
        with np.errstate(invalid="ignore", over="ignore"):
            check(select(where, g, residual, k, blocks), residual, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compiled", [True, False])
@given(seed=st.integers(0, 999), n=st.sampled_from([0, 1, 33, 255, 256, 2000]), data=st.data())
def test_the_chosen_and_the_rest(
    dtype: str, compiled: bool, seed: int, n: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(0, n))
    g, residual = draw(seed, n, dtype)
    wanted, before = expected(g, residual, k), g.copy()
    with pytest.MonkeyPatch.context() as patch, np.errstate(invalid="ignore", over="ignore"):
        patch.setattr(compression, "_SMALL", 0)
        patch.setattr(compression, "_SHARE", 100)
        if compiled:
            found = top_k(g, residual, k)
        else:
            with reference():
                found = top_k(g, residual, k)
    check(found, residual, wanted)
    np.testing.assert_array_equal(g, before)
    assert (found[0].dtype, found[1].dtype) == (np.int64, np.dtype(dtype))


def test_of_equal_magnitudes_the_lowest_indices_go_first() -> None:
    residual = np.zeros(3000, np.float32)
    indices, found = top_k(np.tile(np.float32([1, -1, 0.5]), 1000), residual, 5)
    assert indices.tolist() == [0, 1, 3, 4, 6]
    assert found.tolist() == [1, -1, 1, -1, 1]


def test_in_the_end_all_is_sent() -> None:
    """Error feedback: what was sent and what is left sum up to all gradients."""
    rng = np.random.default_rng(0)
    gradients = rng.integers(-8, 9, (30, 2000)).astype(np.float64)
    residual, sent = np.zeros(2000), np.zeros(2000)
    for g in gradients:
        indices, found = top_k(g, residual, 20)
        sent[indices] += found
    np.testing.assert_array_equal(sent + residual, gradients.sum(axis=0))


@pytest.mark.parametrize(
    ("g", "residual", "k", "says"),
    [
        (np.ones(3), np.ones(4), 1, r"shape \(3,\).*shape \(4,\)"),
        (np.ones(3), np.ones(3, np.float32), 1, "float64.*float32"),
        (np.ones((2, 2)), np.ones((2, 2)), 1, "1-D"),
        (np.ones(3), np.ones(3), 4, "k is 4.*from 0 to.*3"),
        (np.ones(3), np.ones(3), -1, "k is -1"),
    ],
)
def test_bad_input(g: Any, residual: Any, k: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        top_k(g, residual, k)
