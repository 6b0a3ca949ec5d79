"""Schedules are what they promise, and run to the very bits that they say."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from exercise import exercise
from hypothesis import given, settings
from hypothesis import strategies as st
from mpirun import mpirun
from written_out import added, brought, compare

from minigrad.distributed.algorithms import (
    ALGORITHMS,
    Rates,
    Schedule,
    Transfer,
    WrittenOut,
    all_reduce,
    draw,
    draw_costs,
    explain,
    fastest,
    fit,
    lower_bound,
    predict,
    schedule,
)
from minigrad.errors import InputError
from minigrad.testing import run_ranks

DTYPES = ("float16", "float32", "float64", "int8", "int64", "bool")

names = st.sampled_from(ALGORITHMS)
ranks = st.integers(1, 9)
nodes = st.lists(st.integers(0, 2), min_size=9, max_size=9)
counts_of = ranks.flatmap(lambda p: st.lists(st.integers(0, 5), min_size=p, max_size=p))


def rounds_and_sent(name, p, n, groups):
    """By formula: the rounds of an all-reduce of many elements, and what all ranks send."""
    q = 1 << (p.bit_length() - 1)
    log, folds = q.bit_length() - 1, 2 * (p > q)
    least = 2 * (p - 1) * n
    ring = 2 * (len(set(groups)) - 1)
    deepest = max(groups.count(node) for node in groups)
    return {
        "root": (2 * (p > 1), least),
        "tree": (2 * math.ceil(math.log2(p)), least),
        "doubling": (log + folds, (q * log + 2 * (p - q)) * n),
        "ring": (2 * (p - 1), least),
        "rabenseifner": (2 * log + folds, least),
        "ordered": (2 * (p > 1), least),
        "hierarchical": (ring + 2 * math.ceil(math.log2(deepest)), least),
    }[name]


@settings(deadline=None, max_examples=60)
@given(names, ranks, st.integers(0, 40), nodes)
def test_an_all_reduce_adds_each_rank_once_and_sends_what_the_formula_says(name, p, n, groups):
    plan = all_reduce(name, p, n, groups[:p])
    plan.check()
    rounds, sent = rounds_and_sent(name, p, n, groups[:p])
    assert len(plan.rounds) == rounds if n >= p else len(plan.rounds) <= rounds
    assert sum(map(plan.elements_sent, range(p))) == sent
    assert max(map(plan.elements_sent, range(p))) >= lower_bound(p, n) - 1e-9
    assert plan.derive("all_reduce", plan.counts) == plan  # none of it is in vain


@pytest.mark.parametrize("name", ["ring", "ordered", "rabenseifner"])
@pytest.mark.parametrize("p", [1, 2, 4, 8, 3, 5, 6, 7, 9])
def test_no_rank_sends_more_than_the_lower_bound(name, p):
    plan = all_reduce(name, p, 7 * p)
    most = max(map(plan.elements_sent, range(p)))
    assert (most == lower_bound(p, 7 * p)) == (name != "rabenseifner" or p in (1, 2, 4, 8))


@settings(deadline=None, max_examples=60)
@given(names, counts_of, nodes)
def test_a_reduce_scatter_and_a_gather_are_parts_of_an_all_reduce(name, counts, groups):
    p, n = len(counts), sum(counts)
    for collective in ("reduce_scatter", "gather_into"):
        plan = schedule(name, collective, counts, groups[:p])
        plan.check()
        sent = sum(map(plan.elements_sent, range(p)))
        assert sent >= (p - 1) * n
        if name in ("ring", "ordered"):
            assert sent == (p - 1) * n
            assert len(plan.rounds) <= {"ring": p - 1, "ordered": 1}[name]


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("p", [2, 3, 5, 8, 9])
def test_which_sums_depend_on_the_place(name, p):
    plan = all_reduce(name, p, 4 * p, nodes=range(p))
    assert plan.uniform == (name not in ("ring", "hierarchical") or p == 2)
    if plan.uniform:
        scattered = schedule(name, "reduce_scatter", [1, *[0] * (p - 2), 6])
        assert {text for *_, text in scattered.sums} == {text for *_, text in plan.sums}


@settings(deadline=None, max_examples=30)
@given(names, ranks, st.integers(0, 40), nodes, st.sampled_from(["float32", "float64", "int64"]))
def test_what_runs_has_the_bits_that_the_schedule_says(name, p, n, groups, dtype):
    def rank(comm):
        comm = WrittenOut(comm, name, str(groups[comm.rank]))
        comm._runner.segment = 24  # so that a few elements are several segments
        x = brought(comm.rank, n, dtype)
        comm.all_reduce(x)
        return x

    wanted = added(all_reduce(name, p, n, groups[:p]).sums, n, p, dtype)
    for found in run_ranks(p, rank):
        assert found.tobytes() == wanted.tobytes()


@settings(deadline=None, max_examples=30)
@given(names, counts_of, nodes, st.sampled_from(DTYPES))
def test_it_does_what_the_communicator_does(name, counts, groups, dtype):
    def rank(inner):
        comm = WrittenOut(inner, name, str(groups[inner.rank]))
        comm._runner.segment = 16
        # on threads too sums are taken in rank order, so these two agree in every bit
        compare(comm, inner, counts, dtype, exact=name in ("ordered", "root"))

    run_ranks(len(counts), rank)


@pytest.mark.parametrize(("name", "p"), [("ring", 2), ("rabenseifner", 3)])
def test_it_passes_what_every_communicator_must(name, p):
    assert min(run_ranks(p, lambda inner: exercise(WrittenOut(inner, name)))) > 400


def test_several_are_under_way_at_a_time():
    def rank(inner):
        comm = WrittenOut(inner, "ring")
        comm._runner.segment = 16
        arrays = [brought(comm.rank, 50 + k, "int64") for k in range(6)]
        requests = [comm.start_all_reduce(x) for x in arrays]
        for place in np.random.default_rng(comm.rank).permutation(6):
            requests[place].wait()
            assert requests[place].done()
        assert not comm._running
        return arrays

    for found in run_ranks(4, rank):
        for k, x in enumerate(found):
            np.testing.assert_array_equal(x, sum(brought(r, 50 + k, "int64") for r in range(4)))


@pytest.mark.mpi
@pytest.mark.parametrize("n", [2, 3, 4])
def test_it_does_what_mpi_does(n):
    job = mpirun(n, str(Path(__file__).with_name("written_out.py")))
    assert (job.returncode, job.stderr) == (0, "")
    assert job.stdout.split() == ["equal"] * n


def test_half_precision_is_summed_in_single():
    def rank(inner):
        comm = WrittenOut(inner, "ring")
        x = np.array([2048.0, 1.0], np.float16)
        comm.all_reduce(x[::-1].copy() if comm.rank else x)
        big = np.full(1, 40000, np.float16)
        comm.all_reduce(big)
        y = np.array([2048.0 if comm.rank == 0 else 1.0], np.float16)
        out = np.empty(int(comm.rank == 0), np.float16)
        comm.reduce_scatter(y, out)
        return big[0], out

    found = run_ranks(3, rank)
    assert np.isinf(found[0][0])
    assert found[0][1][0] == 2050


def test_the_parts_of_a_split_are_written_out_too():
    def rank(inner):
        comm = WrittenOut(inner, "hierarchical", node="ab"[inner.rank % 2])
        part = comm.duplicate().split(comm.rank // 2, -comm.rank)
        x = np.array([10.0**comm.rank])
        part.all_reduce(x)
        return comm.nodes, part.algorithm, part.nodes, x[0]

    for number, found in enumerate(run_ranks(4, rank)):
        assert found == ((0, 1, 0, 1), "hierarchical", (0, 1), (11, 1100)[number // 2])


def test_signed_zeros_and_nans_have_the_same_bits_on_all_ranks():
    def rank(inner):
        x = np.array([0.0, -0.0, np.nan, 1.0]) if inner.rank else np.array([-0.0, 0.0, 1.0, np.nan])
        WrittenOut(inner, "doubling").all_reduce(x, "max")
        return x.tobytes()

    assert len(set(run_ranks(4, rank))) == 1


T = Transfer
GOOD = ((T(1, 0, 0, 4, "reduce"),), (T(0, 1, 0, 4, "copy"),))


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        (GOOD[:1], "rank 1 has in elements 0 to 4 the contributions 1; wanted are those of 0, 1"),
        ((GOOD[0], GOOD[0], GOOD[1]), "contributions 0+1+1"),
        ((GOOD[0], (T(0, 1, 0, 3, "copy"),)), "elements 3 to 4 the contributions 1"),
        (((T(0, 0, 0, 4, "copy"),),), "rank 0 sends to rank 0"),
        (((T(0, 2, 0, 4, "copy"),),), "rank 0 sends to rank 2, of 2 ranks"),
        (((T(0, 1, 2, 5, "copy"),),), "rank 0 sends 2:5 => 1, of 4 elements"),
        (((*GOOD[0], *GOOD[1]),), "in round 1 rank 0 sends 0:4 => 1 while"),
        (((*GOOD[0], T(1, 0, 2, 4, "copy")),), "in round 1 rank 0 gets"),
    ],
)
def test_a_wrong_schedule_is_found_out(rounds, said):
    Schedule("mine", "all_reduce", (2, 2), GOOD).check()
    with pytest.raises(InputError, match=re.escape(said)):
        Schedule("mine", "all_reduce", (2, 2), rounds).check()


def test_another_order_on_another_rank_is_found_out():
    order = ((T(0, 1, 0, 1, "reduce"), T(2, 1, 0, 1, "reduce")), (T(1, 0, 0, 1, "copy"),))
    last = Schedule("mine", "all_reduce", (1, 0, 0), (*order, (T(0, 2, 0, 1, "copy"),)))
    last.check()
    swapped = ((T(1, 2, 0, 1, "reduce"),), (T(0, 1, 0, 1, "reduce"), T(0, 2, 0, 1, "reduce")))
    rest = ((T(2, 0, 0, 1, "copy"),), (T(2, 1, 0, 1, "copy"),))
    Schedule("mine", "all_reduce", (1, 0, 0), (*swapped, *rest)).check()
    twice = ((T(0, 1, 0, 1, "reduce"), T(1, 0, 0, 1, "reduce")), (T(2, 0, 0, 1, "reduce"),))
    other = ((T(1, 2, 0, 1, "reduce"),), (T(2, 1, 0, 1, "copy"),))
    Schedule("mine", "all_reduce", (1, 0, 0), (*twice, *other)).check()
    round_three = ((T(1, 2, 0, 1, "reduce"), T(0, 1, 0, 1, "reduce")), (T(0, 2, 0, 1, "reduce"),))
    bad = Schedule("mine", "all_reduce", (1, 0, 0), (*round_three, (T(2, 0, 0, 1, "copy"),)))
    with pytest.raises(InputError, match="rank 1 has in elements 0 to 1 the contributions 0\\+1"):
        bad.check()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: all_reduce("rings", 2, 4), "did you mean 'ring'"),
        (lambda: all_reduce("ring", 0, 4), "on 0 ranks"),
        (lambda: schedule("ring", "all_reduce", [3, -1]), "give a number, 0 or above"),
        (lambda: all_reduce("hierarchical", 3, 4, [0, 1]), "2 ranks' nodes"),
        (lambda: run_ranks(1, lambda comm: WrittenOut(comm, "star")), "unknown algorithm 'star'"),
        (lambda: fit([]), "times above 0"),
        (lambda: draw_costs({}, {}, "costs.png"), "measured were none"),
        (lambda: draw(all_reduce("ring", 17, 17), "ring.png"), "17 ranks and 32 rounds"),
    ],
)
def test_mistakes_are_told(call, said):
    with pytest.raises(InputError, match=re.escape(said)):
        call()


def test_the_cost_of_a_ring_is_the_formula_of_the_books():
    alpha, beta, gamma = rates = Rates(3e-6, 2e-9, 1e-10)
    for p in range(1, 10):
        n = 4 * 100 * p
        wanted = (p - 1) * (2 * alpha + 2 * n / p * beta + n / p * gamma)
        assert math.isclose(predict(all_reduce("ring", p, n // 4), rates), wanted, abs_tol=1e-15)
        by_root = (p - 1) * (2 * (alpha + n * beta) + n * gamma)
        assert math.isclose(predict(all_reduce("root", p, n // 4), rates), by_root, abs_tol=1e-15)


def test_short_messages_are_best_doubled_and_long_ones_cut():
    rates = Rates(3e-6, 2e-9, 1e-10)
    assert fastest(8, 10, rates) == "doubling"
    assert fastest(8, 10_000_000, rates) == "rabenseifner"
    assert fastest(7, 10_000_000, rates) == "ring"


def test_rates_are_found_again():
    plans = [all_reduce(name, 4, n) for name in ALGORITHMS for n in (100, 10_000, 1_000_000)]
    for rates in (Rates(3e-6, 2e-9, 1e-10), Rates(2e-6, 0, 1e-9), Rates(0, 1e-9), Rates(1e-6, 0)):
        measured = [(plan, predict(plan, rates)) for plan in plans]
        np.testing.assert_allclose(fit(measured), rates, rtol=1e-6, atol=1e-18)


def test_a_schedule_explains_itself():
    text = explain("ring", 2, 6, "float64")
    assert text.splitlines() == [
        "ring: all_reduce of 6 elements on 2 ranks, 2 rounds (+> is added there, => replaces)",
        "round  rank 0 sends  rank 1 sends",
        "1      3:6 +> 1      0:3 +> 0",
        "2      0:3 => 1      3:6 => 0",
        "",
        "rank 0 sends 2 messages, 48 bytes, 1.00 times the lower bound",
        "rank 1 sends 2 messages, 48 bytes, 1.00 times the lower bound",
        "lower bound 2(p − 1)/p: 48 bytes for some rank",
        "elements 0:6 are 0+1",
    ]
    assert "0:5" in explain("root", 3, 5)
    assert "0 bytes" in explain("tree", 1, 0)


@pytest.mark.parametrize("name", ["ring", "rabenseifner", "hierarchical"])
def test_schedules_are_drawn(name, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    draw(all_reduce(name, 3, 6, [0, 0, 1]), tmp_path / "a.png")
    draw(schedule(name, "gather_into", (0, 1)), tmp_path / "b.png")
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert image.imread(path)[..., :3].std() > 0.05


def test_costs_are_drawn(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    points = {"ring": [(1e3, 1e-5), (1e6, 1e-3)], "MPI": [(1e3, 2e-6), (1e6, 1e-3)]}
    draw_costs(points, {"ring": [(1e3, 2e-5), (1e6, 9e-4)]}, tmp_path / "costs.png", "here")
    assert image.imread(tmp_path / "costs.png").std() > 0.01
