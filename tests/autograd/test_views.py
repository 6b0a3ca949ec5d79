"""Views of a leaf: a write to the leaf is noticed through them."""

import numpy as np
import pytest

from minigrad import InputError, Tensor, ops


@pytest.mark.parametrize(
    "view", [lambda w: w.T, lambda w: w.reshape(4), lambda w: w[:1], lambda w: w.T.reshape(2, 2)]
)
def test_a_write_is_noticed_through_a_view(view):
    w = Tensor(np.ones((2, 2)), requires_grad=True, name="w")
    part = view(w)
    y = (part * part).sum()
    w.data = 5
    with pytest.raises(InputError, match="'mul' kept parameter 'w'"):
        y.backward()


@pytest.mark.parametrize(
    ("f", "is_view"),
    [
        (lambda w: w.T, True),
        (lambda w: ops.einsum("ij->ji", w), True),
        (ops.flip, True),
        (lambda w: w[:1].T, True),
        (lambda w: ops.logsumexp(w, axis=1), False),
        (lambda w: w[[0, 1]], False),
        (lambda w: ops.concatenate([w, w]), False),
    ],
)
@pytest.mark.parametrize("in_arena", [False, True])
def test_views_of_a_leaf_are_known(f, is_view, in_arena):
    w = Tensor(np.ones((2, 2)), requires_grad=True)
    if in_arena:
        w._data = np.ones(6)[2:].reshape(2, 2)
    assert f(w)._node.views is (w._node if is_view else None)
