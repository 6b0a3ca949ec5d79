"""Which computers do I need: the cost model against counts by hand, and what the command says."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpirun import ROOT, mpirun

from minigrad import cli, nn, optim
from minigrad.distributed import Communicator, DataParallel, ZeRO
from minigrad.errors import InputError
from minigrad.plan import Job, Layout, memory, options, smallest, time
from minigrad.plan.costs import STATES, ring_pass
from minigrad.plan.search import alone, divisors, layouts
from minigrad.plan.shape import shape
from minigrad.plan.units import amount, quantity, seconds, size
from minigrad.testing import run_ranks

if ROOT not in sys.path:
    sys.path.append(ROOT)
from benchmarks.plan import alpha_beta, job_for

GB = 1e9
BIG = Job(
    parameters=7e9, layers=32, width=4096, tokens=2048, batch=1024, memory=80 * GB,
    bandwidth=50 * GB, node_bandwidth=50 * GB, latency=5e-6, flops=300e12,
)  # fmt: skip
COMMAND = [
    "plan",
    "--params",
    "7e9",
    "--ranks",
    "1024",
    "--bandwidth",
    "50GB/s",
    "--memory",
    "80GB",
]


# --- memory -------------------------------------------------------------------------------------


def held(layout: Layout, **changes: object) -> float:
    """Gigabytes of weights, gradients and state."""
    found = memory(replace(BIG, **changes), layout)
    return (found.total - found.activations) / GB


@pytest.mark.parametrize(
    ("layout", "changes", "gigabytes"),
    [
        (Layout(), {"precision": "fp32"}, 112),  # 4 + 4 + 8 bytes a parameter
        (Layout(), {"precision": "mixed"}, 112),  # 2 + 2 + 4 + 8
        (Layout(), {"precision": "fp32", "optimizer": "sgd"}, 56),
        (Layout(), {"precision": "fp32", "optimizer": "momentum"}, 84),
        (Layout(1024), {}, 112),  # a replica is no smaller
        (Layout(1024, zero=1), {"precision": "fp32"}, 56 + 56 / 1024),
        (Layout(1024, zero=2), {"precision": "fp32"}, 28 + 84 / 1024),
        (Layout(1024, zero=1), {}, 28 + 84 / 1024),
        (Layout(1024, zero=2), {}, 14 + 98 / 1024),
        (Layout(tensor=8), {}, 14),
        (Layout(tensor=8, pipeline=4), {}, 3.5),
        (Layout(2, 8, 4, 2), {}, 7 / 16 + 49 / 32),
        # Rajbhandari et al. 2020, figure 1: 7.5 billion parameters, 64 ranks
        (Layout(64), {"parameters": 7.5e9}, 120),
        (Layout(64, zero=1), {"parameters": 7.5e9}, 31.40625),
        (Layout(64, zero=2), {"parameters": 7.5e9}, 16.640625),
    ],
)
def test_parameters_gradients_and_state(layout: Layout, changes: dict, gigabytes: float) -> None:
    assert math.isclose(held(layout, **changes), gigabytes, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("layout", "changes", "expected"),
    [
        # 34 bytes per token, width and layer (Korthikanti et al. 2022, without the scores)
        (Layout(1024), {}, 34 * 2048 * 4096 * 32),
        (Layout(1024, tensor=8), {}, (10 + 24 / 8) * 2048 * 4096 * 32),
        (Layout(1024), {"precision": "fp32"}, 68 * 2048 * 4096 * 32),
        (Layout(256), {"activations": 1000}, 4000),
        (Layout(256, micro_batches=2), {"activations": 1000}, 2000),
        (Layout(256, tensor=2, pipeline=4), {"activations": 1000}, 500),
        (Layout(256, pipeline=4, micro_batches=4), {"activations": 1000}, 1000),  # 4 in flight
        (Layout(256, pipeline=2, micro_batches=4), {"activations": 1000}, 1000),  # 2 in flight
        (Layout(1000), {"activations": 1000}, 2000),  # 24 ranks have two samples
        (Layout(128, 2), {"network": "dense", "tokens": 1}, 8 * 2 * 0.75 * 4096 * 32),
    ],
)
def test_activations(layout: Layout, changes: dict, expected: float) -> None:
    found = memory(replace(BIG, **changes), layout).activations
    assert math.isclose(found, expected, rel_tol=1e-12)


@pytest.mark.parametrize("zero", [0, 1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize(("name", "rule"), [("adam", optim.Adam), ("sgd", optim.SGD)])
def test_what_minigrad_really_holds(name: str, rule: type, ranks: int, zero: int) -> None:
    def nbytes(comm: Communicator) -> tuple[int, int]:
        model = nn.Dense(15, 16, rng=np.random.default_rng(0))
        optimizer = rule(model, 0.1)
        if zero and ranks > 1:
            DataParallel(model, optimizer, comm, reducer=ZeRO(zero))
        return sum(arena.data.nbytes for arena in optimizer.arenas), optimizer.state_buffers.nbytes

    job = replace(BIG, parameters=256, optimizer=name, precision="fp32")
    found = memory(job, Layout(ranks, zero=zero))
    assert run_ranks(ranks, nbytes) == ranks * [(found.weights, found.state)]


# --- time ---------------------------------------------------------------------------------------

TINY = Job(
    parameters=1000, layers=4, width=10, tokens=1, batch=16, memory=GB, bandwidth=100,
    node_bandwidth=200, latency=1, flops=1000, efficiency=0.5, ranks_per_node=2, network="dense",
    precision="fp32",
)  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        # 6 · 1000 parameters · 16 samples / 500 operations a second
        (Layout(), {"compute": 192}),
        # an all-reduce of 4000 bytes: 2 · 3/4 · 4000 / 100 + 2 · 3 · 1; backward lasts 32
        (Layout(4), {"compute": 48, "data": 66, "hidden": 32}),
        # both ranks in one node: 2 · 1/2 · 4000 / 200 + 2
        (Layout(2), {"compute": 96, "data": 22, "hidden": 22}),
        # half of it is a reduce-scatter, half an all-gather, which nothing hides
        (Layout(4, zero=1), {"compute": 48, "data": 66, "hidden": 32}),
        (Layout(8, zero=1), {"compute": 24, "data": 84, "hidden": 16}),
        # a last backward is half as long with two micro-batches
        (Layout(4, micro_batches=2), {"compute": 48, "data": 66, "hidden": 16}),
        # ZeRO 2: two reduce-scatters of 33, one all-gather
        (Layout(4, zero=2, micro_batches=2), {"compute": 48, "data": 99, "hidden": 32}),
        # 2 · 4 · 1/2 all-reduces of 16 · 10 · 4 bytes in a node: 640 / 200 + 2
        (Layout(tensor=2), {"compute": 96, "tensor": 4 * 5.2}),
        # m = 3 and p = 2: micro-batches of 6; forward and back 240 bytes; 1 of 4 slots is waiting
        (Layout(pipeline=2, micro_batches=3),
         {"compute": 108, "pipeline": 3 * 4.4, "bubble": 36 + 4.4}),
    ],
)  # fmt: skip
def test_a_step_by_hand(layout: Layout, expected: dict) -> None:
    found = time(TINY, layout)
    names = ("compute", "tensor", "pipeline", "bubble", "data", "hidden")
    for name in names:
        assert math.isclose(getattr(found, name), expected.get(name, 0), rel_tol=1e-12), name
    whole = sum(expected.values()) - expected.get("hidden", 0)
    assert math.isclose(found.without_overlap, whole, rel_tol=1e-12)
    assert math.isclose(found.total, whole - expected.get("hidden", 0), rel_tol=1e-12)


def test_two_passes_of_a_ring_are_its_all_reduce() -> None:
    assert ring_pass(1, 1e9, 1, 1) == 0
    assert 2 * ring_pass(4, 1000, 3, 0.5) == 2 * 3 * 3 + 2 * 3 / 4 * 1000 * 0.5


# --- properties ---------------------------------------------------------------------------------

POWERS = st.sampled_from([1, 2, 4, 8])
LAYOUTS = st.builds(
    Layout, st.integers(1, 40), POWERS, POWERS, st.integers(0, 2), st.integers(1, 9)
)
JOBS = st.builds(
    Job,
    parameters=st.floats(1e3, 1e12),
    layers=st.sampled_from([1, 3, 8, 12]),
    width=st.sampled_from([10, 64, 96]),
    tokens=st.sampled_from([1, 7]),
    batch=st.integers(1, 50),
    memory=st.floats(1e3, 1e13),
    bandwidth=st.floats(1e6, 1e12),
    node_bandwidth=st.floats(1e6, 1e12),
    latency=st.floats(1e-9, 1e-2),
    flops=st.floats(1e6, 1e16),
    efficiency=st.floats(0.01, 1),
    ranks_per_node=st.sampled_from([1, 4, 6, 8]),
    network=st.sampled_from(["dense", "transformer"]),
    optimizer=st.sampled_from(sorted(STATES)),
    precision=st.sampled_from(["fp32", "mixed"]),
    activations=st.none() | st.floats(1, 1e9),
)


@given(JOBS, LAYOUTS, st.sampled_from(["data", "tensor", "pipeline"]), st.integers(2, 5))
def test_more_ranks_never_need_more_memory(job: Job, layout: Layout, kind: str, n: int) -> None:
    more = replace(layout, **{kind: n * getattr(layout, kind)})
    assert memory(job, more).total <= memory(job, layout).total * (1 + 1e-12)


@given(JOBS, LAYOUTS)
def test_each_stage_of_zero_needs_no_more_than_the_one_before(job: Job, layout: Layout) -> None:
    none, one, two = (memory(job, replace(layout, zero=stage)).total for stage in (0, 1, 2))
    assert two <= one <= none
    assert layout.data == 1 or two < none


@given(JOBS, LAYOUTS, st.sampled_from(["bandwidth", "node_bandwidth", "flops"]), st.floats(1, 100))
def test_faster_parts_never_make_a_step_slower(job: Job, layout: Layout, part: str, by: float):
    faster = time(replace(job, **{part: by * getattr(job, part)}), layout)
    slower = time(job, layout)
    assert faster.total <= slower.total * (1 + 1e-9)
    assert faster.without_overlap <= slower.without_overlap * (1 + 1e-9)


@given(JOBS, LAYOUTS)
def test_the_bubble_is_its_share_of_the_pipeline(job: Job, layout: Layout) -> None:
    found, (m, p) = time(job, layout), (layout.micro_batches, layout.pipeline)
    inside = found.without_overlap - found.data
    share = (p - 1) / (m + p - 1)
    assert math.isclose(found.bubble, share * inside, rel_tol=1e-6, abs_tol=1e-9 * found.data)
    assert 0 <= found.hidden <= found.data


@given(JOBS, st.integers(1, 48))
def test_every_layout_is_listed_once_and_takes_all_ranks(job: Job, ranks: int) -> None:
    found = list(layouts(job, ranks))
    assert len({(one.data, one.tensor, one.pipeline, one.zero) for one in found}) == len(found)
    expected = {
        (ranks // (t * p), t, p)
        for t in range(1, 9)
        for p in range(1, 13)
        if job.ranks_per_node % t == 0 and job.width % t == 0 and job.layers % p == 0
        if ranks % (t * p) == 0 and ranks // (t * p) <= job.batch
    }
    assert {(one.data, one.tensor, one.pipeline) for one in found} == expected
    if not found:
        with pytest.raises(InputError, match=f"{ranks} ranks cannot be laid out"):
            options(job, ranks)
        return
    listed = options(job, ranks)
    assert {one.layout.ranks for one in listed} == {ranks}
    assert [one.fits for one in listed] == sorted((one.fits for one in listed), reverse=True)
    times = [one.time.total for one in listed if one.fits]
    assert times == sorted(times)
    assert all(one.fits == (memory(job, one.layout).total <= job.memory) for one in listed)
    assert {one.layout for one in alone(listed)} <= {one.layout for one in listed}


@settings(max_examples=25)
@given(JOBS, st.none() | st.just(1))
def test_no_smaller_number_of_ranks_fits(job: Job, micro_batches: int | None) -> None:
    job = replace(job, micro_batches=micro_batches)
    found = smallest(job)
    most = job.batch * max(
        t * p for t in divisors(job.ranks_per_node) for p in divisors(job.layers)
    )
    end = min(most + 1, 150) if found is None else min(found.layout.ranks, 150)
    for ranks in range(1, end):
        if any(layouts(job, ranks)):
            assert not options(job, ranks)[0].fits
    if found is not None:
        assert found.fits
        assert found.memory.total <= job.memory


@given(st.floats(1e4, 1e13), st.sampled_from(["dense", "transformer"]))
def test_a_shape_has_about_its_parameters(parameters: float, network: str) -> None:
    layers, width = shape(network, parameters)
    squares = {"dense": 1, "transformer": 12}[network]
    assert 0.3 < squares * layers * width**2 / parameters < 2.2


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (("transformer", 175e9), (96, 12352)),  # GPT-3 has 96 and 12288
        (("transformer", 7e9), (32, 4288)),
        (("transformer", 7e9, 40), (40, 3840)),
        (("transformer", 7e9, None, 4096), (35, 4096)),
        (("dense", 7e9, 7, 500), (7, 500)),
        (("dense", 8e6), (8, 1024)),
    ],
)
def test_shapes(given_: tuple, expected: tuple[int, int]) -> None:
    assert shape(*given_) == expected


# --- units --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("7e9", "number", 7e9), ("7B", "number", 7e9), ("1.5 bn", "number", 1.5e9),
        ("350M", "number", 350e6), ("109_386", "number", 109386), ("12k", "number", 12e3),
        ("80GB", "memory", 80e9), ("80 gb", "memory", 80e9), ("80GiB", "memory", 80 * 2**30),
        ("1.5TB", "memory", 1.5e12), ("512MiB", "memory", 2**29), ("4B", "memory", 4),
        ("50GB/s", "bandwidth", 50e9), ("400Gbit/s", "bandwidth", 50e9),
        ("400Gbps", "bandwidth", 50e9), ("8Gb/s", "bandwidth", 1e9), ("2GiB/s", "bandwidth", 2**31),
        ("100kbit/s", "bandwidth", 12500), ("5us", "time", 5e-6), ("5µs", "time", 5e-6),
        (".1ms", "time", 1e-4), ("20 ns", "time", 2e-8), ("400T", "speed", 4e14),
        ("400TFLOPS", "speed", 4e14), ("1PFLOP/s", "speed", 1e15), ("4e14", "speed", 4e14),
    ],
)  # fmt: skip
def test_units(text: str, kind: str, value: float) -> None:
    assert math.isclose(quantity("--x", text, kind), value, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("80", "memory", "the unit is missing; give a memory, such as 80GB"),
        ("50", "bandwidth", "the unit is missing"),
        ("50GB", "bandwidth", "'GB' is no unit of bandwidth"),
        ("50gb/s", "bandwidth", "bytes or bits. Write GB/s or Gbit/s"),
        ("80GB/s", "memory", "'GB/s' is no unit of memory"),
        ("5", "time", "the unit is missing"),
        ("5 minutes", "time", "'minutes' is no unit of time"),
        ("seven", "number", "give a number, such as 7e9"),
        ("", "number", "give a number"),
        ("0", "number", "above 0"),
        ("-7B", "number", "above 0"),
        ("1e999", "number", "above 0"),
        ("1.2.3", "number", "'.3' is no unit"),
    ],
)
def test_units_that_are_none(text: str, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^--x {text}: .*{message}"):
        quantity("--x", text, kind)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (amount(7e9), "7B"), (amount(109386), "109k"), (amount(3), "3"), (amount(999_999), "1M"),
        (size(80e9), "80 GB"), (size(28.082e9), "28.1 GB"), (size(28e9, pad=True), "28.0 GB"),
        (size(999.9e6, pad=True), "1.00 GB"), (size(122.4e9, pad=True), "122 GB"),
        (size(12), "12 B"), (seconds(1234567890), "14,000 d"),
        (seconds(4.1234), "4.1 s"), (seconds(1, pad=True), "1.0 s"), (seconds(5e-6), "5 µs"),
        (seconds(0.0123, pad=True), "12 ms"), (seconds(100), "1.7 min"), (seconds(45), "45 s"),
        (seconds(7200, pad=True), "2.0 h"), (seconds(5e5), "5.8 d"),
        (seconds(0), "0 µs"),
    ],
)  # fmt: skip
def test_what_is_shown_is_no_more_exact_than_it_can_be(shown: str, text: str) -> None:
    assert shown == text


# --- the command --------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code, and what was said, each run of blanks as one."""
    code = cli.main([*COMMAND, *words])
    out, err = capsys.readouterr()
    assert not (out and err)
    return code, " ".join((out or err).split())


