"""The gradient of an embedding: np.add.at to the last bit, whoever runs first."""

from __future__ import annotations

import numpy as np
import pytest
from harness import KINDS, SPECIAL, at, on, values
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor, ops
from minigrad.kernels import reference


@pytest.mark.parametrize("where", KINDS)
@settings(max_examples=25)
@given(
    n=st.sampled_from([1, 2, 31, 32, 33, 255, 257]),
    features=st.sampled_from([1, 3, 8, 31, 64, 65]),
    words=st.sampled_from([1, 2, 40, 1000]),
    dtype=st.sampled_from(["float32", "float64"]),
    length=st.integers(1, 40),
    offset=st.integers(0, 5),
    order=st.integers(1, 9),
)
def test_the_kernel_adds_as_numpy_does(where, n, features, words, dtype, length, offset, order):
    rng = np.random.default_rng(n)
    g = at(offset, values(rng, n * features, dtype).reshape(n, features))
    g.flat[: len(SPECIAL)] = SPECIAL[: g.size]
    ids = rng.integers(0, words, n)
    found, expected = (np.zeros((words, features), dtype) for _ in range(2))
    places = np.argsort(ids, kind="stable")
    on(
        where, "embedding_gradient", g, ids, places, found, length, -(-n // length), order=order
    )  # fmt: skip
    with np.errstate(invalid="ignore", over="ignore"):
        np.add.at(expected, ids, g)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("where", KINDS)
def test_ids_that_are_no_rows_touch_nothing(where):
    ids = np.array([5, -1, 2, 2**40])
    found = np.zeros((5, 3), np.float32)
    g = np.ones((4, 3), np.float32)
    on(where, "embedding_gradient", g, ids, np.argsort(ids, kind="stable"), found, 1, 4)
    assert found.sum() == found[2].sum() == 3


@pytest.mark.parametrize("shape", [(4096,), (64, 40), (3,), (0,), ()])
def test_the_op_with_kernels_equals_the_op_without(shape):
    rng = np.random.default_rng(0)
    W, ids = rng.normal(size=(500, 40)).astype(np.float32), rng.integers(0, 500, shape)
    g = rng.normal(size=(*shape, 40)).astype(np.float32)

    def results(times):
        weight = Tensor(W, requires_grad=True)
        weight.grad = None  # a buffer of zeros, which the rule may write to
        for _ in range(times):
            ops.embedding(weight, ids).backward(g)
        return weight.grad

    for times in (1, 2):
        with reference():
            expected = results(times)
        np.testing.assert_array_equal(results(times), expected)
