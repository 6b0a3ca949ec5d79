"""The block executor itself: what it computes, and what it objects to."""

import numpy as np
import pytest
from executor import HERE, ORDERS, Executor, ExecutorError
from hypothesis import given
from hypothesis import strategies as st

from minigrad.kernels import source

SIZES = (0, 1, 31, 32, 33, 255, 256, 257, 1000)
orders = pytest.mark.parametrize("order", ORDERS)


@pytest.fixture(scope="module")
def planted():
    """Small kernels, right ones and wrong ones."""
    with Executor(HERE / "faults") as executor:
        yield executor


@pytest.fixture(scope="module")
def kernels():
    with Executor() as executor:
        yield executor


def numbers(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@orders
@pytest.mark.parametrize("block", [32, 64, 256])
@pytest.mark.parametrize("width", [0, 1, 33, 257])
def test_block_sum_is_numpys(planted, width, block, order):
    x, total = numbers(5, width), np.full(5, np.nan)
    planted.run("sum", x, total, width, 5, grid=2, block=block, order=order)
    np.testing.assert_allclose(total, x.sum(1), rtol=1e-14, atol=1e-14)


def test_block_sum_does_not_depend_on_the_order_of_threads(planted):
    x, totals = numbers(3, 500, seed=1), np.zeros((len(ORDERS), 3))
    for order, total in zip(ORDERS, totals):
        planted.run("sum", x, total, 500, 3, grid=3, block=96, order=order)
    assert (totals == totals[0]).all()


# what is planted: (kernel, blocks and width or count, threads, what the executor says of it)
FAULTS = {
    "missing barrier": ("missing_barrier", (1,), 64, r"race on shared parts\[\d+\]: thread \d+ "),
    "off by one": ("off_by_one", (64, 1), 32, r"heap-buffer-overflow[^$]*READ of size 8"),
    "past the warp": ("past_the_warp", (1,), 32, r"calls __shfl_xor_sync for lane \d+: past"),
    "barrier for some": (
        "barrier_for_some", (40,), 64,
        r"thread \d+ waits at __syncthreads \(.*sums.cu:\d+\), which thread \d+ never reaches: "
        "it has finished",
    ),
}  # fmt: skip


@orders
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(planted, fault, order):
    kernel, counts, block, message = FAULTS[fault]
    with pytest.raises(ExecutorError, match=message) as caught:
        planted.run(kernel, numbers(64), np.zeros(1), *counts, grid=1, block=block, order=order)
    assert "sums.cu:" in str(caught.value)


# `fault` of the kernel `wrong`, and what the executor says of it
WRONG = {
    0: r"reads shared all\[0\], which nobody has written",
    1: r"thread 63 uses shared all\[64\]; it has 64 elements",
    2: r"race on shared all\[0\]: thread 0 wrote it and thread 1 wrote it",
    3: r"race on shared all\[0\]: thread 0 wrote it and thread 1 read it",
    4: r"thread 0 waits at __shfl_sync .*, which thread 16 never reaches: it has finished",
    5: r"calls __shfl_sync for lane 20, but the mask is 0000ffff",
    6: r"thread 0 waits at __syncthreads .*:\d+.*, .* thread 1 .*: it waits at __syncthreads",
    7: r"misaligned address",
    8: r"heap-buffer-overflow(.|\n)*WRITE of size 4(.|\n)*4 bytes ",
    9: r"thread 1 calls __syncwarp with a mask, 00000001, that does not name its own lane",
    10: r"race on shared all\[63\]: thread 63 wrote it and thread 0 read it",
    11: r"SEGV",
    12: r"signed integer overflow",
    13: r"race on shared all\[0\]: thread 0 added to it and thread 1 read it",
    14: r"race on shared all\[0\]: thread 0 wrote it and thread 32 read it",
}


@pytest.mark.parametrize("fault", WRONG)
def test_faults_are_told_in_a_sentence(planted, fault):
    with pytest.raises(ExecutorError, match=WRONG[fault]):
        planted.run("wrong", np.zeros(64, "int32"), fault, grid=1, block=64)


def test_a_shuffle_from_a_lane_that_does_not_exist_is_caught(planted):
    x, out = np.zeros(16, "int32"), np.zeros((8, 16), "int32")
    with pytest.raises(ExecutorError, match=r"__shfl_down_sync for lane 16, .* 16 lanes exist"):
        planted.run("lanes", x, out, 16, grid=1, block=16)


def test_a_fault_does_not_outlive_its_job(planted):
    with pytest.raises(ExecutorError):
        planted.run("off_by_one", numbers(4), np.zeros(1), 4, 1, grid=1, block=32)
    total = np.zeros(1)
    planted.run("sum", np.ones(4), total, 4, 1, grid=1, block=32)
    assert total == 4


@orders
def test_shuffles_and_votes(planted, order):
    x = np.arange(64, dtype="int32") * 7 % 50 - 3
    out = np.zeros((8, 64), "int32")
    planted.run("lanes", x, out, 64, grid=1, block=64, order=order)
    lane, warp = np.arange(64) % 32, np.arange(64) // 32 * 32
    positive = (x > 0).reshape(2, 32)
    per_warp = [
        x[warp + (lane ^ 5)],
        x[warp + 7],
        x[warp + np.where(lane < 3, lane, lane - 3)],
        x[warp + np.where(lane > 28, lane, lane + 3)],
        (positive << np.arange(32)).sum(1).astype("uint32").view("int32")[warp // 32],
        (positive.any(1) + 2 * positive.all(1))[warp // 32],
    ]
    whole = [np.full(64, positive.sum()), np.full(64, positive.any() + 2 * positive.all())]
    np.testing.assert_array_equal(out, per_warp + whole)


@orders
def test_branches_of_a_warp_shuffle_by_themselves(planted, order):
    x = np.arange(32, dtype="int32")
    planted.run("halves", x, 32, grid=1, block=32, order=order)
    lane = np.arange(32)
    np.testing.assert_array_equal(x, np.where(lane % 2, lane ^ 2, lane ^ 4))


@orders
def test_warps_synchronise_by_themselves(planted, order):
    x = np.arange(96, dtype="int32")
    planted.run("turned", x, 96, grid=1, block=96, order=order)
    np.testing.assert_array_equal(x, np.arange(96).reshape(3, 32)[:, ::-1].ravel())


@orders
def test_atomics_count(planted, order):
    x, bins = np.arange(50, dtype="int32") % 3, np.zeros(4, "int32")
    planted.run("counted", x, bins, 50, grid=2, block=64, order=order)
    np.testing.assert_array_equal(bins, 2 * np.bincount(x, minlength=4))


@orders
@pytest.mark.parametrize("grid", [1, 3])
@pytest.mark.parametrize("offset", [0, 1, 2])
@pytest.mark.parametrize("n", SIZES)
def test_each_visits_every_element_once(planted, n, offset, grid, order):
    seen, x = np.zeros(n, "uint32"), numbers(n, dtype="float32")
    options = {"grid": grid, "block": 64, "order": order, "offsets": {"x": offset}}
    expected = x + 1
    planted.run("visit", seen, x, n, **options)
    assert (seen == 1).all()
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("short", ["seen_by", "x"])
@pytest.mark.parametrize("n", [1, 4, 33])
def test_an_array_that_is_too_short_is_caught(planted, n, short):
    arrays = {"seen_by": np.zeros(n, "uint32"), "x": np.zeros(n)}
    arrays[short] = arrays[short][:-1]
    with pytest.raises(ExecutorError, match="AddressSanitizer"):
        planted.run("visit", **arrays, n=n, grid=1, block=32)


def test_one_array_given_twice_is_one_buffer(planted):
    seen = np.zeros(40, "int32")
    planted.run("counted", seen, seen, 40, grid=1, block=64)
    assert seen[0] == 40


@pytest.mark.parametrize(("grid", "block"), [(0, 32), (1, 0), (1, 1025), (1, (2, 600))])
def test_what_no_gpu_launches(planted, grid, block):
    with pytest.raises(ExecutorError, match=r"the grid is empty|a block has 1 to 1024"):
        planted.run("sum", np.zeros(1), np.zeros(1), 1, 1, grid=grid, block=block)


def test_null_pointers(planted):
    with pytest.raises(ExecutorError, match="SEGV"):
        planted.run("visit", None, np.zeros(3), 3, grid=1, block=32)
    planted.run("visit", None, None, 0, grid=1, block=32)


def adam(theta, g, m, v, h):
    """Kingma & Ba 2015, the shorter form, with L2 and decoupled decay."""
    g = h["scale"] * g + h["l2"] * theta
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    v = h["beta2"] * v + (1 - h["beta2"]) * g * g
    return h["keep"] * theta - h["eta"] * m / (np.sqrt(v) + h["epsilon"]), m, v


def hyper(**given):
    neutral = {"scale": 1, "clip_value": np.inf, "keep": 1, "beta1": 0.9, "beta2": 0.99}
    fields = source.find("adam").structs["Adam"]
    values = dict.fromkeys(fields, 0) | neutral | {"eta": 0.1, "epsilon": 1e-8} | given
    return values, np.array([values[field] for field in fields], "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    n=st.sampled_from(SIZES),
    offset=st.sampled_from([0, 1]),
    order=st.sampled_from(ORDERS),
    l2=st.sampled_from([0, 0.1]),
    zero=st.sampled_from([0, 1]),
    seed=st.integers(0, 99),
)
def test_adam_is_its_formula(kernels, dtype, n, offset, order, l2, zero, seed):
    h, packed = hyper(scale=0.5, keep=0.9, l2=l2, plain=float(l2 == 0), zero=zero)
    theta, g, m, v = numbers(4, n, dtype=dtype, seed=seed)
    v = abs(v)
    expected = adam(*(x.astype("float64") for x in (theta, g, m, v)), h)
    norm = np.array([np.nan, 1, 0, 0])
    options = {"grid": 2, "block": 32, "order": order, "offsets": {"theta": offset, "v": offset}}
    kernels.run("adam", theta, g, m, v, packed, norm, n, **options)
    tolerance = 20 * np.finfo(dtype).eps
    for got, wanted in zip((theta, m, v), expected):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    assert not (zero and g.any())
