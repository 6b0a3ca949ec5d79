"""Whatever happens to one rank, at whatever point of a training: none of the others is left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from mpirun import ROOT, mpirun

FAULTY = str(Path(__file__).parent / "faulty.py")
DEADLINE = 10.0  # seconds from the failure until the launcher has returned


def faulty(n: int, where: str, rank: int) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a training of ``n`` ranks, once it has ended in time."""
    tests = os.pathsep.join([ROOT, str(Path(ROOT) / "tests")])
    job = mpirun(n, FAULTY, where, str(rank), timeout=60, env={"PYTHONPATH": tests})
    returned = time.time()
    words = [line.split() for line in job.stdout.splitlines()]
    processes = [int(line[1]) for line in words if line[:1] == ["process"]]
    failures = [float(line[-1]) for line in words if line[:2] == ["failed", "at"]]
    assert [returned - then < DEADLINE for then in failures] == [True], job.stdout + job.stderr
    assert "ended well" not in job.stdout
    while any(map(runs, processes)):
        assert time.time() - failures[0] < DEADLINE, f"of {processes}, some are left"
        time.sleep(0.05)
    return job.returncode, job.stdout, job.stderr


def runs(process: int) -> bool:
    """Whether it is there, and not only as an entry that nobody has cleared yet."""
    stat = Path(f"/proc/{process}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("where", "n", "rank"),
    [
        ("before world", 2, 1),
        ("before world", 3, 0),
        ("after world", 3, 2),
        ("after world", 2, 0),
        ("backward", 3, 0),
        ("backward", 2, 1),
        ("loader", 2, 0),
        ("on_start", 2, 1),
        ("on_step", 3, 2),
        ("on_epoch", 2, 0),
        ("on_end", 3, 1),
    ],
)
def test_an_exception_ends_every_rank_and_is_told_once(where: str, n: int, rank: int) -> None:
    code, _, told = faulty(n, where, rank)
    assert code != 0
    assert told.count("Traceback") == told.count("ValueError: boom from within") == 1, told
    assert told.count("in fail\n") == 1


@pytest.mark.mpi
@pytest.mark.parametrize(("n", "rank"), [(2, 0), (3, 1), (2, 1)])
def test_a_killed_rank_ends_the_others(n: int, rank: int) -> None:
    code, _, told = faulty(n, "killed", rank)
    assert code != 0
    assert "Traceback" not in told
