"""A5 (D3 §3.1.3): model parallelism within a layer. The first weight matrix is divided by columns,
the second by rows.

Each rank computes some of the hidden features and needs no others for its part of the second
product, so one all-reduce forward and one backward are all that is sent (Shoeybi et al. 2019).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.autograd import Tensor
from minigrad.demos.common import COLOURS, Counted, tell, worst
from minigrad.distributed import Communicator
from minigrad.distributed.tensor_parallel import ParallelMLP
from minigrad.errors import require
from minigrad.figure import new_figure, save_figure

__all__ = ["demo"]

_FEATURES, _BATCH = 32, 16


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    hidden = comm.size * max(2, 48 // comm.size)
    rng = np.random.default_rng(0)
    up = nn.Dense(_FEATURES, hidden, rng=rng, activation="gelu", dtype="float64")
    down = nn.Dense(hidden, _FEATURES, rng=rng, dtype="float64")
    counted = Counted(comm)
    parts = ParallelMLP.from_dense(up, down, counted)

    batch = rng.normal(size=(_BATCH, _FEATURES))
    whole_x, x = Tensor(batch, requires_grad=True), Tensor(batch, requires_grad=True)
    whole = down(up(whole_x))
    (whole * whole).sum().backward()
    tell(comm, f"{_FEATURES} → {hidden} → {_FEATURES} features, a batch of {_BATCH}, float64", "")
    y = parts(x)
    forward = counted.calls.copy()
    counted.calls.clear()
    (y * y).sum().backward()
    for way, calls in (("forward", forward), ("backward", counted.calls)):
        sums, nbytes = calls.pop("all_reduce", 0), calls.pop("bytes", 0)
        others = sum(calls.values())
        tell(
            comm,
            f"{way + ':':<9} {sums} all-reduce and {others} other collectives, {nbytes:,} bytes "
            "sent a rank",
        )

    def off(mine: Tensor, theirs: Tensor, part: Any = slice(None)) -> float:
        """The largest difference of a gradient from part of another."""
        return worst(comm, np.asarray(mine.grad), np.asarray(theirs.grad)[part])

    wide = slice(comm.rank * hidden // comm.size, (comm.rank + 1) * hidden // comm.size)
    tell(
        comm,
        "",
        "largest difference from the undivided layers, over all ranks:",
        f"  outputs                     {worst(comm, y.data, whole.data):.1e}",
        f"  gradient of the inputs      {off(x, whole_x):.1e}",
        f"  gradient of some columns    {off(parts.up.weight, up.weight, np.s_[:, wide]):.1e}",
        f"  gradient of some rows       {off(parts.down.weight, down.weight, wide):.1e}",
        "",
        f"weights on rank 0: {parts.up.weight.shape} of {up.weight.shape}, "
        f"{parts.down.weight.shape} of {down.weight.shape}",
    )
    if comm.rank == 0:
        _draw(comm.size, hidden, folder / "tensor.png")


def _draw(ranks: int, hidden: int, path: Path) -> None:
    figure = new_figure(8.4, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(hidden, _FEATURES))
    width = hidden / ranks
    patches = require("matplotlib.patches", "viz")
    for rank in range(ranks):
        colour = COLOURS[rank % len(COLOURS)]
        for axes, corner, size in (
            (left, (rank * width, 0), (width, _FEATURES)),
            (right, (0, rank * width), (_FEATURES, width)),
        ):
            axes.add_patch(
                patches.Rectangle(corner, *size, facecolor=colour, edgecolor="black", alpha=0.75)
            )
            if ranks <= 24:
                axes.text(
                    corner[0] + size[0] / 2, corner[1] + size[1] / 2,
                    f"rank {rank}" if ranks <= 6 else rank, ha="center", va="center", fontsize=9,
                )  # fmt: skip
    for axes, rows, columns, title in (
        (left, _FEATURES, hidden, "first weight: columns"),
        (right, hidden, _FEATURES, "second weight: rows"),
    ):
        axes.set(
            xlim=(0, columns), ylim=(rows, 0), aspect="equal", title=title,
            xlabel="outputs", ylabel="inputs",
        )  # fmt: skip
    save_figure(figure, path)
