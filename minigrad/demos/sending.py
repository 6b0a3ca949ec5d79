"""A4 (D3 §3.1.2): data parallelism. Each rank has a share of the batch; their gradients are added.

One all-reduce a parameter, one for all, or one a bucket, begun while backward still computes: three
ways to the same sums.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import optim
from minigrad.data import DataLoader, Dataset
from minigrad.demos.common import COLOURS, cost, digits, network, table, tell, worst
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Bucketed, Flat, Naive, Reducer
from minigrad.distributed.traced import NO_TRACE, Trace
from minigrad.errors import require
from minigrad.figure import new_figure, save_figure

__all__ = ["demo"]

_SIZES, _SHARE, _STEPS = (64, 256, 256, 256, 10), 64, 15
_MOST_RANKS = 4  # in the picture
_FILL = {
    "forward": COLOURS[4], "backward": COLOURS[0], "update": COLOURS[2], "waiting": COLOURS[5],
    "communication": COLOURS[6],
}  # fmt: skip


class _Box(NamedTuple):
    """What a rank did, with its begin and end in ms."""

    rank: int
    what: str
    began: float
    ended: float


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    data = digits()
    alone, _, _ = _step(SerialCommunicator(), data, comm.size * _SHARE, Naive(), NO_TRACE)
    reducers = {"naive": Naive(), "flat": Flat(), "bucketed": Bucketed(1 << 18)}
    rows: list[tuple[object, ...]] = [
        ("", "all-reduces a step", "KB in each", "ms a step", "gradients differ by")
    ]
    steps: dict[str, list[_Box]] = {}
    for name, reducer in reducers.items():
        trace = Trace(comm)
        gradient, sizes, windows = _step(comm, data, comm.size * _SHARE, reducer, trace)
        lengths = np.array([end - begin for begin, end in windows]) / 1e6
        comm.all_reduce(lengths, "max")
        chosen = int(lengths.argmin())
        steps[name] = _boxes(comm, trace, windows[chosen])
        least, most = (f"{size / 1e3:,.1f}" for size in (min(sizes), max(sizes)))
        shown = most if len(sizes) == 1 else f"{least} to {most}"
        off = worst(comm, gradient, alone)
        rows.append((name, len(sizes), shown, f"{lengths[chosen]:.2f}", f"{off:.0e}"))
    tell(
        comm,
        f"{gradient.size:,} parameters in float64, {_SHARE} samples a rank; the quickest of "
        f"{_STEPS} steps, and",
        "the largest difference from the gradient that one process computes for the whole batch:",
        "",
        table(*rows),
    )
    if comm.rank == 0:
        _draw(steps, min(comm.size, _MOST_RANKS), folder / "data-parallel.png")


def _step(
    comm: Communicator, data: Dataset, batch: int, reducer: Reducer, trace: Trace
) -> tuple[np.ndarray, list[int], list[tuple[int, int]]]:
    """The first step's gradient, the bytes of its collectives, and when each step began and
    ended."""
    model = network(*_SIZES)
    optimizer = optim.Adam(model, 1e-3)
    parallel = DataParallel(model, optimizer, trace.wrap(comm), reducer=reducer, trace=trace)
    rows = np.arange(_STEPS * batch) % len(data.x_train)
    loader = DataLoader(
        data.x_train[rows], data.y_train[rows], batch_size=batch, shuffle=False,
        rank=comm.rank, size=comm.size,
    )  # fmt: skip
    trace.events.clear()
    gradient = np.empty(0)
    sizes: list[int] = []
    windows = []
    for part in loader.epoch(0):
        comm.barrier()
        began = trace.now() if trace.on else 0
        parallel.run([part], cost, 1 / part.total)
        if not gradient.size:
            gradient = optimizer.arenas[0].grad.copy()
            sizes = [e.facts["bytes"] for e in trace.events if e.track == "communication"]
            if not trace.on:
                break
        parallel.step()
        windows.append((began, trace.now()))
    return gradient, sizes, windows


def _boxes(comm: Communicator, trace: Trace, window: tuple[int, int]) -> list[_Box]:
    """What all ranks did in a step, on all ranks."""
    first = np.array([window[0]])
    comm.all_reduce(first, "min")
    mine = [
        (
            e.name if e.track == "compute" else e.track,
            e.began - int(first[0]),
            e.ended - int(first[0]),
        )
        for e in trace.events
        if window[0] <= e.began <= window[1]
    ]
    return [
        _Box(rank, what, began / 1e6, ended / 1e6)
        for rank, text in enumerate(comm.all_gather_text(json.dumps(mine)))
        for what, began, ended in json.loads(text)
    ]


def _draw(steps: dict[str, list[_Box]], ranks: int, path: Path) -> None:
    """A panel a reducer; each rank has a row for its own work and one for what is under way."""
    figure = new_figure(10.0, 0.9 + 3 * (0.55 + 0.52 * ranks))
    panels = figure.subplots(3, 1, sharex=True)
    for axes, (name, boxes) in zip(panels, steps.items()):
        for box in sorted(boxes, key=lambda box: list(_FILL).index(box.what)):
            if box.rank < ranks:
                _bar(axes, box)
        axes.set_yticks(
            [place for rank in range(ranks) for place in (rank, rank + 0.47)],
            [words for rank in range(ranks) for words in (f"rank {rank} works", "sends")],
            fontsize=8,
        )
        axes.set_ylim(ranks - 0.2, -0.4)
        axes.set_title(name, loc="left", fontsize=11)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set(xlabel="time (ms)", xlim=(0, None))
    patch = require("matplotlib.patches", "viz").Patch
    handles = [patch(facecolor=c, edgecolor="black", label=what) for what, c in _FILL.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=5, frameon=False)
    save_figure(figure, path)


def _bar(axes: Any, box: _Box) -> None:
    sends = box.what == "communication"
    axes.barh(
        box.rank + 0.47 * sends, box.ended - box.began, 0.3 if sends else 0.56, box.began,
        color=_FILL[box.what], edgecolor="black", linewidth=0.5,
    )  # fmt: skip
