"""The gradient's norm on the device, and updates that read it there."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import optim
from minigrad.errors import InputError
from minigrad.kernels import reference
from minigrad.kernels.build import compiler

FORMS = ["in_place", "formula", *(["compiled"] if compiler() else [])]
BAD = [np.nan, np.inf, -np.inf]


def both(arenas, limit):
    """The norm by kernels, where there is a compiler, and by NumPy."""
    with reference():
        plain = optim.GradientNorm(arenas, limit)
    return [optim.GradientNorm(arenas, limit), plain]


@given(
    size=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e30]),
    limit=st.sampled_from([None, 1e-3, 1.0, 1e6]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)
def test_it_equals_the_formula(kit, size, limit, dtype, seed):
    arena = optim.SGD(kit.parameters(seed, dtype, {"w": (300, 20)}), 0.1).arenas[0]
    arena.grad[...] = size * np.random.default_rng(seed).normal(size=len(arena))
    norm = math.sqrt(math.fsum(float(x) ** 2 for x in arena.grad))
    for found in both([arena], limit):
        found.measure()
        assert found.finite
        assert found.skipped == 0
        np.testing.assert_allclose(found.value, norm, rtol=1e-6 if dtype is np.float32 else 1e-12)
        expected = 1.0 if limit is None else optim.clip_scale(found.value, limit)
        assert found.scale == expected
        assert float(found) == found.value


def test_the_norm_of_several_arenas_and_its_bits(kit):
    single = kit.parameters(0, np.float32, {"a": (70, 70)})
    double = kit.parameters(1, np.float64, {"b": (9, 3)})
    arenas = optim.SGD(single | double, 0.1).arenas
    for arena in arenas:
        arena.grad[...] = arena.data
    total = math.sqrt(math.fsum(float(x) ** 2 for arena in arenas for x in arena.grad))
    for found in both(arenas, 0.5):
        np.testing.assert_allclose(found.measure().value, total, rtol=1e-6)
    assert found.measure().record.tobytes() == found.measure().record.tobytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("cls", [optim.SGD, optim.AdamW, optim.LAMB])
def test_a_step_with_a_norm_that_is_not_finite_is_skipped(kit, form, bad, cls):
    optimizer = cls(kit.parameters(), 0.1, form=form)
    norm = optim.GradientNorm(optimizer.arenas, 1.0)
    for step in range(2):  # with the norm: what it leaves behind must not be taken up either
        kit.set_gradients(optimizer, kit.random_gradients(step, optimizer))
        optimizer.step(norm=norm.measure())
    before = kit.by_name(optimizer) | optimizer.state_dict()
    optimizer.arenas[0].grad[3] = bad
    optimizer.step(norm=norm.measure(), zero_grad=True)
    after = kit.by_name(optimizer) | optimizer.state_dict()
    assert norm.skipped == 1
    assert after.pop("steps") == before.pop("steps") + 1
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    assert not optimizer.arenas[0].grad.any()
    kit.set_gradients(optimizer, kit.random_gradients(0, optimizer))
    optimizer.step(norm=norm.measure())
    assert norm.finite
    assert norm.skipped == 1
    assert any(
        (kit.by_name(optimizer)[name] != before[name]).any() for name in kit.by_name(optimizer)
    )


@pytest.mark.parametrize("form", FORMS)
def test_clipping_by_it_is_clipping_by_the_number(kit, form):
    by_number = optim.Adam(kit.parameters(), 0.1, l2=0.1, form=form)
    on_device = optim.Adam(kit.parameters(), 0.1, l2=0.1, form=form)
    norm = optim.GradientNorm(on_device.arenas, 0.5)
    for step in range(3):
        for optimizer in (by_number, on_device):
            kit.set_gradients(optimizer, kit.random_gradients(step, optimizer))
        by_number.step(scale=optim.clip_scale(optim.global_norm(by_number.arenas), 0.5))
        on_device.step(norm=norm.measure())
    for name, value in kit.by_name(by_number).items():
        np.testing.assert_allclose(kit.by_name(on_device)[name], value, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_zero_grad_in_the_update(kit, form):
    plain, zeroing = (optim.AdamW(kit.parameters(), 0.1, form=form) for _ in range(2))
    for optimizer, zero in ((plain, False), (zeroing, True)):
        kit.set_gradients(optimizer, kit.random_gradients(0, optimizer))
        count = optimizer.arenas[0].zeroed
        optimizer.step(zero_grad=zero)
        assert optimizer.arenas[0].zeroed == count + zero
        assert optimizer.arenas[0].grad.any() != zero
    for name, value in kit.by_name(plain).items():
        np.testing.assert_array_equal(kit.by_name(zeroing)[name], value)


def test_steps_with_and_without_a_norm_in_turn(kit):
    """More norms than are remembered, each with its own limit."""
    optimizers = [optim.LAMB(kit.parameters(), 0.1, form=form) for form in FORMS]
    for step in range(7):
        for optimizer in optimizers:
            kit.set_gradients(optimizer, kit.random_gradients(step, optimizer))
            norm = optim.GradientNorm(optimizer.arenas, 0.1 * (step + 1))
            optimizer.step(norm=norm.measure() if step % 2 else None)
    first, *others = (kit.by_name(optimizer) for optimizer in optimizers)
    for other in others:
        for name, value in first.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-10)


@pytest.mark.parametrize("n", [131_073, 5_000_001])
def test_the_norm_of_many_elements(kit, n):
    """More pieces than one core takes, and more than there are at most."""
    arena = optim.SGD(kit.parameters(0, np.float32, {"w": (n,)}), 0.1).arenas[0]
    for place in (0, n // 2, n - 1):
        arena.grad[...] = 0
        arena.grad[place] = 3
        assert optim.GradientNorm([arena]).measure().value == 3
    arena.grad[...] = arena.data
    expected = np.linalg.norm(arena.data.astype(float))
    np.testing.assert_allclose(optim.GradientNorm([arena]).measure().value, expected, rtol=1e-12)


def test_what_it_refuses(kit):
    optimizer = optim.SGD(kit.parameters(), 0.1)
    arenas = optimizer.arenas
    norm = optim.GradientNorm(arenas)
    with pytest.raises(InputError, match=r"not measured since the last update.*measure\(\)"):
        optimizer.step(norm=norm)
    optimizer.step(norm=norm.measure())
    with pytest.raises(InputError, match="not measured since the last update"):
        optimizer.step(norm=norm)
    with pytest.raises(InputError, match="other parameters' gradients"):
        optim.SGD(kit.parameters(), 0.1).step(norm=norm.measure())
    with pytest.raises(InputError, match=r"norm is 3\.0, but must be a GradientNorm"):
        optimizer.step(norm=3.0)
    with pytest.raises(InputError, match=r"given SGD; give it an optimizer's arenas"):
        optim.GradientNorm(optimizer)
    parameters = kit.parameters()
    old = optim.GradientNorm(optim.SGD(parameters, 0.1).arenas)
    optim.SGD(parameters, 0.1, groups={"head": {"match": "head.*", "lr": 1.0}})
    with pytest.raises(InputError, match="parameters have moved"):
        old.measure()
    with pytest.raises(InputError, match="the limit of the global norm is -1"):
        optim.GradientNorm(arenas, -1)
    with pytest.raises(InputError, match="arenas on no device"):
        optim.GradientNorm([])


def test_a_form_without_kernels_says_so(kit):
    with reference(), pytest.raises(InputError, match=r"form='compiled' was asked for.*doctor"):
        optim.SGD(kit.parameters(), 0.1, form="compiled")
