"""What it costs to watch over ranks: ``--check-collectives``, hashes of the replicas, ``--trace``.

Two ranks train the articles' network, and in each round with and without the checks, in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from pathlib import Path

from benchmarks.harness import Result, Row, Times, spread
from minigrad.distributed.host import core_count
from minigrad.errors import InputError, MissingExtra
from minigrad.launch import Launcher, command, find_launcher, outside_mpi

__all__ = ["run"]

ROOT = Path(__file__).parent.parent
JOBS = 3
ROUNDS = 100  # in a job: short ones, so that many are undisturbed
ROWS = 256
EVERY = 100  # steps between two hash checks, fit's default


def run() -> Result:
    """A step's time with each kind of watching over its time without."""
    what = f"784-128-64-10, {ROWS} rows a rank"
    result = Result(f"what it costs to watch over two ranks, {what}, Adam, float32")
    try:
        launcher = find_launcher()
    except (MissingExtra, InputError) as error:
        result.notes.append(f"left out: {error}")
        return result
    rounds = [one for _ in range(JOBS) for one in _job(launcher)]
    times = Times({name: [one[name] for one in rounds] for name in rounds[0]})
    result.rows += times.ratio("checked", "plain", "check-collectives", goal=1.05)
    hashes = [100 * one["hash"] / (EVERY * one["plain"]) for one in rounds]
    name = f"a hash check every {EVERY} steps"
    result.rows.append(Row(name, spread(hashes), "% of the steps", goal=1.0))
    result.rows += times.ratio("traced", "plain", "trace")
    result.microseconds |= times.medians("a step")
    result.notes.append(
        f"a step has two collectives; {core_count()} cores, and "
        f"{statistics.median(os.getloadavg()):.1f} processes that want one"
    )
    return result


def _job(launcher: Launcher) -> list[dict[str, float]]:
    environ = outside_mpi(os.environ) | {"PYTHONPATH": str(ROOT)}
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    words = ["-m", "benchmarks.checks_rank", str(ROWS), str(ROUNDS)]
    arguments, settings = command(
        2, words, launcher=launcher, cores=core_count(), environ=environ, root=root
    )
    text = subprocess.run(
        arguments, env=settings, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    ).stdout
    rounds: list[dict[str, float]] = json.loads(text.splitlines()[-1])
    return rounds
