"""The ladder as a picture: operations a second over operations a byte, and memory's roof."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rungs import BYTES, RUNGS
from minigrad.errors import require

__all__ = [
    "COPY",
    "GPU_SIZE",
    "IN_PLACE",
    "PARALLEL",
    "SIZES",
    "labels",
    "microseconds",
    "picture",
    "place",
]

SIZES = {109_386: "they stay in the caches", 6_000_000: "they come from memory"}
GPU_SIZE = 100_000_000
PARALLEL = 1 << 17  # cpu.cuh's: from so many elements on, kernels use more than one core
OPERATIONS = 13  # of the formula, its constants being folded: 1 for the decay, 3 m, 4 v, 5 θ
COPY = "copy"
IN_PLACE = "read and written in place"

# Okabe and Ito's colours, which people with any colour vision can tell apart
_SERIES = {"one core": ("#0072B2", "o"), "two cores": ("#D55E00", "s"), "GPU": ("#0072B2", "o")}
_INK, _GREY = "#222222", "#999999"


def picture(record: Mapping[str, Any], path: Path) -> None:
    """A roofline for each size: operations a second over operations a byte, and memory's roof."""
    shown = {
        n: [label for label in labels(n) if microseconds(record, place(n, label), COPY)]
        for n in (*SIZES, GPU_SIZE)
    }
    shown = {n: some for n, some in shown.items() if some}
    with require("matplotlib", "viz").rc_context({"font.size": 12, "text.color": _INK}):
        figure = require("matplotlib.figure", "viz").Figure(
            figsize=(6 * len(shown), 5), dpi=150, layout="constrained", facecolor="white"
        )
        for axes, (n, some) in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown.items()):
            for label in some:
                _roofline(axes, record, n, label)
            axes.set(xscale="log", yscale="log", xlim=(0.06, 2), title=f"{n:,} parameters")
            axes.set(xlabel="operations a byte", ylabel="billion operations a second")
            low, high = axes.get_ylim()
            axes.set_ylim(low, 2.2 * high)  # room for the legend
            _name(axes, [point for label in some for point in _points(record, n, label)])
            _plain_ticks(axes)
            axes.grid(alpha=0.25)
            axes.legend(loc="upper left", framealpha=1)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def labels(n: int) -> tuple[str, ...]:
    """Where a size is measured."""
    if n == GPU_SIZE:
        return ("GPU",)
    return ("one core", "two cores") if n >= PARALLEL else ("one core",)


def place(n: int, label: str) -> str:
    """How a record names a size and what ran there."""
    return f"{n:,} parameters, {label}"


def microseconds(record: Mapping[str, Any] | None, where: str, name: str) -> float | None:
    """A rung's median; ``None`` where it was not measured."""
    found: dict[str, float] = record["microseconds"] if record else {}
    return found.get(f"{where}: {name}")


def _points(record: Mapping[str, Any], n: int, label: str) -> list[tuple[float, float, str]]:
    """Operations a byte, billions of operations a second, and the name of each rung."""
    suffix = ", two cores" if label == "two cores" else ""
    return [
        (OPERATIONS / rung.bytes, OPERATIONS * n / us / 1e3, f"{rung.number} {rung.name}{suffix}")
        for rung in RUNGS
        if rung.number < 6 and (us := microseconds(record, place(n, label), rung.name))
    ]


def _roofline(axes: Any, record: Mapping[str, Any], n: int, label: str) -> None:
    """Memory's roof, the rungs below it, and a path from each to the next.

    AdamW writes where it has read, and so does the pass that the roof is taken from. A copy writes
    elsewhere, to lines that a CPU fetches first.
    """
    colour, marker = _SERIES[label]
    where = place(n, label)
    us = microseconds(record, where, IN_PLACE) or microseconds(record, where, COPY)
    assert us is not None, "picture() left out what has no copy"
    rate = BYTES * n / us / 1e3  # GB/s
    roof = np.array([0.07, 0.75])
    axes.plot(roof, roof * rate, color=colour, linewidth=2, label=f"{label}: {rate:.0f} GB/s")
    x, y, _ = zip(*_points(record, n, label))
    axes.plot(x, y, ":", color=_GREY, linewidth=1.5, zorder=1)
    axes.plot(x, y, marker, color=colour, markersize=9, markeredgecolor="white", zorder=3)


def _name(axes: Any, points: list[tuple[float, float, str]]) -> None:
    """Names to the right of the points; those that would overlap move up."""
    low, high = axes.get_ylim()
    gap = (high / low) ** 0.055
    taken: dict[bool, float] = {}
    for x, y, text in sorted(points, key=lambda point: point[1]):
        column = x > 0.3
        height = taken[column] = max(y, taken.get(column, 0) * gap)
        axes.annotate(
            text, (x, y), xytext=(x * 1.13, height), va="center", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
            arrowprops={"arrowstyle": "-", "color": _GREY} if height > y else None,
        )  # fmt: skip


def _plain_ticks(axes: Any) -> None:
    ticker = require("matplotlib.ticker", "viz")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(ticker.NullLocator())
