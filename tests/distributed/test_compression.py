"""What compression loses, keeps and sends: against the exact sum over the ranks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from mpirun import mpirun

from minigrad.arena import Arena, Span
from minigrad.backend import Array
from minigrad.distributed import Call, Communicator, Request, Wrapper
from minigrad.distributed.compression import Float16, PowerSGD, TopK
from minigrad.distributed.reducers import Bucket, Bucketed, Compression
from minigrad.errors import InputError
from minigrad.nn import Parameter
from minigrad.testing import run_ranks

SHAPES = ((7, 9), (5,), (12, 2, 3), (3,))
MAKE: dict[str, Callable[[], Any]] = {
    "float16": Float16,
    "topk": lambda: TopK(0.1),
    "powersgd": lambda: PowerSGD(2),
}


def bucket_of(*shapes: tuple[int, ...]) -> Bucket:
    """One bucket of parameters of these shapes."""
    spans, end = [], 0
    for number, shape in enumerate(shapes):
        start, end = end, end + int(np.prod(shape))
        spans.append(Span(f"p{number}", start, end, shape))
    return Bucket(0, spans)


BUCKET = bucket_of(*SHAPES)
SIZE = BUCKET.part.stop


def gradients(ranks: int, steps: int = 1, size: int = SIZE, dtype: str = "float64") -> np.ndarray:
    """(steps, ranks, size), each step of another magnitude."""
    rng = np.random.default_rng(ranks * 100 + steps)
    scale = 10.0 ** rng.uniform(-3, 1, (steps, 1, 1))
    return (rng.normal(size=(steps, ranks, size)) * scale).astype(dtype)


def sums(
    make: Callable[[], Compression],
    given_: np.ndarray,
    bucket: Bucket = BUCKET,
    wrap: Callable[[Communicator], Communicator] = lambda comm: comm,
) -> tuple[np.ndarray, list[Any]]:
    """What the ranks' gradients (steps, ranks, n) become in each step, (steps, n), which all ranks
    agree on; and each rank's compression."""

    def job(comm: Communicator) -> tuple[np.ndarray, Any]:
        compression, found = make(), []
        for step in given_:
            gradient = step[comm.rank].copy()
            request = compression.start(wrap(comm), bucket, gradient)
            request.wait()
            request.wait()
            assert request.done()
            found.append(gradient)
        return np.array(found), compression

    results = run_ranks(given_.shape[1], job)
    for found, _ in results:
        np.testing.assert_array_equal(found.view("u1"), results[0][0].view("u1"))
    return results[0][0], [compression for _, compression in results]


# --- what arrives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [SIZE, 3, 5000])
def test_float16_is_within_rounding_of_the_sum(ranks: int, dtype: str, size: int) -> None:
    given_ = gradients(ranks, 5, size, dtype)
    found, _ = sums(Float16, given_, bucket_of((size,)))
    exact = given_.astype(np.float64).sum(1)
    # 2^-11 for each number and for the sum; subnormal where a step is much smaller than the last
    largest = abs(exact).max(1, initial=0, keepdims=True)
    before = np.maximum(largest, np.roll(largest, 1, axis=0))
    slack = 2**-11 * (abs(given_).sum(1) + abs(exact)) + (ranks + 1) * 2.0**-36 * before
    assert (abs(found - exact) <= slack).all()
    np.testing.assert_allclose(found[0], exact[0], rtol=1e-5, atol=1e-5 * largest[0, 0])
    assert (found != exact).any() == (ranks > 0)


def test_float16_does_not_lose_what_overflows() -> None:
    ones = np.ones((2, 6), "float32")
    found, (compression, _) = sums(Float16, np.stack([ones, ones * 1e3, ones * 1e3]))
    np.testing.assert_array_equal(found, [[2] * 6, [2e3] * 6, [2e3] * 6])
    assert compression.bytes_sent == 6 * (4 + (2 + 4) + 2)


def test_float16_keeps_small_gradients() -> None:
    """float16 by itself has nothing between 0 and 6e-8."""
    given_ = gradients(2, 1).repeat(2, 0).astype("float32") * np.float32(1e-20)
    found, _ = sums(Float16, given_)
    np.testing.assert_allclose(found, given_.sum(1), rtol=2e-3, atol=1e-22)


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_float16_follows_gradients_that_shrink_or_grow(factor: float) -> None:
    first = gradients(2, 1, dtype="float32")
    given_ = np.concatenate([first * np.float32(factor**step) for step in range(30)])
    found, (compression, _) = sums(Float16, given_)
    exact = given_.sum(1)
    largest = abs(exact).max(1, keepdims=True)
    np.testing.assert_allclose(found / largest, exact / largest, rtol=0, atol=2e-3)
    assert compression.bytes_sent == SIZE * (4 + 29 * 2)


