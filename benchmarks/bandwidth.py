"""Training over a network of a given bandwidth: what flat, overlapped, compressed and rare
communication take until the model is accurate enough.

Two hosts made of namespaces (:mod:`benchmarks.hosts`), a rank on each; real TCP. Jobs are those of
:mod:`benchmarks.bandwidth_rank`. ``python -m benchmarks bandwidth`` measures, and :func:`publish`
draws the picture from what was written.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.bandwidth_rank import BATCH, SIZES, TARGET, VARIANTS
from benchmarks.harness import Result, Row, spread
from benchmarks.hosts import Hosts, two_hosts
from benchmarks.hosts import run as run_job
from minigrad.errors import InputError, MissingExtra, require

__all__ = ["RATES", "picture", "publish", "run"]

RATES: tuple[int | None, ...] = (10, 50, 200, 1000, None)
"""Mbit/s each way; ``None`` for as much as the kernel moves between its namespaces."""

BASE = next(iter(VARIANTS))

# Okabe and Ito's colours, which people with any colour vision can tell apart
_STYLES = (("#000000", "o", "-"), ("#0072B2", "s", "-"), ("#009E73", "^", "--"),
           ("#CC79A7", "v", "--"), ("#D55E00", "D", "-."), ("#E69F00", "P", ":"))  # fmt: skip


def run() -> Result:
    """Seconds until the accuracy, over those of flat, and how much each variant sends a step."""
    size = "-".join(map(str, SIZES))
    result = Result(
        f"time to {TARGET:.0%} of digits' test samples, {size}, two hosts, batches of {BATCH}"
    )
    try:
        with two_hosts(None) as hosts:
            _measure(result, hosts)
    except (InputError, MissingExtra) as error:
        result.notes.append(f"left out: {error}")
    return result


def _measure(result: Result, hosts: Hosts) -> None:
    _job(hosts, BASE)  # whoever runs first loads programs from disk
    steps: dict[str, tuple[int, float]] = {}
    for rate in RATES:
        hosts.shape(rate)
        seconds: dict[str, list[float]] = {}
        for name in VARIANTS:
            seconds[name], sent = _job(hosts, name)
            steps[name] = len(seconds[name]), sent
            where = f"{_rate(rate)}, {name}"
            result.microseconds[f"{where}: to the accuracy"] = 1e6 * sum(seconds[name])
            result.microseconds[f"{where}: a step"] = 1e6 * statistics.median(seconds[name])
        base = sum(seconds.pop(BASE))
        result.rows += [
            Row(f"{_rate(rate)}: {name} / {BASE}", spread([sum(took) / base]))
            for name, took in seconds.items()
        ]
    result.notes += [
        f"{name}: {count} steps, {sent / 1e6:.2g} MB a step each way"
        for name, (count, sent) in steps.items()
    ]
    result.notes.append("the clock stands still while accuracy is measured, every few steps")


def publish(record: Path) -> None:
    """Draw the picture of what was measured; where that is nothing, or without matplotlib, none."""
    found = json.loads(record.read_text(encoding="utf-8"))
    if found["rows"] and find_spec("matplotlib"):
        picture(found, record.with_suffix(".png"))


def picture(record: Mapping[str, Any], path: Path) -> None:
    """Seconds to the accuracy over the bandwidth, a line a variant."""
    found = {
        name: [record["microseconds"][f"{_rate(rate)}, {name}: to the accuracy"] for rate in RATES]
        for name in VARIANTS
    }
    limits = [rate for rate in RATES if rate is not None]
    places = [*limits, 5 * limits[-1]]
    with require("matplotlib", "viz").rc_context({"font.size": 12, "axes.axisbelow": True}):
        figure = require("matplotlib.figure", "viz").Figure(
            figsize=(8, 5.4), dpi=150, layout="constrained", facecolor="white"
        )
        axes = figure.subplots()
        for (name, took), (colour, marker, line) in zip(found.items(), _STYLES):
            seconds = [one / 1e6 for one in took]
            axes.plot(
                places, seconds, line, marker=marker, color=colour, label=name,
                linewidth=2, markersize=7, markeredgecolor="white",
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="bandwidth each way, Mbit/s")
        axes.set(
            ylabel=f"seconds to {TARGET:.0%} accuracy", title=record["title"].split(", ", 1)[1]
        )
        axes.set_xticks(places, [*map(str, limits), "no limit"])
        axes.minorticks_off()
        ticker = require("matplotlib.ticker", "viz")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
        axes.grid(alpha=0.3)
        axes.legend(framealpha=1)
        figure.savefig(path)


def _job(hosts: Hosts, variant: str) -> tuple[list[float], float]:
    """The seconds of each step, and the bytes that a step sends each way."""
    before = hosts.bytes_sent()
    job = run_job(hosts, 2, "-m", "benchmarks.bandwidth_rank", variant, timeout=300)
    if job.returncode:
        raise RuntimeError(f"'{variant}' failed: {job.stderr}")
    found = json.loads(job.stdout)
    if found["accuracies"][-1] < TARGET:
        raise RuntimeError(f"'{variant}' has not learned: {found['accuracies']}")
    seconds: list[float] = found["seconds"]
    return seconds, (hosts.bytes_sent() - before) / len(seconds)


def _rate(rate: int | None) -> str:
    return "no limit" if rate is None else f"{rate} Mbit/s"
