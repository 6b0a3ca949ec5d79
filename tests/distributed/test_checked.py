"""Ranks that make different calls: each of them raises, and says who called what, and where."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable

import numpy as np
import pytest
from exercise import exercise
from mpirun import mpirun

from minigrad.distributed import Communicator
from minigrad.distributed.checked import CheckedCommunicator
from minigrad.errors import SharedError
from minigrad.testing import run_ranks

# what all but the last rank call, what the last one calls, and what is said of both
DISAGREEMENTS = {
    "another collective": ("comm.all_reduce(x)", "comm.barrier()", "all_reduce(sum", "barrier()"),
    "another size": ("comm.all_reduce(x)", "comm.all_reduce(x[:5])", "shape (8,)", "shape (5,)"),
    "another dtype": ("comm.broadcast(x)", "comm.broadcast(i)", "root 0, float64", "root 0, int64"),
    "another op": ("comm.all_reduce(x, 'max')", "comm.all_reduce(x, 'min')", "(max,", "(min,"),
    "another root": ("comm.broadcast(x, 0)", "comm.broadcast(x, 1)", "(root 0", "(root 1"),
    "another share": (
        "comm.gather_into(x)",
        "comm.gather_into(x, [8] + [0] * (comm.size - 1))",
        "gather_into(float64, counts (",
        "counts (8, 0",
    ),
    "begun only": (
        "comm.all_reduce(x)",
        "comm.start_all_reduce(x).wait()",
        "called all_reduce(",
        "called start_all_reduce(",
    ),
    "begun, another size": (
        "comm.start_all_reduce(x).wait()",
        "comm.start_all_reduce(big).wait()",
        "shape (8,)",
        "shape (100000,)",
    ),
    "begun, then more": (
        "r = comm.start_all_reduce(x); comm.start_all_reduce(y).wait()",
        "r = comm.start_all_reduce(i); comm.barrier()",
        "start_all_reduce(sum, float64",
        "start_all_reduce(sum, int64",
    ),
    "one call ahead": (
        "for _ in range(5): comm.all_reduce(x)\ncomm.barrier()",
        "for _ in range(4): comm.all_reduce(x)\ncomm.barrier()",
        "called all_reduce(",
        "called barrier()",
    ),
    "split": ("comm.split(0)", "comm.all_reduce(x)", "called split()", "called all_reduce("),
    "within a part": (
        "comm = comm.split(0).duplicate(); comm.all_reduce(x)",
        "comm = comm.split(0).duplicate(); comm.all_reduce(i)",
        "sum, float64",
        "sum, int64",
    ),
}
ARRAYS = {
    "x": lambda: np.ones(8),
    "y": lambda: np.ones(3),
    "i": lambda: np.ones(8, np.int64),
    "big": lambda: np.ones(100_000),
}


def both_said(text: str, n: int, first: str, last: str) -> bool:
    """Each group's ranks are named with their call and a line of this file's code, or a job's."""
    others = "rank 0" if n == 2 else f"ranks {', '.join(map(str, range(n - 1)))}"
    line = r"[^;]* at \S+:\d+, in "
    return bool(
        re.search(rf"{others} called [^;]*{re.escape(first.removeprefix('called '))}{line}", text)
        and re.search(
            rf"rank {n - 1} called [^;]*{re.escape(last.removeprefix('called '))}{line}", text
        )
    )


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("how", DISAGREEMENTS)
def test_every_rank_raises(how: str, n: int) -> None:
    theirs, mine, first, last = DISAGREEMENTS[how]

    def body(comm: Communicator) -> str:
        code = mine if comm.rank == n - 1 else theirs
        names = {name: make() for name, make in ARRAYS.items()}
        with pytest.raises(SharedError) as caught:
            exec(code, names | {"comm": CheckedCommunicator(comm)})
        return str(caught.value)

    texts = run_ranks(n, body)
    assert len(set(texts)) == 1
    assert both_said(texts[0], n, first, last), texts[0]
    assert f"collective call {5 if how == 'one call ahead' else 1}:" in texts[0]


