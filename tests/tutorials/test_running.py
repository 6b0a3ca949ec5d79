"""Every tutorial runs: as a script, and where it is about ranks, on them, as recorded."""

from __future__ import annotations

import os
import re
import resource
import shlex
import subprocess
import sys

import pytest
from mpirun import ROOT, mpirun

from minigrad.tutorials import TUTORIALS, folder

for module in ("matplotlib", "sklearn"):
    pytest.importorskip(module, reason="tutorials need the extra demo")

HEADLESS = {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
STRICT = ["-W", "error", "-W", "ignore:FigureCanvasAgg"]  # said only where there is a screen
MOST_SECONDS = 20  # of two cores together: 10 s on a machine that does nothing else
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?")
RECORDED = sorted((folder() / "recorded").glob("*.txt"))


@pytest.mark.parametrize("number", TUTORIALS)
def test_runs_as_a_script(number, tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        [sys.executable, *STRICT, str(TUTORIALS[number].path)],
        cwd=tmp_path, env=os.environ | HEADLESS,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert not list(tmp_path.iterdir())
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < MOST_SECONDS


@pytest.mark.mpi
@pytest.mark.parametrize("number", [13, 14])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_runs_on_ranks(number, ranks):
    run = mpirun(ranks, *STRICT, str(TUTORIALS[number].path), env=HEADLESS, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def same(found: str, recorded: str) -> bool:
    """Whether two lines say the same, numbers to a thousandth."""
    if NUMBER.sub("#", found.rstrip()) != NUMBER.sub("#", recorded.rstrip()):
        return False
    pairs = zip(map(float, NUMBER.findall(found)), map(float, NUMBER.findall(recorded)))
    return all(abs(a - b) <= 1e-3 * max(abs(a), abs(b), 1e-9) for a, b in pairs)


@pytest.mark.mpi
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_output_is_what_comes(path, tmp_path, monkeypatch):
    command, *recorded = path.read_text(encoding="utf-8").splitlines()
    dollar, launcher, n, ranks, *words = shlex.split(command)
    assert [dollar, launcher, n] == ["$", "mpirun", "-n"]
    monkeypatch.chdir(tmp_path)
    if words[0] == "minigrad":
        words[0:1] = ["-m", "minigrad"]
    else:
        assert words[0] == "python"
        words[0:2] = [f"{ROOT}/{words[1]}"]
    run = mpirun(int(ranks), *words, env=HEADLESS, timeout=120)
    assert run.returncode == 0, run.stderr
    found = run.stdout.splitlines()
    assert len(found) == len(recorded), run.stdout
    assert [line for line, old in zip(found, recorded) if not same(line, old)] == []