def test_the_answer_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys)
    assert code == 0
    assert text.startswith("71 of 72 layouts of 1,024 ranks fit in 80 GB a rank. The fastest is ")
    assert "The smallest number of ranks that fits at all is 2: data 2 with ZeRO 2" in text
    assert "predictions by a cost model, not measurements" in text
    assert "7B parameters: transformer, 32 layers of width 4,288; activations estimated" in text
    assert "112" not in text.split("assumed")[0]
    assert "1,024 1 1 0 1 122 GB" in text  # replicas: 112 GB and one sample's activations


def test_the_columns_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([*COMMAND, "--show", "3"])
    lines = capsys.readouterr().out.split("\n")
    heads = [n for n, line in enumerate(lines) if line.split()[:2] == ["data", "tensor"]]
    assert len(heads) == 2
    for first, rows in zip(heads, (5, 3), strict=True):
        table = lines[first : first + rows + 1]
        assert len({line.index("%") for line in table[1:]}) == 1
        assert len({len(line) for line in table}) == 1
        assert lines[first + rows + 1] == ""
    assert max(map(len, lines)) <= 110


def test_every_option_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    _, text = said(
        capsys, "--params", "1M", "--ranks", "8", "--latency", "7us", "--flops", "2T",
        "--efficiency", "0.25", "--batch", "96", "--layers", "6", "--width", "400",
        "--tokens-per-sample", "3", "--micro-batches", "4", "--optimizer", "lion", "--precision",
        "fp32", "--network", "dense", "--activations", "5kB", "--ranks-per-node", "4",
        "--node-bandwidth", "1Tbit/s", "--bandwidth", "8Gbit/s", "--memory", "1GB",
    )  # fmt: skip
    for words in (
        "1M parameters: dense, 6 layers of width 400; activations 5 kB a sample",
        "lion, fp32; 96 samples a step, 3 tokens each",
        "1 GB; 2T operations a second at its peak, of which 25% are reached",
        "1 GB/s a rank, 125 GB/s within a node of 4 ranks; 7 µs a message",
        "4 micro-batches",
    ):
        assert words in text


