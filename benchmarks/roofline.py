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
OPERATIONS = 13  # a parameter, the constants being folded: 1 for the decay, 3 for m, 4 v, 5 θ
COPY = "copy"
IN_PLACE = "read and written in place"

# Okabe and Ito's colours, which people with any colour vision can tell apart
_SERIES = {"one core": ("#0072B2", "o"), "two cores": ("#D55E00", "s"), "GPU": ("#0072B2", "o")}
_INK, _GREY = "#222222", "#999999"


def picture(record: Mapping[str, Any], path: Path) -> None:
    """A roofline for each size, all with the same axes; each point has its rung's number."""
    shown = {
        n: [label for label in labels(n) if microseconds(record, place(n, label), COPY)]
        for n in (*SIZES, GPU_SIZE)
    }
    shown = {n: some for n, some in shown.items() if some}
    with require("matplotlib", "viz").rc_context({"font.size": 12, "text.color": _INK}):
        figure = require("matplotlib.figure", "viz").Figure(
            figsize=(5.5 * len(shown), 5.4), dpi=150, layout="constrained", facecolor="white"
        )
        panels = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (n, some) in zip(panels, shown.items()):
            for label in some:
                _roofline(axes, record, n, label)
            axes.set(xscale="log", yscale="log", xlim=(0.06, 1), title=f"{n:,} parameters")
            axes.set(xlabel="operations a byte")
            axes.grid(alpha=0.25)
            axes.legend(loc="upper left", framealpha=1)
        low, high = panels[0].get_ylim()
        panels[0].set(ylim=(0.8 * low, 2.5 * high), ylabel="billion operations a second")
        for axes, (n, some) in zip(panels, shown.items()):
            _number(axes, [(label, _points(record, n, label)) for label in some])
            _plain_ticks(axes)
        names = [f"{rung.number} {rung.name}" for rung in RUNGS if rung.number < 6]
        figure.supxlabel("     ".join(names), fontsize=11)
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
    """Operations a byte, billions of operations a second, and the number of each rung.

    Without the sixth, which does more than the others' operations.
    """
    return [
        (OPERATIONS / rung.bytes, OPERATIONS * n / us / 1e3, str(rung.number))
        for rung in RUNGS
        if rung.number < 6 and (us := microseconds(record, place(n, label), rung.name))
    ]


def _roofline(axes: Any, record: Mapping[str, Any], n: int, label: str) -> None:
    """Memory's roof, and the rungs below it.

    AdamW writes where it has read, and so does the pass that the roof is taken from. A copy writes
    elsewhere, to lines that a CPU fetches first.
    """
    colour, marker = _SERIES[label]
    where = place(n, label)
    us = microseconds(record, where, IN_PLACE) or microseconds(record, where, COPY)
    assert us is not None, "picture() left out what has no copy"
    rate = BYTES * n / us / 1e3  # GB/s
    roof = np.array([0.07, 0.5])
    axes.plot(roof, roof * rate, color=colour, linewidth=2, label=f"{label}: {rate:.0f} GB/s")
    x, y, _ = zip(*_points(record, n, label))
    axes.plot(x, y, marker, color=colour, markersize=8, markeredgecolor="white", zorder=3)


def _number(axes: Any, series: list[tuple[str, list[tuple[float, float, str]]]]) -> None:
    """Numbers to the right of the points, where the roofs have ended, or just below them; points
    of one series that nearly meet share a label, and labels that would overlap move up."""
    low, high = axes.get_ylim()
    gap = (high / low) ** 0.045
    found: list[tuple[float, float, str, str]] = []  # x, y, colour, text
    for label, points in series:
        colour, own = _SERIES[label][0], len(found)
        for x, y, number in sorted(points, key=lambda point: point[1]):
            last = found[-1] if len(found) > own else (0.0, 0.0, "", "")
            if last[0] == x and y < last[1] * gap:
                numbers = ", ".join(sorted([*last[3].split(", "), number]))
                found[-1] = (x, (last[1] * y) ** 0.5, colour, numbers)
            else:
                found.append((x, y, colour, number))
    taken = 0.0
    for x, y, colour, text in sorted(found, key=lambda one: one[1]):
        style = {"color": colour, "fontweight": "bold", "zorder": 4}
        if x < 0.3:
            axes.annotate(
                text, (x, y), xytext=(0, -8), textcoords="offset points",
                ha="center", va="top", **style,
            )  # fmt: skip
        else:
            taken = max(y, taken * gap)
            axes.text(1.15 * x, taken, text, va="center", **style)


def _plain_ticks(axes: Any) -> None:
    ticker = require("matplotlib.ticker", "viz")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(ticker.NullLocator())
