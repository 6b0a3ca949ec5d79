"""The ladder of kernels/README.md: every rung is the same step, and the page says what is so."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_compiles
from executor import ORDERS, Executor
from harness import at, values

from benchmarks import ladder, roofline, rungs
from benchmarks.rungs import FOLDER, HYPER, RUNGS, State
from minigrad import optim
from minigrad.backend import device_count, to_device
from minigrad.kernels import source
from minigrad.kernels.build import REAL, compiler

FILES = {file.name: file for file in rungs.sources().values()}
SIZES = [0, 1, 3, 31, 32, 33, 255, 256, 257, 1000]
TOLERANCE = 8  # units in the last place of the largest term of a result, for each step
H = HYPER | {"eta": 0.01, "beta1": 0.9, "weight_decay": 0.1}
ADAMW = [rung for rung in RUNGS if "AdamW" in rung.computes]
needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")


def start(n, dtype=np.float32):
    rng = np.random.default_rng(n)
    theta, g, m, v = (at(0, values(rng, n, dtype)) for _ in range(4))
    return State(theta, g, m, np.abs(v, out=v))


def agrees(s, rung, n, steps):
    """``s`` is what ``adam_step``, in double, makes of the same start, to the rounding of ``s``."""
    theta, g, m, v = (x.astype(float) for x in vars(start(n, s.theta.dtype)).values())
    h = {name: H[name] for name in ("eta", "beta1", "beta2", "epsilon")}
    given = 0.5 * g if rung.number == 6 else g
    moved = abs(theta) + abs(m) + abs(g)
    for t in range(1, steps + 1):
        # what rounding is measured by: the terms of m do not cancel in it, unlike in m itself
        reach, *_ = optim.adam_step(0 * theta, -abs(given), -abs(m), v, t, **h)
        moved += reach
        kept = (1 - H["eta"] * H["weight_decay"]) * theta
        theta, m, v = optim.adam_step(kept, given, m, v, t, **h)
        given = 0 * g if rung.number == 6 else g
    unit = TOLERANCE * steps * np.finfo(s.theta.dtype).eps
    for mine, right, scale in ((s.theta, theta, moved), (s.m, m, abs(m) + abs(g)), (s.v, v, v)):
        assert (abs(mine - right) <= unit * scale).all()
    assert (s.g == (0 if rung.number == 6 else g)).all()


def named(some):
    return pytest.mark.parametrize("rung", some, ids=lambda rung: rung.name)


@named(ADAMW)
@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("n", [1, 33, 1000, 300_000])
def test_every_rung_is_the_same_step(rung, n, steps):
    if rung.compiled and ladder.left_out():
        pytest.skip(ladder.left_out())
    s = start(n)
    for t in range(1, steps + 1):
        rung.make(s, H | {"t": t})()
    agrees(s, rung, n, steps)


@pytest.mark.gpu
@pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a CUDA device")
@named([rung for rung in ADAMW if "gpu" in rung.on])
@pytest.mark.parametrize("n", [1, 33, 1000, 300_000])
def test_every_rung_on_a_gpu(rung, n):
    s = State(*(to_device(x, "cuda:0") for x in vars(start(n)).values()))
    for t in range(1, 11):
        rung.make(s, H | {"t": t})()
    agrees(State(*(x.get() for x in vars(s).values())), rung, n, 10)


@pytest.fixture(scope="module")
def executor():
    with Executor(FOLDER) as executor:
        yield executor


@needs_compiler
@named([rung for rung in RUNGS if rung.number in (3, 4)])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("grid", [1, 3])
@pytest.mark.parametrize("n", SIZES)
def test_threads_of_a_gpu_on_the_host(executor, rung, n, grid, order):
    s = start(n)
    (name,) = rung.make.args
    arguments = (s.theta, s.g, s.m, s.v, *rungs.constants(H), n)
    executor.run(name, *arguments, grid=grid, block=32, order=order)
    agrees(s, rung, n, 1)


@needs_compiler
@pytest.mark.parametrize("n", SIZES)
def test_passes_of_their_own(executor, n):
    x = start(n).theta
    expected = np.float32(0.3) * x
    executor.run("scale_by", x, 0.3, n, grid=2, block=32)
    np.testing.assert_array_equal(x, expected)
    executor.run("zero", x, n, grid=2, block=32)
    assert not x.any()


class Counting(np.ndarray):
    """Counts the passes of NumPy over arrays, and the bytes that they read and write."""

    passes = bytes = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        plain = [np.asarray(x) if isinstance(x, Counting) else x for x in (*inputs, *out)]
        read = {id(x): x for x in inputs if isinstance(x, np.ndarray)}
        Counting.passes += 1
        Counting.bytes += sum(x.nbytes for x in read.values())
        targets = {"out": tuple(plain[len(inputs) :])} if out else {}
        result = getattr(ufunc, method)(*plain[: len(inputs)], **targets, **options)
        Counting.bytes += result.nbytes
        return out[0] if out else result.view(Counting)


@named([rung for rung in RUNGS if rung.number < 2])
def test_passes_and_bytes_of_numpy_are_counted(rung):
    n = 10
    s = State(*(x.view(Counting) for x in vars(start(n)).values()))
    step = rung.make(s, H)
    Counting.passes = Counting.bytes = 0
    step()
    assert (Counting.passes, Counting.bytes / n) == (rung.passes, rung.bytes)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("real", REAL)
@pytest.mark.parametrize("name", FILES)
def test_registers_suffice(name, real, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "sources", lambda: FILES)
    monkeypatch.setenv("NVCC_PREPEND_FLAGS", f'-I"{source.folder()}"')
    test_compiles.test_registers_suffice(name, real, tmp_path)


@pytest.mark.skipif(bool(test_compiles.without_nvrtc()), reason=test_compiles.without_nvrtc())
@pytest.mark.parametrize("capability", [75, 100])
@pytest.mark.parametrize("name", FILES)
def test_nvrtc(name, capability, monkeypatch):
    monkeypatch.setattr(source, "sources", lambda: FILES)
    test_compiles.test_nvrtc(name, "float32", capability)


@needs_compiler
def test_rungs_that_should_compute_the_same_are_compared():
    ladder._agree(list(RUNGS))
    wrong = replace(RUNGS[0], name="wrong", make=lambda s, h: lambda: None)
    other = replace(wrong, computes="something else")
    ladder._agree([*RUNGS, other])
    with pytest.raises(AssertionError, match="do not compute the same"):
        ladder._agree([*RUNGS, wrong])


@pytest.mark.parametrize(("load", "warns"), [(0.4, False), (2.3, True)])
def test_a_busy_machine_is_noted(load, warns, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert ("load average 2.3" in ladder._busy()) == warns


def test_two_cores_are_measured_where_kernels_use_them():
    text = (source.folder() / "cpu.cuh").read_text(encoding="utf-8")
    assert f"PARALLEL = 1 << {roofline.PARALLEL.bit_length() - 1};" in text


TEXT = ladder.PAGE.read_text(encoding="utf-8")


def test_the_pages_numbers_are_the_measured_ones():
    there = ladder.RECORD.exists()
    record = json.loads(ladder.RECORD.read_text(encoding="utf-8")) if there else None
    assert ladder.page(TEXT, record) == TEXT, "run python -m benchmarks ladder"
    assert TEXT.count("<!-- measured: ") == 2
    assert "not measured yet" in ladder.page(TEXT, None)


def test_the_page_shows_every_kernel_and_what_it_points_to_is_there():
    rows = re.findall(r"^\| \[(\w+\.cu)\]\(.*?\) \|(.*)\|$", TEXT, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(p.name for p in source.folder().glob("*.cu"))
    for target in re.findall(r"\]\(([^)# ]+)\)", TEXT):
        assert target.startswith("https://") or (ladder.PAGE.parent / target).exists(), target
    for _, row in rows:
        assert Path(ladder.ROOT, "tests", "kernels", re.findall(r"test_\w+\.py", row)[0]).exists()
