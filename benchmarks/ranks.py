"""Two ranks against one, the same work a rank; PyTorch's DistributedDataParallel beside it.

Each job is two processes (see :mod:`benchmarks.rank`), in which three things alternate: rank 0
works alone while the other sleeps, both work without talking, both work together.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Row, optional_torch, spread
from minigrad.distributed.host import core_count
from minigrad.errors import InputError, MissingExtra
from minigrad.launch import Launcher, command, find_launcher, outside_mpi

__all__ = ["run"]

ROOT = Path(__file__).parent.parent
JOBS = 3
ROUNDS = 7  # in a job
BATCHES = (32, 128)

Answer = dict[str, Any]
"""What a rank printed: its number, the losses of its first steps, and its rounds."""


def run() -> Result:
    """Throughput of two ranks over that of one, and the share of a step spent in communication."""
    result = Result("two ranks against one, same work a rank, 784-128-64-10, Adam, float32")
    try:
        launcher = find_launcher()
    except (MissingExtra, InputError) as error:
        result.notes.append(f"left out: {error}")
        return result
    starters: dict[str, Callable[[int], list[Answer]]] = {"minigrad": partial(_mpi_job, launcher)}
    if optional_torch() is None:
        result.notes.append("PyTorch is not installed: its part was left out")
    else:
        starters["PyTorch DDP"] = _torch_job
    for rows in BATCHES:
        jobs: dict[str, list[list[Answer]]] = {name: [] for name in starters}
        for _ in range(JOBS):
            for name, start in starters.items():
                jobs[name].append(start(rows))
        _check([job for found in jobs.values() for job in found])
        for name, found in jobs.items():
            rounds = [round_ for job in found for round_ in job[0]["rounds"]]
            _report(result, f"{name}, {rows} rows a rank", rounds)
    result.notes.append(
        f"throughput: 2 would be perfect; {core_count()} cores share their caches and memory"
    )
    result.notes.append(
        "exposed: by how much a step is longer than one without communication; in start and wait: "
        "the time inside these calls, waiting for the other rank included"
    )
    return result


def _check(jobs: list[list[Answer]]) -> None:
    """Raise unless each rank saw the same losses in every job, whatever the framework."""
    for job in jobs:
        for mine, theirs in zip(job, jobs[0], strict=True):
            pairs = zip(mine["losses"], theirs["losses"], strict=True)
            if not all(math.isclose(a, b, rel_tol=1e-4) for a, b in pairs):
                raise AssertionError(f"losses differ: {mine['losses']} and {theirs['losses']}")


def _report(result: Result, what: str, rounds: list[dict[str, float]]) -> None:
    def add(name: str, values: list[float], unit: str) -> None:
        result.rows.append(Row(f"{what}: {name}", spread(values), unit))

    gains = [2 * r["alone"] / r["together"] for r in rounds]
    add("throughput of two / of one", gains, "times")
    exposed = [100 * (1 - r["apart"] / r["together"]) for r in rounds]
    add("communication, exposed", exposed, "% of a step")
    if "inside" in rounds[0]:
        inside = [100 * r["inside"] / r["together"] for r in rounds]
        add("communication, in start and wait", inside, "% of a step")
    for mode in ("alone", "apart", "together"):
        median = statistics.median(r[mode] for r in rounds)
        result.microseconds[f"{what}: {mode}"] = median * 1e6


def _mpi_job(launcher: Launcher, rows: int) -> list[Answer]:
    environ = outside_mpi(os.environ) | {"PYTHONPATH": str(ROOT)}
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    words = ["-m", "benchmarks.rank", "minigrad", str(rows), str(ROUNDS)]
    arguments, settings = command(
        2, words, launcher=launcher, cores=core_count(), environ=environ, root=root
    )
    text = subprocess.run(
        arguments, env=settings, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    ).stdout
    return _in_order(text.splitlines())


def _torch_job(rows: int) -> list[Answer]:
    environ = outside_mpi(os.environ) | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        words = ["-m", "benchmarks.rank", "torch", str(rows), str(ROUNDS), meeting]
        ranks = [
            subprocess.Popen(
                [sys.executable, *words, str(rank)], env=environ, stdout=subprocess.PIPE, text=True
            )
            for rank in range(2)
        ]
        try:
            texts = [rank.communicate(timeout=300)[0] for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
    return _in_order([line for text in texts for line in text.splitlines()])


def _in_order(lines: list[str]) -> list[Answer]:
    """What each rank answered, rank 0's first."""
    answers: list[Answer] = [json.loads(line) for line in lines if line.startswith("{")]
    answers.sort(key=itemgetter("rank"))
    if [answer["rank"] for answer in answers] != [0, 1]:
        raise RuntimeError(f"two ranks should have answered, not {len(answers)}")
    return answers