def test_where_nothing_fits_it_says_how_many_ranks_would(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, text = said(capsys, "--ranks", "4", "--memory", "8GB")
    assert code == 1
    assert text.startswith("Nothing fits: 4 ranks of 8 GB cannot train 7B parameters; ")
    assert "The smallest number of ranks that fits at all is 32: " in text
    assert "What fits" not in text
    code, text = said(capsys, "--memory", "1kB")
    assert code == 1
    assert "No number of ranks would do" in text
    assert "still larger than 1 kB" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--memory", "80"], "--memory 80: the unit is missing"),
        (["--memory", "80Gx"], "--memory 80Gx: 'Gx' is no unit of memory here"),
        (["--bandwidth", "5gb/s"], "--bandwidth 5gb/s: bytes or bits?"),
        (["--ranks", "2.5"], "--ranks 2.5: give a whole number"),
        (["--ranks", "1000003"], "1000003 ranks cannot be laid out"),
        (["--network", "transfomer"], "did you mean 'transformer'?"),
        (["--optimizer", "adem"], "unknown optimizer 'adem'"),
        (["--precision", "fp8"], "unknown precision 'fp8'"),
        (["--efficiency", "40"], "a share of the peak, such as 0.4"),
        (["--micro-batches", "5000"], "5000 micro-batches of a batch of 1024 samples"),
        (["--latncy", "3us"], "did you mean --latency?"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    code, text = said(capsys, *words)
    assert code == 2
    assert text.startswith("minigrad: ")
    assert message in text


# --- the benchmark ------------------------------------------------------------------------------


def test_alpha_and_beta_are_found_again() -> None:
    times = [(n, 2 * ring_pass(2, n, 3e-6, 1 / 2e9)) for n in (4, 1 << 22)]
    assert alpha_beta(times) == pytest.approx((3e-6, 2e9))


def test_the_articles_network_is_the_benchmarks() -> None:
    job = job_for((784, 128, 64, 10), 32, 2, latency=1, bandwidth=1, flops=1)
    assert job.parameters == 109_386
    found = memory(job, Layout(2))
    assert found.total == 16 * 109_386 + 4 * 32 * (784 + 128 + 64 + 10)


@pytest.mark.mpi
def test_a_rank_of_the_benchmark_measures() -> None:
    job = mpirun(2, "-m", "benchmarks.plan_rank", "784,8,10", "4", "2")
    assert (job.returncode, job.stderr) == (0, "")
    answers = sorted(map(json.loads, job.stdout.splitlines()), key=lambda answer: answer["rank"])
    assert [answer["rank"] for answer in answers] == [0, 1]
    assert len(answers[0]["alone"]) == len(answers[0]["together"]) == 2
    assert min(answers[0]["alone"] + answers[0]["together"]) > 0
    assert [nbytes for nbytes, _ in answers[0]["messages"]] == [4, 4 << 20]
    assert all(peak > 16 * (785 * 8 + 9 * 10) / 2 for peak in answers[0]["peaks"])
