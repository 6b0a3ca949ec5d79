"""A picture of a pipeline: what was planned and, below it, what happened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from minigrad.distributed.pipeline.timeline import Slot, bubble
from minigrad.errors import InputError, require
from minigrad.figure import new_figure, save_figure

__all__ = ["gantt"]

# Light and dark, so that they differ in grey and to any eye (the blues of Okabe and Ito).
_FILL = {"forward": "#B4DDF5", "backward": "#0072B2"}
_TEXT = {"forward": "black", "backward": "white"}
_WIDTH, _ROW = 10.0, 0.42  # inches
_SMALLEST = 5.0  # points; numbers that would have to be smaller are left out


def gantt(
    path: str | os.PathLike[str], planned: Sequence[Slot], happened: Sequence[Slot] | None = None
) -> None:
    """Draw the slots of :func:`simulate` and, below, measured ones (in seconds), a row a stage.

    A box is one micro-batch's forward (light) or backward (dark), with its number where there is
    room; white is idle time. ``path`` ends in .png, .svg or .pdf. Raises :class:`InputError` if
    there is nothing to draw, or the file cannot be written.
    """
    panels = [("plan", list(planned), 1.0, "time (units of the plan)")]
    if happened is not None:
        panels.append(("what happened", list(happened), 1e3, "time (ms)"))
    for title, slots, _, _ in panels:
        if not slots:
            raise InputError(f"gantt: there are no slots of the {title}; run the pipeline first")
    heights = [_ROW * (1 + max(slot.stage for slot in slots)) for _, slots, _, _ in panels]
    figure = new_figure(_WIDTH, sum(heights) + 0.95 * len(panels) + 0.3)
    rows = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, slots, scale, label) in zip(rows, panels):
        _draw(axes, slots, scale)
        axes.set_title(f"{title}: {bubble(slots):.0%} of the time idle", loc="left", fontsize=11)
        axes.set_xlabel(label)
    patch = require("matplotlib.patches", "viz").Patch
    figure.legend(
        handles=[patch(facecolor=_FILL[kind], edgecolor="black", label=kind) for kind in _FILL],
        loc="outside upper right",
        ncols=2,
        frameon=False,
    )
    save_figure(figure, path)


def _draw(axes: Any, slots: Sequence[Slot], scale: float) -> None:
    start = min(slot.begin for slot in slots)
    length = scale * (max(slot.end for slot in slots) - start)
    digits = len(str(max(slot.instruction.micro_batch for slot in slots)))
    for stage, (kind, number), begin, end in slots:
        left, width = scale * (begin - start), scale * (end - begin)
        axes.barh(
            stage, width, left=left, height=0.86, color=_FILL[kind], edgecolor="black",
            linewidth=0.6, clip_on=False,
        )  # fmt: skip
        size = min(9.0, 72 * 0.9 * _WIDTH * width / length / (0.65 * digits + 0.3))
        if size >= _SMALLEST:
            axes.text(
                left + width / 2, stage, number, ha="center", va="center", fontsize=size,
                color=_TEXT[kind],
            )  # fmt: skip
    stages = range(1 + max(slot.stage for slot in slots))
    axes.set_yticks(stages, [f"stage {stage}" for stage in stages])
    axes.set(xlim=(0, length), ylim=(stages[-1] + 0.55, -0.55))
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