@pytest.mark.mpi
@pytest.mark.parametrize(("how", "n"), list(zip(DISAGREEMENTS, [2, 3] * len(DISAGREEMENTS))))
def test_every_rank_of_a_job_raises_and_it_is_told_once(how: str, n: int) -> None:
    theirs, mine, first, last = DISAGREEMENTS[how]
    code = f"""
import numpy as np
from minigrad.distributed import world
from minigrad.distributed.checked import CheckedCommunicator
from minigrad.errors import SharedError
comm = whole = world()
comm = CheckedCommunicator(comm)
x, y, i, big = np.ones(8), np.ones(3), np.ones(8, np.int64), np.ones(100_000)
def act():
    global comm
    if whole.rank == whole.size - 1:
{indented(mine)}
    else:
{indented(theirs)}
try:
    act()
except SharedError:
    print("raised", flush=True)
    raise
"""
    start = time.monotonic()
    job = mpirun(n, "-c", code, timeout=30)
    assert time.monotonic() - start < 10
    assert job.returncode == 1
    assert job.stdout.split() == ["raised"] * n, job.stderr
    assert job.stderr.count("Traceback") == job.stderr.count("ranks disagree") == 1
    assert both_said(job.stderr, n, first, last), job.stderr


def indented(code: str) -> str:
    return "\n".join(" " * 8 + line for line in code.split("\n"))


@pytest.mark.parametrize("n", [1, 2])
def test_every_collective_as_before(n: int) -> None:
    assert min(run_ranks(n, lambda comm: exercise(CheckedCommunicator(comm)))) > 400


@pytest.mark.mpi
def test_every_collective_as_before_in_a_job() -> None:
    code = (
        "from exercise import exercise\nfrom minigrad.distributed import world\n"
        "from minigrad.distributed.checked import CheckedCommunicator\n"
        "import time; import numpy as np; from minigrad.distributed import Communicator\n"
        f"{inspect.getsource(crossing)}\n"
        "comm = world(); found = crossing(comm)\n"
        "print(exercise(CheckedCommunicator(comm)) > 400, found[:2] == [6.0, 20.0])"
    )
    folder = __file__.rpartition("/")[0]
    job = mpirun(2, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{code}")
    assert (job.returncode, job.stdout.split()) == (0, ["True"] * 4), job.stderr


def crossing(comm: Communicator) -> list[float]:
    """Ranks begin calls in different orders, and one waits for what the other has only begun."""
    first = CheckedCommunicator(comm)
    pair = [first, first.duplicate()]
    arrays = [np.full(3, 1.0 + comm.rank), np.full(4, 10.0), np.zeros(1)]
    order = [0, 1] if comm.rank else [1, 0]
    requests = {k: pair[k].start_all_reduce(arrays[k]) for k in order}
    while comm.rank and not requests[1].done():
        time.sleep(1e-4)
    for k in (0, 1):
        if comm.rank:
            requests[k].wait()
            pair[k].send(arrays[k][:1], 0)
        else:
            pair[k].receive(arrays[2], 1)
    other = pair[0].start_all_reduce(arrays[0])
    if comm.rank:
        other.wait()
    pair[1].barrier()
    other.wait()
    return [float(array[0]) for array in arrays]


def test_what_is_begun_waits_for_no_other_rank() -> None:
    assert run_ranks(2, crossing) == [[6.0, 20.0, 20.0], [6.0, 20.0, 0.0]]


def test_messages_are_left_alone() -> None:
    def body(comm: Communicator) -> float:
        checked, x = CheckedCommunicator(comm), np.array([4.0])
        work: Callable[..., None] = checked.receive if comm.rank else checked.send
        work(x, 1 - comm.rank)
        return float(x[0])

    assert run_ranks(2, body) == [4.0, 4.0]
