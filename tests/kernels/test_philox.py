"""Dropout's numbers are np.random.Philox's, bit for bit, wherever they are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from harness import KINDS, SPECIAL, at, on, values
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor, ops
from minigrad.kernels import reference

SHAPES = [(1, 1), (5, 1), (3, 7), (33, 8), (2, 31), (7, 255), (3, 256), (1, 257), (40, 9)]
WORDS = st.integers(0, 2**64 - 1)
# near the carries from one word of the counter into the next
COUNTERS = st.one_of(
    st.integers(0, 2**200), *(st.integers(2**k - 40, 2**k - 1) for k in (64, 128, 192))
)


def formula(x, rate, key, counter):
    """The mask in doubles, as the numbers are defined."""
    rows, width = x.shape
    blocks = -(-width // 8)
    bits = np.random.Philox(key=np.array(key, np.uint64), counter=counter).random_raw(
        4 * rows * blocks
    )
    numbers = bits.view(np.uint32).reshape(rows, 8 * blocks)[:, :width] * 2.0**-32
    with np.errstate(invalid="ignore", over="ignore"):
        return x * ((numbers >= rate) / (1 - rate)).astype(x.dtype)


@pytest.mark.parametrize("where", KINDS)
@settings(max_examples=25)
@given(
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(["float32", "float64"]),
    rate=st.one_of(st.floats(0.01, 0.99), st.sampled_from([0.5, 2.0**-32, 1 - 2.0**-32])),
    key=st.lists(WORDS, min_size=2, max_size=2),
    counter=COUNTERS,
    length=st.integers(1, 300),
    offset=st.integers(0, 5),
)
def test_the_kernel_draws_numpys_numbers(where, shape, dtype, rate, key, counter, length, offset):
    rng = np.random.default_rng(0)
    x = at(offset, values(rng, math.prod(shape), dtype).reshape(shape))
    x.flat[: len(SPECIAL)] = SPECIAL[: x.size]
    y = np.empty_like(x)
    words = [counter >> 64 * k & 2**64 - 1 for k in range(4)]
    blocks = -(-(shape[0] * -(-shape[1] // 8)) // length)
    limit, scale = math.ceil(rate * 2**32) - 1, 1 / (1 - rate)
    on(where, "dropout", x, y, *key, *words, limit, scale, length, blocks)
    expected = formula(x, rate, key, counter)
    np.testing.assert_array_equal(y.view(f"u{y.itemsize}"), expected.view(f"u{y.itemsize}"))


@pytest.mark.parametrize("shape", [(3000, 50), (20_000,), (100, 3, 7), (0, 3), (3, 0), ()])
def test_the_op_with_kernels_equals_the_op_without(shape):
    x = np.random.default_rng(0).normal(size=shape)

    def results():
        leaf = Tensor(x, requires_grad=True)
        y = ops.dropout(leaf, 0.3, (1, 2), 2**64 - 5)
        y.backward(x)
        return y.data, leaf.grad

    with reference():
        expected = results()
    for found, wanted in zip(results(), expected):
        np.testing.assert_array_equal(found, wanted)
