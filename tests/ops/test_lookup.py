"""Embedding: rows by their number, and gradients that meet in one row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import InputError, Tensor, ops
from minigrad.testing import check_grads, labels

W = np.random.default_rng(0).normal(size=(6, 3))


@given(ids=st.sampled_from([(), (1,), (5,), (2, 4), (0,), (2, 0)]).flatmap(lambda s: labels(s, 6)))
@settings(max_examples=30)
def test_value_and_gradients(ids):
    np.testing.assert_array_equal(ops.embedding(W, ids).data, W[ids])
    check_grads(lambda W: ops.embedding(W, ids), W)
    check_grads(lambda W: ops.square(ops.embedding(W, ids)), W)


@pytest.mark.parity
@pytest.mark.parametrize("ids", [[[0, 3, 3], [5, 0, 0]], np.arange(900) % 6])
def test_gradient_is_pytorchs(ids):
    torch = pytest.importorskip("torch")
    ours, theirs = Tensor(W, requires_grad=True), torch.tensor(W, requires_grad=True)
    y = ops.embedding(ours, ids)
    expected = torch.nn.functional.embedding(torch.tensor(ids), theirs)
    g = np.random.default_rng(1).normal(size=y.shape)
    y.backward(g)
    expected.backward(torch.tensor(g))
    np.testing.assert_array_equal(y.data, expected.detach())
    np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_ids_of_any_integer_dtype(dtype):
    weight = Tensor(W.astype(np.float32), requires_grad=True)
    y = ops.embedding(weight, Tensor(np.array([1, 5], dtype)))
    y.sum().backward()
    assert y.dtype == weight.grad.dtype == np.float32
    np.testing.assert_array_equal(weight.grad[:, 0], [0, 1, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("weight", "ids", "said"),
    [
        (W, [0, 6], r"id 6 is outside 0 … 5, the rows of a weight of shape \(6, 3\)"),
        (W, [[-1]], "id -1 is outside 0 … 5"),
        (W, [0.0, 1.0], "integer ids are needed, but .* ids of dtype float32"),
        (W[0], [0], r"a weight of shape \(3,\)"),
    ],
)
def test_what_is_refused(weight, ids, said):
    with pytest.raises(InputError, match=said):
        ops.embedding(weight, ids)
