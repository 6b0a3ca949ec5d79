"""Real MPI jobs: the same body as on threads, and failures that must end every rank."""

from __future__ import annotations

import subprocess
import sys
import time
import types
from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from mpirun import mpirun

from minigrad.backend import device_count
from minigrad.distributed import mpi, world
from minigrad.errors import InputError, MissingExtra

EXERCISE = str(Path(__file__).parent / "exercise.py")
START = """
import os, signal, sys, threading, time
import numpy as np
from minigrad.distributed import world
comm = world()
x = np.ones(8)
last = comm.rank == comm.size - 1
"""
FAILURES = {
    "exception": ("if last: raise ValueError('boom')", 1, "ValueError: boom"),
    "thread": (
        "if last: threading.Thread(target=lambda: 1 / 0).start(); time.sleep(100)",
        1,
        "ZeroDivisionError",
    ),
    "interrupt": ("if last: raise KeyboardInterrupt", 130, "interrupted"),
    "sys.exit": ("if last: sys.exit(3)", 1, "waits for it in call"),
    "SystemExit": ("if last: raise SystemExit(3)", 1, "waits for it in call"),
    "early end": ("if last: sys.exit()", 1, "waits for it in call"),
    "killed": ("if last: os.kill(os.getpid(), signal.SIGKILL)", None, ""),
}
WAITING = {
    "at once": "comm.all_reduce(x)",
    "inside": "time.sleep(0.3 * last)\n{}\ncomm.start_all_reduce(x).wait()",
    "later": "for _ in range(50): comm.all_reduce(x, 'max')\n{}\ncomm.broadcast(x)\ncomm.barrier()",
}


@pytest.mark.mpi
@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_collective(n: int) -> None:
    job = mpirun(n, EXERCISE, "cpu")
    wanted = ["True"] + [f"{rank}/{n} {rank}/{n}" for rank in range(n)]
    assert (job.returncode, job.stdout.splitlines()) == (0, wanted), job.stderr


@pytest.mark.mpi
@pytest.mark.gpu
@pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a GPU")
def test_gpu_arrays_are_staged() -> None:
    job = mpirun(2, EXERCISE, "cuda")
    assert job.returncode == 0, job.stderr


@pytest.mark.mpi
@pytest.mark.parametrize(("when", "n"), [("at once", 3), ("inside", 2), ("later", 3)])
@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_ends_every_rank(how: str, when: str, n: int) -> None:
    fails, code, says = FAILURES[how]
    template = WAITING[when]
    body = template.format(fails) if "{}" in template else f"{fails}\n{template}"
    start = time.monotonic()
    job = mpirun(n, "-c", START + body, timeout=30)
    assert time.monotonic() - start < 10
    assert job.returncode != 0
    assert code is None or job.returncode == code
    if says:
        assert f"rank {n - 1}: " in job.stderr
        assert job.stderr.count(says) == 1


@pytest.mark.mpi
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_job_that_ends_well(n: int) -> None:
    body = "time.sleep(0.2 * last)\ncomm.all_reduce(x)\nprint(x[0], type(comm).__name__)"
    job = mpirun(n, "-c", START + body)
    kind = "MPICommunicator" if n > 1 else "SerialCommunicator"
    assert (job.returncode, job.stdout.splitlines()) == (0, [f"{n}.0 {kind}"] * n), job.stderr
    assert "rank" not in job.stderr


@pytest.mark.mpi
def test_all_ranks_may_exit_with_a_code() -> None:
    job = mpirun(2, "-c", START + "comm.barrier()\nsys.exit(9)", timeout=30)
    assert job.returncode == 9
    assert "rank 0:" not in job.stderr


@pytest.mark.mpi
def test_world_caps_the_threads_of_blas() -> None:
    pytest.importorskip("threadpoolctl")
    body = (
        "import threadpoolctl\nfrom minigrad.distributed.host import core_count\n"
        "share = max(1, core_count() // comm.size)\n"
        "print(all(pool['num_threads'] <= share for pool in threadpoolctl.threadpool_info()))"
    )
    unset = "import os\nfor name in list(os.environ):\n    if name.endswith('_NUM_THREADS'):\n"
    job = mpirun(2, "-c", unset + "        del os.environ[name]\n" + START + body)
    assert job.stdout.split() == ["True", "True"], job.stderr


