"""Pictures of schedules, and of what they cost. Colours are those of Okabe and Ito."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

from minigrad.distributed.algorithms.schedule import Schedule
from minigrad.errors import InputError, require
from minigrad.figure import new_figure, save_figure

__all__ = ["draw", "draw_costs"]

_ARROWS = {"reduce": ("#D55E00", "-", "to be added"), "copy": ("#009E73", "--", "to replace")}
_MOST_RANKS, _MOST_ROUNDS = 16, 40
_WIDTH, _HEIGHT = 0.8, 0.3  # of a buffer, where ranks and rounds are 1 apart


def draw(schedule: Schedule, path: str | os.PathLike[str]) -> None:
    """Draw every rank's buffer before the first round and after each, and who sends which part.

    The darker a part, the more ranks' contributions it holds. ``path`` ends in .png, .svg or .pdf.
    Raises :class:`InputError` for more than 16 ranks or 40 rounds.
    """
    ranks, rounds = schedule.ranks, len(schedule.rounds)
    if ranks > _MOST_RANKS or rounds > _MOST_ROUNDS:
        raise InputError(
            f"{ranks} ranks and {rounds} rounds are too many to draw; give at most {_MOST_RANKS} "
            f"and {_MOST_ROUNDS}"
        )
    figure = new_figure(1.5 * ranks + 2.2, 0.75 * rounds + 2.2)
    axes = figure.subplots()
    shades = require("matplotlib", "viz").colormaps["Blues"]
    patches = require("matplotlib.patches", "viz")
    for row, state in enumerate(schedule.history):
        for rank, sums in enumerate(state):
            for (start, stop), sum_ in zip(schedule.pieces, sums):
                held = (sum_.count("+") + 1) / ranks if sum_ else 0.0
                left, width = _x(schedule, rank, start), (stop - start) / schedule.size * _WIDTH
                axes.add_patch(
                    patches.Rectangle(
                        (left, row - _HEIGHT / 2), width, _HEIGHT,
                        facecolor=shades(0.9 * held), edgecolor="#444444", linewidth=0.6,
                    )
                )  # fmt: skip
    for row, each in enumerate(schedule.rounds):
        for t in each:
            colour, style, _ = _ARROWS[t.action]
            middle = (t.start + t.stop) / 2
            axes.annotate(
                "",
                (_x(schedule, t.target, middle), row + 1 - _HEIGHT / 2),
                (_x(schedule, t.source, middle), row + _HEIGHT / 2),
                arrowprops={
                    "arrowstyle": "-|>", "color": colour, "linestyle": style, "linewidth": 1.2,
                    "shrinkA": 0, "shrinkB": 0,
                },
            )  # fmt: skip
    axes.set(xlim=(-0.5, ranks - 0.5), ylim=(rounds + 0.4, -0.4))
    axes.set_xticks(range(ranks), [f"rank {rank}" for rank in range(ranks)])
    axes.set_yticks(range(rounds + 1), ["start", *map(str, range(1, rounds + 1))])
    axes.set_ylabel("after round")
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    title = f"{schedule.name}: {schedule.collective}, {schedule.size} elements"
    figure.suptitle(title, fontsize=11)
    line = require("matplotlib.lines", "viz").Line2D
    handles = [line([], [], color=c, linestyle=s, label=text) for c, s, text in _ARROWS.values()]
    for held in sorted({1, ranks}):
        words = f"sum of {held} rank{'s' * (held > 1)}"
        handles.append(
            patches.Patch(facecolor=shades(0.9 * held / ranks), edgecolor="#444444", label=words)
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    save_figure(figure, path)


def draw_costs(
    measured: Mapping[str, Sequence[tuple[float, float]]],
    predicted: Mapping[str, Sequence[tuple[float, float]]],
    path: str | os.PathLike[str],
    title: str = "",
) -> None:
    """Draw ``measured`` points and ``predicted`` lines, (bytes, seconds), a panel an algorithm.

    What was measured and has no prediction is drawn beside each, as a line. ``path`` ends in .png,
    .svg or .pdf. Raises :class:`InputError` where nothing, or something unmeasured, is predicted.
    """
    if not predicted or not predicted.keys() <= measured.keys():
        raise InputError(
            f"predictions are for {', '.join(predicted) or 'nothing'}, but measured were "
            f"{', '.join(measured) or 'none'}; give both for each algorithm to draw"
        )
    columns = min(4, len(predicted))
    rows = -(-len(predicted) // columns)
    figure = new_figure(2.7 * columns + 0.4, 2.5 * rows + 1.0)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    beside = [name for name in measured if name not in predicted]
    for axes, name in itertools.zip_longest(grid.flat, predicted):
        if name is None:
            axes.set_axis_off()
            continue
        for number, other in enumerate(beside):
            style = ("--", ":", "-.")[number % 3]
            axes.plot(*zip(*measured[other]), style, color="#777777", label=other)
        axes.plot(*zip(*predicted[name]), color="#0072B2", label="predicted")
        axes.plot(*zip(*measured[name]), "o", color="#D55E00", markersize=4, label="measured")
        axes.set(xscale="log", yscale="log")
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
    figure.supxlabel("bytes", fontsize=10)
    figure.supylabel("seconds", fontsize=10)
    if title:
        figure.suptitle(title, fontsize=11)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=3, fontsize=9, frameon=False)
    save_figure(figure, path)


def _x(schedule: Schedule, rank: int, element: float) -> float:
    return rank + _WIDTH * (element / schedule.size - 0.5)
