"""Pictures of training: learning curves, runs side by side, confusion matrix, ROC curve.

Matplotlib's figure objects are used without pyplot, so no display and no global state is needed.
Colours are those of Okabe and Ito, which people with any colour vision can tell apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.errors import InputError, require
from minigrad.figure import new_figure, save_figure

__all__ = ["confusion", "curves", "lines", "roc"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"
_CYCLE = ((_BLUE, "-"), (_ORANGE, "--"), ("#009E73", "-."), ("#CC79A7", ":"))
_LONGEST_NAME = 28  # characters; longer class names are cut
_MOST_DIGITS = 60  # classes; beyond them cells show colours only

# label of the axis, whether it shows zero, keys of the history and their legend
_PANELS = (
    ("loss (mean per sample)", False, {"loss": "training", "val_loss": "validation"}),
    ("accuracy (share of samples)", False, {"accuracy": "training", "val_accuracy": "validation"}),
    ("learning rate (per update)", True, {"lr": "learning rate"}),
    ("gradient norm (L2)", True, {"grad_norm": "gradient norm"}),
)


def curves(history: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw loss, accuracy, learning rate and gradient norm over epochs, those that are there.

    ``history``: a mapping an epoch, with keys among epoch, loss, val_loss, accuracy,
    val_accuracy, lr, grad_norm; others are passed over, and a key may be missing or None in
    some epochs. ``path`` ends in .png, .svg or .pdf. Raises :class:`InputError` if nothing is
    there to draw, or the file cannot be written.
    """
    panels = []
    for label, zero, keys in _PANELS:
        lines = {name: _line(history, key) for key, name in keys.items()}
        lines = {name: points for name, points in lines.items() if points}
        if lines:
            panels.append((label, zero, lines))
    if not panels:
        raise InputError(
            f"the history of {len(history)} epochs holds no numbers to draw; each epoch needs one "
            f"or more of {', '.join(key for *_, keys in _PANELS for key in keys)}"
        )
    columns = len(panels) if len(panels) < 4 else 2
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns, 3.4 * rows)
    locator = require("matplotlib.ticker", "viz").MaxNLocator
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (label, zero, lines) in zip(grid.flat, panels):
        for (name, points), colour, style in zip(lines.items(), (_BLUE, _ORANGE), ("-", "--")):
            marker = "o" if len(points) <= 12 else None
            axes.plot(*zip(*points), style, color=colour, marker=marker, markersize=4, label=name)
        epochs = [epoch for points in lines.values() for epoch, _ in points]
        if min(epochs) == max(epochs):
            axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
        axes.xaxis.set_major_locator(locator(8, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
        axes.set(xlabel="epoch", ylabel=label)
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)
        if zero:
            axes.update_datalim([(epochs[0], 0)])
            axes.autoscale_view(scalex=False)
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend()
    save_figure(figure, path)


def lines(
    runs: Mapping[str, Sequence[float]],
    path: str | os.PathLike[str],
    *,
    x: str = "epoch",
    y: str = "loss (mean per sample)",
    log: bool = False,
    floors: Mapping[str, float] | None = None,
) -> None:
    """Draw up to four runs side by side: each value over its number, from 1 on.

    ``log`` makes both axes logarithmic. ``floors`` are levels that a run cannot get below: thin
    horizontal lines, named in the legend. Raises :class:`InputError` for no runs, more than four,
    a run without values, or a file that cannot be written.
    """
    if not 1 <= len(runs) <= len(_CYCLE) or not all(map(len, runs.values())):
        raise InputError(
            f"{len(runs)} runs of {', '.join(str(len(v)) for v in runs.values()) or 'no'} values "
            f"were given to draw: give 1 to {len(_CYCLE)} runs, each with at least one value"
        )
    figure = new_figure(6.4, 4.0)
    axes = figure.subplots()
    for (name, values), (colour, style) in zip(runs.items(), _CYCLE):
        marker = "o" if len(values) <= 12 else None
        numbers = range(1, len(values) + 1)
        axes.plot(numbers, values, style, color=colour, marker=marker, markersize=4, label=name)
    for name, level in (floors or {}).items():
        axes.axhline(level, color=_GREY, linewidth=1, label=name)
    if log:
        axes.set(xscale="log", yscale="log")
    else:
        locator = require("matplotlib.ticker", "viz").MaxNLocator
        axes.xaxis.set_major_locator(locator(8, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if len(runs) + len(floors or ()) > 1:
        axes.legend()
    save_figure(figure, path)


def confusion(
    matrix: Array, path: str | os.PathLike[str], names: Sequence[str] | None = None
) -> None:
    """Draw a confusion matrix (classes, classes) of counts: rows true, columns predicted.

    Cells show counts; colours the share of the row, so that a rare class is seen as well as a
    frequent one. Raises :class:`InputError` for a matrix that is not square and of counts,
    ``names`` of another number, or a file that cannot be written.
    """
    counts = np.asarray(to_numpy(matrix))
    classes = len(counts) if counts.ndim else 0
    if counts.shape != (classes, classes) or not classes or counts.dtype.kind not in "iu":
        raise InputError(
            f"a confusion matrix has shape (classes, classes) and whole numbers; "
            f"this one is {counts.dtype} of shape {counts.shape}"
        )
    if names is not None and len(names) != classes:
        raise InputError(f"{len(names)} names were given for {classes} classes; give one for each")
    names, lacking = _labels(range(classes) if names is None else names)
    total = int(counts.sum())
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    # All sizes in inches: cells wide enough for their digits, at most 20 for the whole matrix
    # where there are no digits; the saved picture is then cut to what was drawn.
    digits = max(2, len(str(counts.max())))
    cell = max(0.34, 0.085 * digits, min(1.1, 3.2 / classes))
    if classes > _MOST_DIGITS:
        cell = 20 / classes
    side = cell * classes
    figure = new_figure(side + 1.5, side, layout=None)
    axes = figure.add_axes((0, 0, side / (side + 1.5), 1))
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    bar = figure.add_axes(((side + 0.2) / (side + 1.5), 0, 0.2 / (side + 1.5), 1))
    figure.colorbar(image, cax=bar, label="share of the true class")

    points = 72 * cell
    name_size = max(5.0, min(10.0, 0.8 * points))
    rotated = max(map(len, names)) * 0.65 * name_size > 0.85 * points
    step = max(1, round(1.4 * name_size / points))
    shown = range(0, classes, step)
    axes.set_xticks(shown, names[::step], rotation=90 if rotated else 0)
    axes.set_yticks(shown, names[::step])
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set(fontsize=name_size, parse_math=False)
    if classes <= _MOST_DIGITS:
        size = min(11.0, 0.8 * points / (0.65 * digits))
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > 0.71 else "black" if count else _GREY
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=size)
    accuracy = f"accuracy {counts.trace() / total:.4f}, {total:,} samples" if total else "empty"
    note = "\n(numbers: names that the font cannot write)" if lacking else ""
    axes.set(xlabel=f"predicted class{note}", ylabel="true class", title=accuracy)
    save_figure(figure, path, bbox_inches="tight")


def roc(
    fpr: Array, tpr: Array, auc: float, path: str | os.PathLike[str], positive: str = "1"
) -> None:
    """Draw an ROC curve, ``fpr`` and ``tpr`` of shape (n,) from metrics.roc_curve, and chance.

    ``positive`` is the name of the class that the scores are for.

    Raises :class:`InputError` if the shapes differ, or the file cannot be written.
    """
    fpr, tpr = to_numpy(fpr), to_numpy(tpr)
    if fpr.ndim != 1 or fpr.shape != tpr.shape:
        raise InputError(
            f"fpr has shape {fpr.shape} and tpr {tpr.shape}; both are (n,), from metrics.roc_curve"
        )
    figure = new_figure(5.0, 5.0)
    axes = figure.subplots()
    axes.plot(fpr, tpr, color=_BLUE, linewidth=2, label=f"model, AUC = {auc:.4f}")
    axes.plot([0, 1], [0, 1], "--", color=_GREY, label="chance, AUC = 0.5")
    axes.set(
        xlabel="false positive rate (share of negatives)",
        ylabel="true positive rate (share of positives)",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
        title=f"positive: {_labels([positive], first=1)[0][0]}",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    save_figure(figure, path)


def _line(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    return [
        (int(entry.get("epoch", number)), float(entry[key]))
        for number, entry in enumerate(history, 1)
        if entry.get(key) is not None
    ]


def _labels(names: Iterable[object], first: int = 0) -> tuple[list[str], bool]:
    """Names cut to a length that fits, and whether one that the font cannot write (Chinese, where
    no such font is installed) has become "class" and its number, counted from ``first``."""
    manager = require("matplotlib.font_manager", "viz")
    glyphs = manager.get_font(manager.findfont(manager.FontProperties())).get_charmap()
    labels, lacking = [], False
    for number, name in enumerate(map(str, names), first):
        cut = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        writable = all(ord(letter) in glyphs for letter in cut)
        lacking |= not writable
        labels.append(cut if writable else f"class {number}")
    return labels, lacking