@pytest.mark.mpi
def test_ranks_that_gather_different_arrays_are_told() -> None:
    body = "comm.all_gather(np.ones((2, 3 + comm.rank)))"
    job = mpirun(2, "-c", START + body)
    assert job.returncode == 1
    assert (
        "different arrays; rank 0: float64, rows of shape (3,); rank 1: float64, rows" in job.stderr
    )


@pytest.mark.mpi
def test_a_foreign_launcher_is_told_apart() -> None:
    """A launcher that speaks another protocol: N processes, each alone with its MPI."""
    mpirun(1, "-c", "")  # skips where there is no MPI
    code = (
        "import os; os.environ['MV2_COMM_WORLD_SIZE'] = '2'\nfrom minigrad.distributed import *\n"
    )
    job = subprocess.run(
        [sys.executable, "-c", code + "world()"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert job.returncode == 1
    assert "start with 'minigrad launch -n 2 …'" in job.stderr


def test_a_launcher_without_mpi4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "2")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mpi4py"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(MissingExtra, match=r"pip install -e '\.\[mpi\]'"):
        world()


@pytest.mark.parametrize("op", ["max", "min"])
@given(data=st.data(), dtype=st.sampled_from(["f2", "f4", "f8"]), n=st.integers(1, 4))
def test_order_of_floats_as_integers(op: str, data: st.DataObject, dtype: str, n: int) -> None:
    elements = st.floats(width=8 * np.dtype(dtype).itemsize, allow_nan=True)
    parts = [data.draw(hnp.arrays(dtype, 3, elements=elements)) for _ in range(n)]
    combine = {"max": np.maximum, "min": np.minimum}[op]
    wanted = combine.reduce(parts)
    buffers = [mpi._reducible(part, op) for part in parts]
    total = combine.reduce([buffer for buffer, _ in buffers])
    for part, (buffer, finish) in zip(parts, buffers, strict=True):
        buffer[...] = total
        finish()
        np.testing.assert_array_equal(part, wanted)


def test_staging_waits_for_the_stream_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Stream:
        def synchronize(self) -> None:
            events.append("synchronize")

    class GpuArray:
        """As much of a cupy.ndarray as staging touches."""

        def __init__(self, host: np.ndarray) -> None:
            self.host = host
            self.device = types.SimpleNamespace(id=0)
            self.dtype, self.shape = host.dtype, host.shape
            self.size, self.nbytes = host.size, host.nbytes

        def get(self, stream: Stream, out: np.ndarray) -> None:
            events.append("to host")
            out[...] = self.host

        def set(self, host: np.ndarray, stream: Stream) -> None:
            events.append("to device")
            self.host = host.copy()

    cupy = types.ModuleType("cupy")
    cupy.ndarray = GpuArray
    cupy.cuda = types.SimpleNamespace(get_current_stream=Stream, alloc_pinned_memory=bytearray)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    array = GpuArray(np.arange(6.0).reshape(2, 3))
    buffer, finish = mpi._reducible(array, "sum")
    assert events == ["to host", "synchronize"]
    buffer *= 2
    finish()
    assert events == ["to host", "synchronize", "to device", "synchronize"]
    assert array.host.tolist() == [[0, 2, 4], [6, 8, 10]]


def test_a_foreign_open_mpi_is_found_before_it_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("mpi4py.MPI")
    fake.Is_initialized = lambda: False
    fake.Get_library_version = lambda: "MPICH Version:      5.0.2\nmore"
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", fake)
    monkeypatch.setitem(sys.modules, "mpi4py", types.ModuleType("mpi4py"))
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(InputError, match=r"started 4 processes.*\(MPICH Version: 5.0.2\)"):
        world()
