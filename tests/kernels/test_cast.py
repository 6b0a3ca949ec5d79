"""float32 to float16 and back, bit for bit: no tolerance."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from harness import KINDS, SPECIAL, at, on
from hypothesis import given
from hypothesis import strategies as st

from minigrad.backend import device_count
from minigrad.errors import InputError
from minigrad.kernels import casting, kernel, reference

SIZES = [0, 1, 31, 32, 33, 255, 256, 257, 5000]
HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def to_half(x: Any, scale: float) -> Any:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return (x * np.float32(scale)).astype(np.float16)


def to_float(x: Any, scale: float) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(np.float32) * np.float32(scale)


def same_bits(a: Any, b: Any) -> None:
    """Equal to the last bit, zeros' signs included; one NaN is as good as another."""
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    bits = f"u{a.itemsize}"
    np.testing.assert_array_equal(a[~np.isnan(a)].view(bits), b[~np.isnan(b)].view(bits))


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("scale", [1.0, 2.0**-16, 3.3])
def test_every_half_widens(where: str, scale: float) -> None:
    halves = HALVES if where != "executor" else HALVES[::61].copy()
    y = np.empty(halves.size, np.float32)
    on(where, "to_float", halves.copy(), y, scale)
    same_bits(y, to_float(halves, scale))


@pytest.mark.parametrize("where", KINDS)
def test_every_half_and_the_middle_between_two_round_to_even(where: str) -> None:
    """All halves, and the float32 half-way to the next one, one below that and one above."""
    finite = np.sort(HALVES[np.isfinite(HALVES)]).astype(np.float32)
    finite = finite if where != "executor" else finite[::61]
    middle = (finite[:-1] + finite[1:]) / 2
    above, below = (np.nextafter(middle, np.float32(way)) for way in (np.inf, -np.inf))
    x = np.concatenate([finite, middle, above, below, np.float32(SPECIAL)])
    y = np.empty(x.size, np.float16)
    on(where, "to_half", x, y, 1.0)
    same_bits(y, to_half(x, 1.0))


@pytest.mark.parametrize("where", KINDS)
def test_beyond_halfs_range_is_infinity(where: str) -> None:
    x = np.float32([65504, 65519.996, 65520, -65520, 1e30])
    y = np.empty(x.size, np.float16)
    on(where, "to_half", x, y, 1.0)
    assert y.tolist() == [65504, 65504, np.inf, -np.inf, np.inf]


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("n", SIZES)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1.0, -(2.0**15), 1e-3, 1e30, 0.0]))
def test_any_floats_and_scales(where: str, n: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**32, n, np.uint32).view(np.float32)
    x = at(seed % 5, np.where(rng.random(n) < 0.5, bits, rng.normal(size=n)).astype(np.float32))
    y = at(seed % 3, np.empty(n, np.float16))
    on(where, "to_half", x, y, scale)
    same_bits(y, to_half(x, scale))
    expected = to_half(y.astype(np.float32), scale)
    back = np.empty(n, np.float32)
    on(where, "to_float", y, back, scale)
    same_bits(back, to_float(y, scale))
    on(where, "scale_half", y, scale)
    same_bits(y, expected)


@pytest.mark.parametrize("n", [5, 2000])
@pytest.mark.parametrize("compiled", [True, False])
def test_the_functions(compiled: bool, n: int) -> None:
    x = np.linspace(-3e5, 3e5, n, dtype=np.float32)
    half, back = np.empty(n, np.float16), np.empty(n, np.float32)
    with contextlib.nullcontext() if compiled else reference():
        assert casting.to_half(x, half, 0.25) is half
        same_bits(half, to_half(x, 0.25))
        assert casting.to_float(half, back, 4.0) is back
        same_bits(back, to_float(half, 4.0))
        wanted = to_half(half.astype(np.float32), -2.0)
        casting.scale_half(half, -2.0)
    same_bits(half, wanted)


@pytest.mark.parametrize("n", [5, 2000])
def test_the_functions_take_arrays_with_gaps(n: int) -> None:
    x = np.linspace(-3e5, 3e5, 2 * n, dtype=np.float32)[::-2]
    half, back = np.empty(2 * n, np.float16)[::2], np.empty(n, np.float32)
    same_bits(casting.to_half(x, half, 0.25), to_half(x, 0.25))
    same_bits(casting.to_float(half, back, 4.0), to_float(half, 4.0))
    wanted = to_half(half.astype(np.float32), -2.0)
    casting.scale_half(half, -2.0)
    same_bits(half, wanted)


@pytest.mark.parametrize("n", [5, 2000])
def test_other_dtypes_and_shapes_are_refused(n: int) -> None:
    x, half = np.ones(n, np.float32), np.ones(n, np.float16)
    for call, says in (
        (lambda: casting.to_half(half, half), r"to_half takes float32 \(n,\) and float16 \(n,\)"),
        (lambda: casting.to_half(x, half[1:]), rf"but float32 \({n},\) and float16 \({n - 1},\)"),
        (lambda: casting.to_float(half, x[:, None]), rf"float32 \({n}, 1\) came"),
        (lambda: casting.scale_half(x, 2.0), r"scale_half takes float16 \(n,\), but float32"),
    ):
        with pytest.raises(InputError, match=says):
            call()


@pytest.mark.gpu
@pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a CUDA device")
def test_more_than_two_to_the_31_elements_on_a_gpu() -> None:
    import cupy

    n = 2**31 + 3 * 1024 + 1
    if cupy.cuda.runtime.memGetInfo()[0] < 2 * n + 2**28:
        pytest.skip("needs 4.3 GiB of free device memory")
    x = cupy.ones(n, np.float16)
    k = kernel("scale_half", like=x, dtype=np.dtype("float32"))
    assert k is not None
    k(x, 3.0)
    piece = 1 << 28
    assert all(bool((x[i : i + piece] == 3).all()) for i in range(0, n, piece))
