"""Two ranks against one, the same work a rank; PyTorch's DistributedDataParallel beside it.

Each job is two processes (see :mod:`benchmarks.rank`), in which several things alternate: rank 0
works alone while the other sleeps, both work without talking, both work together. Jobs of the two
frameworks take turns.
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
from benchmarks.rank import ALONE, APART
from minigrad.distributed.host import core_count
from minigrad.errors import InputError, MissingExtra
from minigrad.launch import Launcher, command, find_launcher, outside_mpi

__all__ = ["run"]

ROOT = Path(__file__).parent.parent
JOBS = 3
ROUNDS = 7  # in a job
CASES = (  # sizes of the network, rows a rank, steps a round, the goal for a step against DDP's
    ("784-128-64-10", 32, 40, 0.4),
    ("784-128-64-10", 128, 40, None),
    ("784-1024-1024-10", 256, 6, 0.85),
)

Answer = dict[str, Any]
"""What a rank printed: its number, the losses of its first steps, and its rounds."""


def run() -> Result:
    """The step of two ranks against DDP's, of one reducer against another, and against one rank."""
    result = Result("two ranks, same work a rank, Adam, float32")
    try:
        launcher = find_launcher()
    except (MissingExtra, InputError) as error:
        result.notes.append(f"left out: {error}")
        return result
    starters: dict[str, Callable[[Words], list[Answer]]] = {"minigrad": partial(_mpi_job, launcher)}
    if optional_torch() is None:
        result.notes.append("PyTorch is not installed: its part was left out")
    else:
        starters["PyTorch"] = _torch_job
    for sizes, rows, steps, goal in CASES:
        words = (sizes, str(rows), str(steps), str(ROUNDS))
        jobs: dict[str, list[list[Answer]]] = {name: [] for name in starters}
        for _ in range(JOBS):
            for name, start in starters.items():
                jobs[name].append(start(words))
        _check([job for found in jobs.values() for job in found])
        what = f"{sizes}, {rows} rows a rank"
        ours = [round_ for job in jobs["minigrad"] for round_ in job[0]["rounds"]]
        theirs = [round_ for job in jobs.get("PyTorch", []) for round_ in job[0]["rounds"]]
        if theirs:
            ratios = [a["bucketed"] / b["DDP"] for a, b in zip(ours, theirs, strict=True)]
            result.rows.append(
                Row(f"{what}: step / PyTorch DDP's (gloo)", spread(ratios), goal=goal)
            )
            result.microseconds[f"{what}: DDP"] = 1e6 * statistics.median(r["DDP"] for r in theirs)
        for other, limit in (("flat", 1.05), ("naive", None)):
            ratios = [r["bucketed"] / r[other] for r in ours]
            result.rows.append(Row(f"{what}: bucketed / {other}", spread(ratios), goal=limit))
        _report(result, f"minigrad, {what}", "bucketed", ours)
        _report(result, f"PyTorch, {what}", "DDP", theirs)
    result.notes.append(
        f"throughput: 2 would be perfect; {core_count()} cores share their caches and memory"
    )
    result.notes.append(
        "exposed: by how much a step is longer than one without communication; in start and wait: "
        "the time inside these calls, waiting for the other rank included"
    )
    return result


Words = tuple[str, ...]


def _check(jobs: list[list[Answer]]) -> None:
    """Raise unless each rank saw the same losses in every job, whatever the framework."""
    for job in jobs:
        for mine, theirs in zip(job, jobs[0], strict=True):
            pairs = zip(mine["losses"], theirs["losses"], strict=True)
            if not all(math.isclose(a, b, rel_tol=1e-4) for a, b in pairs):
                raise AssertionError(f"losses differ: {mine['losses']} and {theirs['losses']}")


def _report(result: Result, what: str, mode: str, rounds: list[dict[str, float]]) -> None:
    if not rounds:
        return

    def add(name: str, values: list[float], unit: str) -> None:
        result.rows.append(Row(f"{what}: {name}", spread(values), unit))

    gains = [2 * r[ALONE] / r[mode] for r in rounds]
    add("throughput of two / of one", gains, "times")
    exposed = [100 * (1 - r[APART] / r[mode]) for r in rounds]
    add("communication, exposed", exposed, "% of a step")
    if f"{mode}, inside" in rounds[0]:
        inside = [100 * r[f"{mode}, inside"] / r[mode] for r in rounds]
        add("communication, in start and wait", inside, "% of a step")
    for one in (ALONE, APART, mode):
        median = statistics.median(r[one] for r in rounds)
        result.microseconds[f"{what}: {one}"] = median * 1e6


def _mpi_job(launcher: Launcher, job: Words) -> list[Answer]:
    environ = outside_mpi(os.environ) | {"PYTHONPATH": str(ROOT)}
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    words = ["-m", "benchmarks.rank", "minigrad", *job]
    arguments, settings = command(
        2, words, launcher=launcher, cores=core_count(), environ=environ, root=root
    )
    text = subprocess.run(
        arguments, env=settings, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    ).stdout
    return _in_order(text.splitlines())


def _torch_job(job: Words) -> list[Answer]:
    environ = outside_mpi(os.environ) | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        words = ["-m", "benchmarks.rank", "torch", *job, meeting]
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
