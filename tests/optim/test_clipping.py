"""Clipping by value and by global norm (F4): what it keeps, what it bounds, what it refuses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import optim
from minigrad.errors import InputError

gradients = st.lists(
    hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-1e3, 1e3)), min_size=1, max_size=4
)
limits = st.floats(1e-2, 1e3)


@given(gradients, limits)
def test_by_norm_keeps_the_direction_bounds_the_norm_and_is_idempotent(arrays, limit):
    before = np.concatenate(arrays)
    norm = optim.clip_by_global_norm(arrays, limit)
    after = np.concatenate(arrays)
    np.testing.assert_allclose(norm, math.hypot(*before), rtol=1e-12)
    np.testing.assert_allclose(after * max(norm / limit, 1), before, 2e-6 / limit + 1e-6, 1e-300)
    assert np.linalg.norm(after) <= limit * (1 + 1e-12)
    if norm + 1e-6 <= limit:
        np.testing.assert_array_equal(after, before)
    optim.clip_by_global_norm(arrays, limit)
    np.testing.assert_allclose(np.concatenate(arrays), after, 1.1e-6 / limit, 1e-300)


@given(gradients, limits)
def test_by_value_bounds_each_element_and_is_idempotent(arrays, limit):
    before = np.concatenate(arrays)
    optim.clip_by_value(arrays, limit)
    np.testing.assert_array_equal(np.concatenate(arrays), np.clip(before, -limit, limit))


def test_e2_clipping_bounds_from_above_only_and_by_value_turns():
    """D2 §3.3 says that it prevents vanishing gradients too: a tiny one passes unchanged."""
    tiny = np.full(3, 1e-12)
    optim.clip_by_value(tiny, 1.0)
    optim.clip_by_global_norm(tiny, 1.0)
    assert (tiny == 1e-12).all()
    turned, kept = np.array([10.0, 1.0]), np.array([10.0, 1.0])
    optim.clip_by_value(turned, 1.0)
    optim.clip_by_global_norm(kept, 1.0)
    np.testing.assert_array_equal(turned, [1, 1])
    np.testing.assert_allclose(kept[0] / kept[1], 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_norm_that_is_not_finite_is_returned_and_leaves_the_gradients(bad, dtype):
    g = np.array([1.0, bad, 3.0], dtype)
    before = g.copy()
    norm = optim.clip_by_global_norm([g], 0.1)
    assert not math.isfinite(norm)
    np.testing.assert_array_equal(g, before)
    assert optim.clip_scale(norm, 0.1) == 1.0


SIZES = {
    np.float16: (0.0, 1e-5, 1.0, 1e4),
    np.float32: (0.0, 1e-42, 1e-30, 1e-15, 1.0, 1e30, 5e37),
    np.float64: (0.0, 1e-300, 1e-30, 1.0, 1e30, 1e200),
}


@pytest.mark.parametrize(("dtype", "size"), [(d, s) for d, sizes in SIZES.items() for s in sizes])
def test_global_norm_neither_overflows_nor_underflows(dtype, size):
    g = np.array([3 * size, -4 * size], dtype)
    np.testing.assert_allclose(optim.global_norm([g, g[:0]]), math.hypot(*map(float, g)), rtol=1e-6)


def test_gradients_of_every_kind(kit):
    optimizer = optim.SGD(kit.parameters(), 0.1)
    arena = optimizer.arenas[0]
    arena.grad[...] = 2
    expected = 2 * math.sqrt(arena.grad.size)
    for given_as in (arena, optimizer.arenas, arena.grad, [arena.grad], iter([arena.grad])):
        np.testing.assert_allclose(optim.global_norm(given_as), expected)
    assert optim.clip_by_global_norm(optimizer.arenas, 1.0) == pytest.approx(expected)
    assert optim.global_norm(arena) == pytest.approx(1.0, abs=1e-6)
    optim.clip_by_value(arena, 0.01)
    assert (arena.grad == 0.01).all()


def test_clipping_can_be_folded_into_the_step(kit):
    folded, apart = (optim.SGD(kit.parameters(), 0.1) for _ in range(2))
    for optimizer in (folded, apart):
        kit.set_gradients(optimizer, kit.random_gradients(0, optimizer))
    folded.step(scale=optim.clip_scale(optim.global_norm(folded.arenas), 0.5))
    optim.clip_by_global_norm(apart.arenas, 0.5)
    apart.step()
    np.testing.assert_array_equal(folded.arenas[0].data, apart.arenas[0].data)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_limits_must_be_positive(limit):
    for clip in (optim.clip_by_value, optim.clip_by_global_norm):
        with pytest.raises(InputError, match="but must be a number above 0"):
            clip([np.ones(2)], limit)


@pytest.mark.parity
@pytest.mark.parametrize("limit", [0.5, 1e3])
def test_pytorch_parity(limit):
    torch = pytest.importorskip("torch")
    arrays = [np.random.default_rng(i).standard_normal((4, i + 1)) for i in range(3)]
    tensors = [torch.zeros(array.shape, dtype=torch.float64) for array in arrays]
    for tensor, array in zip(tensors, arrays):
        tensor.grad = torch.tensor(array)
    norm = optim.clip_by_global_norm(arrays, limit)
    np.testing.assert_allclose(norm, torch.nn.utils.clip_grad_norm_(tensors, limit), rtol=1e-12)
    for tensor, array in zip(tensors, arrays):
        np.testing.assert_allclose(array, tensor.grad.numpy(), rtol=1e-12)
    optim.clip_by_value(arrays, limit / 10)
    torch.nn.utils.clip_grad_value_(tensors, limit / 10)
    for tensor, array in zip(tensors, arrays):
        np.testing.assert_allclose(array, tensor.grad.numpy(), rtol=1e-12)