@pytest.mark.parametrize("exact", [lambda: TopK(1.0), lambda: PowerSGD(7)])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_sent_whole_it_is_the_sum(exact: Callable[[], Compression], ranks: int) -> None:
    given_ = gradients(ranks, 3)
    found, _ = sums(exact, given_, bucket_of((7, 9), (5,), (8, 7), (3,), (SIZE - 127,)))
    np.testing.assert_allclose(found, given_.sum(1), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_powersgd_is_exact_for_matrices_of_its_rank(rank: int) -> None:
    """If the ranks' gradients share a column space, one step of the power method finds it."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(20, rank))
    rows = rng.normal(size=(4, 3, rank, 15))
    given_ = (columns @ rows).reshape(4, 3, -1)
    found, compressions = sums(lambda: PowerSGD(rank), given_, bucket_of((20, 15)))
    np.testing.assert_allclose(found, given_.sum(1), rtol=1e-10, atol=1e-10)
    assert compressions[0].bytes_sent == 4 * 8 * rank * (20 + 15)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_powersgd_projects_onto_what_the_power_method_has_found(rank: int) -> None:
    """Against least squares: each sum is what of ΣM lies in the space of the columns of ΣM·Q."""
    given_ = gradients(2, 4, 20 * 15).reshape(4, 2, 20, 15)
    found, _ = sums(lambda: PowerSGD(rank), given_.reshape(4, 2, -1), bucket_of((20, 15)))
    q, left = np.random.default_rng([0, 0, 0]).normal(size=(15, rank)), np.zeros((20, 15))
    for step, got in zip(given_.sum(1), found):
        m = step + left
        p = m @ q
        expected = p @ np.linalg.lstsq(p, m)[0]
        np.testing.assert_allclose(got.reshape(20, 15), expected, rtol=1e-8, atol=1e-8)
        left, q = m - expected, m.T @ p


# --- what is kept ---------------------------------------------------------------------------------


def kept(compression: Any) -> np.ndarray:
    """A rank's residual, as long as the bucket."""
    if isinstance(compression, TopK):
        return compression._residuals[0, 0]
    residual = np.zeros(SIZE)
    for matrix in compression._matrices[0, 0]:
        residual[matrix.place] = matrix.m.reshape(-1)
    return residual


@given(name=st.sampled_from(["topk", "powersgd"]), ranks=st.integers(1, 4), steps=st.integers(1, 6))
def test_what_was_sent_and_what_is_kept_make_the_gradients(
    name: str, ranks: int, steps: int
) -> None:
    given_ = gradients(ranks, steps)
    found, compressions = sums(MAKE[name], given_)
    residual = np.sum([kept(compression) for compression in compressions], 0)
    scale = abs(given_).sum()
    np.testing.assert_allclose(found.sum(0) + residual, given_.sum((0, 1)), atol=1e-14 * scale)
    assert abs(residual).max() > 1e-3 * abs(given_).max()


@pytest.mark.parametrize("name", ["topk", "powersgd"])
def test_what_is_kept_arrives_when_gradients_stop(name: str) -> None:
    given_ = gradients(2, 1)
    quiet = np.concatenate([given_, np.zeros((40, *given_.shape[1:]))])
    found, _ = sums(MAKE[name], quiet)
    np.testing.assert_allclose(found.sum(0), given_.sum((0, 1)), rtol=1e-9, atol=1e-9)


def test_powersgd_finds_a_matrix_that_was_zero_before() -> None:
    given_ = gradients(2, 2)
    given_[0] = 0
    given_[1, :, :27] = 0  # the first three rows of the first matrix, where QR of 0 points
    more = np.concatenate([given_, 0 * given_.repeat(20, 0)])
    found, _ = sums(MAKE["powersgd"], more)
    assert not found[0].any()
    np.testing.assert_allclose(found.sum(0), given_.sum((0, 1)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [2, 65])
def test_what_is_not_finite_arrives_and_does_not_stay(name: str, bad: float, at: int) -> None:
    given_ = gradients(3, 4)
    given_[1, 2, at] = bad
    found, _ = sums(MAKE[name], given_)
    assert [np.isfinite(step).all() for step in found] == [True, False, True, True]
    again, _ = sums(MAKE[name], given_[2:])
    if name == "topk" or (name == "powersgd" and at == 2):
        np.testing.assert_array_equal(found[2:], again)  # it begins anew


# --- what is sent ---------------------------------------------------------------------------------


class Noting(Wrapper):
    """Notes what is handed over, beside what must be for a receive."""

    def __init__(self, inner: Communicator, calls: list[Call]) -> None:
        super().__init__(inner)
        self.calls = calls

    def _wrap(self, inner: Communicator) -> Communicator:
        return Noting(inner, self.calls)

    def _start(self, call: Call) -> Request:
        self.calls.append(call)
        return self.inner._start(call)


def formula(name: str) -> int:
    """Bytes of a rank in one step, in float64, once it knows the scale."""
    if name == "float16":
        return 2 * SIZE
    if name == "topk":
        return round(0.1 * SIZE) * (4 + 8)
    return 8 * (2 * (7 + 9) + 2 * (12 + 6) + 5 + 3)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("ranks", [2, 3])
def test_bytes_sent(name: str, ranks: int) -> None:
    given_ = gradients(ranks, 1).repeat(4, 0)
    _, compressions = sums(MAKE[name], given_)
    whole = SIZE * 8 if name == "float16" else formula(name)  # the first time
    for compression in compressions:
        assert compression.bytes_sent == whole + 3 * formula(name)


def test_float16_sends_halves_and_no_more_than_an_all_reduce() -> None:
    """MPI would reduce float16 as float32, so nothing is left to it but copies."""
    ranks, calls = 4, [list[Call]() for _ in range(4)]
    given_ = gradients(ranks, 1, 100, "float32").repeat(2, 0)
    sums(Float16, given_, bucket_of((100,)), lambda comm: Noting(comm, calls[comm.rank]))
    for rank in range(ranks):
        first, *later = calls[rank]
        assert (first.kind, first.array.dtype) == ("all_reduce", np.float32)
        assert {call.array.dtype for call in later} == {np.dtype(np.float16)}
        sent = sum(call.array.size for call in later if call.kind == "send")
        (gathered,) = [call for call in later if call.kind == "gather_into"]
        assert sent + (ranks - 1) * gathered.counts[rank] == 2 * (ranks - 1) * 100 // ranks


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopK(0), "above 0 and at most 1: 0"),
        (lambda: TopK(1.5), "above 0 and at most 1: 1.5"),
        (lambda: PowerSGD(0), "a rank of at least 1, not 0"),
    ],
)
def test_bad_input(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


# --- in training ----------------------------------------------------------------------------------


def train(comm: Communicator | None, compression: Compression | None, **options: Any) -> tiny.Run:
    reducer = Bucketed(500, compression)
    model = tiny.network(size=12)
    return tiny.train(comm, model=model, reducer=reducer, samples=90, **options)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_training_reaches_about_the_same_loss(name: str, micro_batches: int) -> None:
    plain = train(None, None, epochs=12)
    runs = run_ranks(3, lambda c: train(c, MAKE[name](), epochs=12, micro_batches=micro_batches))
    begin, end = plain.history[0]["loss"], plain.history[-1]["loss"]
    for run in runs:
        tiny.same(run, runs[0])
        assert abs(run.history[-1]["loss"] - end) < 0.1 * (begin - end)
    assert runs[0].history[-1]["loss"] != end


def test_buckets_of_two_arenas_are_kept_apart() -> None:
    """Each of them begins at element 0."""

    def job(comm: Communicator) -> np.ndarray:
        compression = TopK(0.5)
        arenas = [Arena({"w": Parameter(np.zeros(8))}) for _ in range(2)]
        found = []
        for number, arena in enumerate(arenas):
            g: Array = np.arange(8.0) * (number + 1)
            compression.start(comm, Bucket(number, arena.spans), g).wait()
            found.append(g)
        return np.array(found)

    for found in run_ranks(2, job):
        expected = 2 * np.array([0, 0, 0, 0, 4, 5, 6, 7])
        np.testing.assert_array_equal(found, [expected, 2 * expected])


JOB = """
import numpy as np
import tiny
from test_compression import MAKE, train
from minigrad.distributed import world
from minigrad.testing import run_ranks

comm = world()
for name in MAKE:
    run = train(comm, MAKE[name]())
    threads = run_ranks(comm.size, lambda c: train(c, MAKE[name]()))
    tiny.same(run, threads[0], 1e-8)
    print(name)
"""


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_mpi_ranks_are_as_threads(ranks: int) -> None:
    here = Path(__file__).parent
    paths = os.pathsep.join((str(here), str(here.parent)))
    job = mpirun(ranks, "-c", JOB, env={"PYTHONPATH": paths})
    assert job.returncode == 0, job.stderr
    assert sorted(job.stdout.split()) == sorted([*MAKE] * ranks)
