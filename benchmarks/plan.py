"""What ``minigrad plan`` predicts against jobs of 1, 2 and 4 ranks on this machine.

Rows are "measured over predicted": 1 is right, above 1 the prediction was too good.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Row, Spread, spread
from minigrad.distributed.host import core_count
from minigrad.errors import InputError, MissingExtra
from minigrad.launch import Launcher, command, find_launcher, outside_mpi
from minigrad.plan import Job, Layout, memory, time

__all__ = ["alpha_beta", "job_for", "run"]

ROOT = Path(__file__).parent.parent
NETWORKS = (((784, 128, 64, 10), 128), ((784, 1024, 1024, 10), 256))
RANKS = (1, 2, 4)
ROUNDS = 7

Answer = dict[str, Any]


def run() -> Result:
    """Time of a step and peak memory of a rank, measured over predicted."""
    result = Result("measured over predicted by 'minigrad plan': data parallel, Adam, float32")
    try:
        launcher = find_launcher()
    except (MissingExtra, InputError) as error:
        result.notes.append(f"left out: {error}")
        return result
    for sizes, rows in NETWORKS:
        found = {ranks: _job(launcher, ranks, sizes, rows) for ranks in RANKS}
        _report(result, sizes, rows, found)
    cores = core_count()
    result.notes += [
        "one rank is predicted from the rate of a product of 768 x 768 matrices, all of it; more "
        "ranks from the time of a step of rank 0 alone in the same job, while the others slept",
        "latency and bandwidth are fitted to all-reduces of 4 bytes and 4 MiB on two ranks",
        f"ranks of up to {max(RANKS)} share {cores} cores, of which the model knows nothing: it "
        "has a core for each, and none of memory's bandwidth is shared",
        "peak memory: the arrays that NumPy held at once in a step; temporary ones, which the "
        "model leaves out, included",
        "numbers of ranks beyond these have not been measured: there the plan is a prediction",
    ]
    return result


def job_for(
    sizes: tuple[int, ...],
    rows: int,
    ranks: int,
    *,
    latency: float,
    bandwidth: float,
    flops: float,
) -> Job:
    """The network with ``rows`` samples a rank. What a sample keeps is counted from the sizes:
    the input and what each layer puts out."""
    return Job(
        parameters=sum((n + 1) * m for n, m in itertools.pairwise(sizes)),
        layers=len(sizes) - 1,
        width=max(sizes[1:]),
        tokens=1,
        batch=rows * ranks,
        memory=float("inf"),
        bandwidth=bandwidth,
        node_bandwidth=bandwidth,
        latency=latency,
        flops=flops,
        efficiency=1.0,
        network="dense",
        precision="fp32",
        activations=4 * sum(sizes),
        micro_batches=1,
    )


def alpha_beta(messages: list[tuple[int, float]]) -> tuple[float, float]:
    """(latency, bandwidth) from two (bytes, seconds) of a ring's all-reduce on two ranks, which
    takes 2α + bytes · β."""
    (small, quick), (large, slow) = messages
    beta = max(slow - quick, 1e-9) / (large - small)
    return max(quick - small * beta, 1e-9) / 2, 1 / beta


def _report(result: Result, sizes: tuple[int, ...], rows: int, found: dict[int, Answer]) -> None:
    latency, bandwidth = alpha_beta(found[2]["messages"])
    flops = found[1]["flops"]
    name = f"{'-'.join(map(str, sizes))}, {rows} rows a rank"
    record = result.microseconds
    record[f"{name}: an all-reduce's latency"] = latency * 1e6
    record[f"{name}: a MB at its bandwidth"] = 1e12 / bandwidth
    record[f"{name}: a billion operations of a product"] = 1e15 / flops
    for ranks, answer in found.items():
        job = job_for(sizes, rows, ranks, latency=latency, bandwidth=bandwidth, flops=flops)
        what = f"{name}, {ranks} rank{'s' * (ranks > 1)}"
        hidden, whole = [], []
        for alone, together in zip(answer["alone"], answer["together"], strict=True):
            if ranks > 1:
                work = 6 * job.parameters * rows
                job = replace(job, flops=work / alone)
            predicted = time(job, Layout(ranks))
            hidden.append(together / predicted.total)
            whole.append(together / predicted.without_overlap)
            record[f"{what}: predicted, the last round"] = predicted.total * 1e6
        result.rows.append(Row(f"{what}: a step", spread(hidden)))
        if ranks > 1:
            result.rows.append(Row(f"{what}: a step without overlap", spread(whole)))
        record[f"{what}: measured"] = statistics.median(answer["together"]) * 1e6
        for zero, peak in enumerate(answer["peaks"]):
            ratio = peak / memory(job, Layout(ranks, zero=zero)).total
            stage = f" with ZeRO {zero}" if zero else ""
            result.rows.append(Row(f"{what}: peak memory{stage}", Spread(ratio, ratio, ratio)))


def _job(launcher: Launcher, ranks: int, sizes: tuple[int, ...], rows: int) -> Answer:
    """Rank 0's answer, with the largest of the ranks' peaks."""
    environ = outside_mpi(os.environ) | {"PYTHONPATH": str(ROOT)}
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    words = ["-m", "benchmarks.plan_rank", ",".join(map(str, sizes)), str(rows), str(ROUNDS)]
    arguments, settings = command(
        ranks, words, launcher=launcher, cores=core_count(), environ=environ, root=root
    )
    text = subprocess.run(
        arguments, env=settings, stdout=subprocess.PIPE, text=True, check=True, timeout=120
    ).stdout
    answers = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    if len(answers) != ranks:
        raise RuntimeError(f"{ranks} ranks should have answered, not {len(answers)}")
    first: Answer = next(answer for answer in answers if answer["rank"] == 0)
    first["peaks"] = [max(peaks) for peaks in zip(*(a["peaks"] for a in answers), strict=True)]
    return first
