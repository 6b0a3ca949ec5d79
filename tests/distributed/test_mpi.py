"""Real MPI jobs: the same body as on threads, and failures that must end every rank."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from mpirun import mpirun
from test_launch import need_mpi

from minigrad.backend import device_count
from minigrad.distributed import world
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
    "exception": ("raise ValueError('boom')", 1, "ValueError: boom"),
    "thread": (
        "threading.Thread(target=lambda: 1 / 0).start(); time.sleep(100)",
        1,
        "ZeroDivisionError",
    ),
    "interrupt": ("raise KeyboardInterrupt", 130, "interrupted"),
    "exit": ("sys.exit(3)", 1, "waits for it in call"),
    "end": ("sys.exit()", 1, "waits for it in call"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", None, ""),
}
WAITING = {
    "at once": "if last: {}\ncomm.all_reduce(x)",
    "inside": "time.sleep(0.3 * last)\nif last: {}\ncomm.start_all_reduce(x).wait()",
    "later": "for _ in range(50): comm.all_reduce(x)\nif last: {}\ncomm.broadcast(x)",
    "on a duplicate": (
        "other = comm.duplicate()\n"
        "if last: request = comm.start_all_reduce(x); {}\n"  # as many calls as the others begin
        "other.all_reduce(x)"
    ),
}


@pytest.mark.mpi
@pytest.mark.parametrize("n", [2, 3])
def test_every_collective_and_a_job_that_ends_well(n: int) -> None:
    job = mpirun(n, EXERCISE, "cpu")
    wanted = [f"{rank}/{n} {rank}/{n}" for rank in range(n)]
    assert (job.returncode, sorted(job.stdout.splitlines())) == (9, wanted), job.stderr
    assert "rank" not in job.stderr


@pytest.mark.mpi
@pytest.mark.gpu
@pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a GPU")
def test_gpu_arrays_are_staged() -> None:
    job = mpirun(2, EXERCISE, "cuda")
    assert job.returncode == 9, job.stderr


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("how", "when", "n"),
    [
        ("exception", "at once", 3),
        ("exception", "on a duplicate", 3),
        ("thread", "inside", 2),
        ("interrupt", "later", 3),
        ("exit", "inside", 2),
        ("exit", "on a duplicate", 3),
        ("end", "later", 3),
        ("killed", "at once", 2),
    ],
)
def test_a_failure_ends_every_rank(how: str, when: str, n: int) -> None:
    fails, code, says = FAILURES[how]
    start = time.monotonic()
    job = mpirun(n, "-c", START + WAITING[when].format(fails), timeout=30)
    assert time.monotonic() - start < 10
    assert job.returncode != 0
    assert code is None or job.returncode == code
    if says:
        assert f"rank {n - 1}: " in job.stderr
        assert job.stderr.count(says) == 1
        assert job.stderr.count("Traceback") == (code == 1 and "waits" not in says)


@pytest.mark.mpi
def test_threads_of_blas_are_capped_and_ranks_that_gather_different_arrays_are_told() -> None:
    pytest.importorskip("threadpoolctl")
    unset = "import os\nfor name in list(os.environ):\n    if name.endswith('_NUM_THREADS'):\n"
    body = (
        "import threadpoolctl\nfrom minigrad.distributed.host import core_count\n"
        "share = max(1, core_count() // comm.size)\n"
        "print(all(pool['num_threads'] <= share for pool in threadpoolctl.threadpool_info()))\n"
        "comm.all_gather(np.ones((2, 3 + comm.rank)))"
    )
    job = mpirun(2, "-c", unset + "        del os.environ[name]\n" + START + body)
    assert job.returncode == 1
    assert job.stdout.split() == ["True", "True"], job.stderr
    assert (
        "rank 0 called all_gather(float64, rows of shape (3,)); rank 1 called all_gather"
        in job.stderr
    )


WAITS = {
    "late": ("time.sleep(60)", "comm.all_reduce(x)", "rank 1 did not arrive in [234] s"),
    "late in a part": (
        "time.sleep(60)",
        "part.start_all_reduce(x).wait()",
        r"all_reduce\(sum, float64, shape \(8,\)\), collective call 1, at .*:12, in .*: rank 1 did",
    ),
    "gone from a part": ("sys.exit()", "part.barrier()", "barrier.*rank 1 has ended and will not"),
    "no message": ("sys.exit(1)", "comm.receive(x, 1)", "rank 1 has ended and will not"),
    "late in a split": ("time.sleep(60)", "comm.split(0)", r"waits in split\(\).*rank 1 did not"),
    "late message": ("time.sleep(60)", "comm.receive(x, 1)", "rank 1 did not arrive in"),
}


@pytest.mark.mpi
@pytest.mark.parametrize("how", WAITS)
def test_a_rank_that_does_not_come_ends_the_job(how: str) -> None:
    theirs, ours, says = WAITS[how]
    code = START.replace("world()", "world(timeout=2)") + (
        "part = comm.split(comm.rank // 2)\ncomm.all_reduce(x)\n"
        f"if comm.rank == 1: {theirs}\nif comm.rank == 2: part.barrier()\n{ours}"
    )
    start = time.monotonic()
    job = mpirun(3, "-c", code, timeout=30)
    assert time.monotonic() - start < 15
    assert job.returncode != 0
    assert re.search(says, job.stderr), job.stderr
    assert job.stderr.count("did not arrive") + job.stderr.count("has ended and") == 1


@pytest.mark.mpi
def test_a_message_that_is_too_short() -> None:
    send = "comm.send(x[:5], 0) if comm.rank else comm.receive(x, 1)"
    job = mpirun(2, "-c", START + send, timeout=30)
    assert "64 bytes were expected from rank 1 (8 of float64), and 40 came" in job.stderr


@pytest.mark.mpi
def test_a_foreign_launcher_is_told_apart() -> None:
    """A launcher that speaks another protocol: N processes, each alone with its MPI."""
    need_mpi()
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


def test_a_foreign_open_mpi_is_found_before_it_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("mpi4py.MPI")
    fake.Is_initialized = lambda: False
    fake.Get_library_version = lambda: "MPICH Version:      5.0.2\nmore"
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", fake)
    monkeypatch.setitem(sys.modules, "mpi4py", types.ModuleType("mpi4py"))
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(InputError, match=r"started 4 processes.*\(MPICH Version: 5.0.2\)"):
        world()
