"""A picture of a trace: a few steps, and what each rank did at any time of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from minigrad.distributed.events import TRACKS, track_of
from minigrad.errors import InputError, require, unknown
from minigrad.files import write_whole

__all__ = ["timeline"]

# Colours of Okabe and Ito, which people with any colour vision can tell apart.
_PHASES = {"forward": "#56B4E9", "backward": "#0072B2", "update": "#009E73"}
_COLOURS = {"compute": "#999999", "waiting": "#D55E00", "communication": "#F0E442"}
_HEIGHT = 0.9  # of a row
_MOST_RANKS = 16

Box = dict[str, Any]


def timeline(
    trace: str | os.PathLike[str],
    picture: str | os.PathLike[str],
    *,
    steps: int = 2,
    first: int | None = None,
) -> None:
    """Draw ``steps`` steps of a file written by :meth:`Trace.save`, from step ``first`` on.

    Steps are counted from 0, and end with a span named "update"; by default they are from the
    middle. A trace without such spans is drawn whole. Each rank has a row for its computing, its
    waiting and its communication, several of which may be under way at once. ``picture`` ends in
    .png, .svg or .pdf. Raises :class:`InputError` for a file that is no trace or has no such
    steps, and for more than 16 ranks.
    """
    suffix = Path(picture).suffix
    if suffix not in (".pdf", ".png", ".svg"):
        raise unknown("picture format", suffix, (".pdf", ".png", ".svg"))
    boxes = _boxes(trace)
    ranks = sorted({box["pid"] for box in boxes})
    if len(ranks) > _MOST_RANKS:
        raise InputError(f"{trace}: {len(ranks)} ranks; {_MOST_RANKS} at most can be drawn")
    begin, end = _window(trace, boxes, steps, first)
    figure = require("matplotlib.figure", "viz").Figure(
        figsize=(11, 1.5 + 0.8 * len(ranks)), dpi=150, layout="constrained"
    )
    axes = figure.subplots()
    shown: dict[str, str] = {}
    seen = [box for box in boxes if begin < box["ts"] + box["dur"] and box["ts"] < end]
    lanes = dict.fromkeys(ranks, 1)
    for box in seen:
        track, lane = track_of(box["tid"])
        if track == "communication":
            lanes[box["pid"]] = max(lanes[box["pid"]], lane + 1)
    for box in sorted(seen, key=lambda box: box["tid"]):
        row = 3 * ranks.index(box["pid"])
        left, right = max(begin, box["ts"]), min(end, box["ts"] + box["dur"])
        _draw(axes, box, row, lanes[box["pid"]], (left - begin) / 1e3, (right - begin) / 1e3, shown)
    rows = range(3 * len(ranks))
    axes.set_yticks(rows, [f"rank {rank}  {track}" for rank in ranks for track in TRACKS])
    axes.set(xlim=(0, (end - begin) / 1e3), ylim=(rows[-1] + 0.6, -0.6), xlabel="time (ms)")
    for row in rows[3::3]:
        axes.axhline(row - 0.5, color="black", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    patch = require("matplotlib.patches", "viz").Patch
    known = [*_PHASES, *TRACKS]
    names = sorted(shown, key=lambda name: known.index(name) if name in known else len(known))
    handles = [patch(facecolor=shown[name], edgecolor="black", label=name) for name in names]
    figure.legend(handles=handles, loc="outside upper center", ncols=6, frameon=False)
    image = BytesIO()
    figure.savefig(image, format=suffix[1:])
    write_whole(picture, image.getvalue())


def _boxes(trace: str | os.PathLike[str]) -> list[Box]:
    try:
        events = json.loads(Path(trace).read_bytes())["traceEvents"]
        boxes = [event for event in events if event["ph"] == "X"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{trace} is no trace that can be read ({error}); give a file of Trace.save"
        ) from error
    if not boxes:
        raise InputError(f"{trace}: nothing happened in this trace; save it after some steps")
    return boxes


def _window(
    trace: str | os.PathLike[str], boxes: Sequence[Box], steps: int, first: int | None
) -> tuple[float, float]:
    """When the steps begin and end, in µs: from the lowest rank's update to a later one."""
    ends = _ends(min(boxes, key=lambda box: box["pid"])["pid"], boxes)
    last = max(box["ts"] + box["dur"] for box in boxes)
    start = min(box["ts"] for box in boxes)
    if not ends:
        return start, last
    if first is None:
        first = max(0, (len(ends) - steps) // 2)
        steps = min(steps, len(ends))
    if steps < 1 or first < 0 or first + steps > len(ends):
        raise InputError(
            f"{trace} has {len(ends)} steps; {steps} from step {first} on (the first is 0) were "
            "asked for"
        )
    return ends[first - 1] if first else start, ends[first + steps - 1]


def _ends(rank: int, boxes: Iterable[Box]) -> list[float]:
    return sorted(
        box["ts"] + box["dur"] for box in boxes if box["pid"] == rank and box["name"] == "update"
    )


def _draw(
    axes: Any, box: Box, row: int, lanes: int, left: float, right: float, shown: dict[str, str]
) -> None:
    track, lane = track_of(box["tid"])
    colour = _COLOURS[track]
    place, height = float(row + TRACKS.index(track)), _HEIGHT
    name = track
    if track == "compute":
        name = box["name"] if box["name"] in _PHASES else "other spans"
        colour = _PHASES.get(box["name"], colour)
    elif track == "waiting":  # inside a span, but nothing is computed
        axes.barh(row, right - left, left=left, height=_HEIGHT, color="white", edgecolor="white")
    else:
        height = _HEIGHT / lanes
        place += (lane + 0.5) * height - _HEIGHT / 2
    shown[name] = colour
    axes.barh(
        place, right - left, left=left, height=height, color=colour, edgecolor="black",
        linewidth=0.4,
    )  # fmt: skip
