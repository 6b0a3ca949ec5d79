"""All-reduce by each algorithm that is written out, beside MPI's own, and what a model says of it.

python -m benchmarks.collectives 4      (that many ranks; only prints)
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.collective import MPI
from benchmarks.harness import Result, Row, Times, spread
from minigrad.distributed.algorithms import (
    ALGORITHMS,
    Rates,
    all_reduce,
    draw_costs,
    fastest,
    fit,
    predict,
)
from minigrad.distributed.host import core_count
from minigrad.errors import InputError, MissingExtra
from minigrad.launch import command, find_launcher, outside_mpi

__all__ = ["publish", "run"]

ROOT = Path(__file__).parent.parent
SIZES = {
    "1 KiB": 1 << 10, "4 KiB": 1 << 12, "16 KiB": 1 << 14, "64 KiB": 1 << 16,
    "256 KiB": 1 << 18, "1 MiB": 1 << 20, "4 MiB": 1 << 22, "16 MiB": 1 << 24,
}  # fmt: skip
ROUNDS = 15
GOALS = {"ring": 1.5, "rabenseifner": 1.5}
LARGEST = "16 MiB"

Seconds = dict[str, dict[str, float]]
"""Of the quickest round, by algorithm and size: the model knows no other programs."""


def run(ranks: int = 2) -> Result:
    """Ratios to MPI at 16 MiB, and how good the model's choice is at each size."""
    result = Result(f"all-reduce of float32 on {ranks} ranks, written out and by MPI")
    try:
        found = _job(ranks)
    except (MissingExtra, InputError) as error:
        result.notes.append(f"left out: {error}")
        return result
    for name in ALGORITHMS:
        result.rows += found[LARGEST].ratio(name, MPI, LARGEST, GOALS.get(name))
    result.microseconds = {
        f"{size}: {name}": min(seconds) * 1e6
        for size, times in found.items()
        for name, seconds in times.seconds.items()
    }
    quickest = _by_algorithm(result.microseconds)
    rates = _fit(quickest, ranks)
    for size, nbytes in SIZES.items():
        chosen = fastest(ranks, nbytes // 4, rates)
        best = min(ALGORITHMS, key=lambda name: quickest[name][size])
        ratios = _ratios(found[size], chosen, best)
        what = f"{size}: {chosen}, by the model the fastest / {best}, the fastest"
        result.rows.append(Row(what, spread(ratios)))
    errors = [
        abs(predict(all_reduce(name, ranks, SIZES[size] // 4), rates) / seconds - 1)
        for name in ALGORITHMS
        for size, seconds in quickest[name].items()
    ]
    result.notes.append(
        f"model on {ranks} ranks: {rates.alpha * 1e6:.3g} µs a message, "
        f"{_rate(rates.beta)} sent, {_rate(rates.gamma)} added; off by "
        f"{statistics.median(errors):.0%} in the median over all algorithms and sizes"
    )
    result.notes.append("times, and what the model is fitted to, are those of the quickest rounds")
    if ranks > core_count():
        result.notes.append(f"{ranks} ranks share {core_count()} cores")
    return result


def publish(record: Path) -> None:
    """Draw the picture that belongs to a ``record``, beside it."""
    quickest = _by_algorithm(json.loads(record.read_text(encoding="utf-8"))["microseconds"])
    if quickest:
        picture(quickest, 2, record.with_suffix(".png"))


def picture(quickest: Seconds, ranks: int, path: Path) -> None:
    """Draw what was measured, and what a model fitted to it predicts."""
    rates = _fit(quickest, ranks)
    measured = {
        name: [(SIZES[size], seconds) for size, seconds in line.items()]
        for name, line in quickest.items()
    }
    predicted = {
        name: [(n, predict(all_reduce(name, ranks, n // 4), rates)) for n in SIZES.values()]
        for name in ALGORITHMS
    }
    draw_costs(measured, predicted, path, f"all-reduce on {ranks} ranks, float32")


def _by_algorithm(microseconds: Mapping[str, float]) -> Seconds:
    found: Seconds = {}
    for what, value in microseconds.items():
        size, _, name = what.partition(": ")
        found.setdefault(name, {})[size] = value * 1e-6
    return found


def _fit(quickest: Seconds, ranks: int) -> Rates:
    return fit(
        [
            (all_reduce(name, ranks, SIZES[size] // 4), seconds)
            for name in ALGORITHMS
            for size, seconds in quickest[name].items()
        ]
    )


def _ratios(times: Times, a: str, b: str) -> list[float]:
    return [x / y for x, y in zip(times.seconds[a], times.seconds[b], strict=True)]


def _rate(seconds_per_byte: float) -> str:
    return f"{1e-9 / seconds_per_byte:.3g} GB/s" if seconds_per_byte else "any number of bytes"


def _job(ranks: int) -> dict[str, Times]:
    environ = outside_mpi(os.environ) | {"PYTHONPATH": str(ROOT)}
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    words = ["-m", "benchmarks.collective", str(ROUNDS), *map(str, SIZES.values())]
    arguments, settings = command(
        ranks, words, launcher=find_launcher(), cores=core_count(), environ=environ, root=root
    )
    text = subprocess.run(
        arguments, env=settings, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    ).stdout
    found = json.loads(text)
    return {size: Times(found[str(nbytes)]) for size, nbytes in SIZES.items()}


def main(ranks: str = "2", path: str = "") -> None:
    """Print what was found on so many ranks, and draw it where a ``path`` is given."""
    from benchmarks.report import table

    result = run(int(ranks))
    print(table(result))
    if path:
        picture(_by_algorithm(result.microseconds), int(ranks), Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
