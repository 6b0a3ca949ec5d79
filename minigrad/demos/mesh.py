"""A4 and A5 (D3 §3.1.2, §3.1.3): data, tensor and pipeline parallelism at once, on ranks laid out
as an array.

However the ranks are laid out, they train what one process trains on the whole batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from minigrad import ops, optim
from minigrad.data import DataLoader
from minigrad.demos.common import COLOURS, network, table, tell
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.layout import arrange
from minigrad.distributed.mesh import Mesh
from minigrad.errors import require
from minigrad.figure import new_figure, save_figure
from minigrad.train import Run, fit

__all__ = ["demo"]

Sizes = tuple[int, int, int]

_HIDDEN, _STAGES = 24, 4
_MOST_PANELS = 6


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    found = list(_layouts(comm.size))
    alone = _train(SerialCommunicator(), (1, 1, 1)).parallel.state_dict()
    rows: list[tuple[object, ...]] = [
        ("data × tensor × pipeline", "largest difference", "rank 0's weights", "loss by epoch")
    ]
    for sizes in found:
        run = _train(comm, sizes)
        state = run.parallel.state_dict()
        difference = max(float(np.abs(state[name] - alone[name]).max()) for name in alone)
        mine = sum(parameter.size for parameter in run.model.parameters())
        losses = ", ".join(f"{record['loss']:.6f}" for record in run.history)
        rows.append((" × ".join(map(str, sizes)), f"{difference:.0e}", mine, losses))
    whole = sum(a.size for name, a in alone.items() if name.startswith("model/"))
    tell(
        comm,
        f"{whole:,} weights, Adam, float64; differences are from one process, over all weights and",
        "the optimizer's state, after the last step",
        "",
        table(*rows),
    )
    if comm.rank == 0:
        _draw(found[:_MOST_PANELS], folder / "mesh.png")


def _layouts(ranks: int) -> Iterator[Sizes]:
    """Those that this network can be divided into, the most even ones first."""
    divisors = [n for n in range(1, ranks + 1) if ranks % n == 0]
    fitting = [
        (ranks // (t * p), t, p)
        for t, p in itertools.product(divisors, divisors)
        if ranks % (t * p) == 0 and _HIDDEN % t == 0 and p <= _STAGES
    ]
    yield from sorted(fitting, key=lambda sizes: (max(sizes), sizes))


def _train(comm: Communicator, sizes: Sizes) -> Run:
    data, tensor, stages = sizes
    mesh = Mesh(comm, data=data, tensor=tensor, pipeline=stages)
    part = arrange(network(8, _HIDDEN, _HIDDEN, _HIDDEN, 3, tanh=True), mesh)
    parallel = DataParallel(part, optim.Adam(part, 0.01), mesh)
    rng = np.random.default_rng(0)
    batch = max(48, comm.size)
    x = rng.normal(size=(2 * batch, 8))
    labels = (x @ rng.normal(size=(8, 3))).argmax(axis=1)
    loader = DataLoader(x, labels, batch_size=batch, rank=mesh.data.rank, size=mesh.data.size)
    loss = partial(ops.cross_entropy, reduction="none")
    return fit(parallel, loss, loader, epochs=3, micro_batches=stages)


def _draw(layouts: list[Sizes], path: Path) -> None:
    """A panel a layout: a row for each part of each replica, a column a stage."""
    columns = min(3, len(layouts))
    rows = -(-len(layouts) // columns)
    figure = new_figure(3.4 * columns, 3.1 * rows + 0.5)
    patches = require("matplotlib.patches", "viz")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, sizes in itertools.zip_longest(grid, layouts):
        if sizes is None:
            axes.set_axis_off()
            continue
        data, tensor, stages = sizes
        for d, s, t in itertools.product(range(data), range(stages), range(tensor)):
            row, part = d * (tensor + 0.3) + t, s * tensor + t
            again, colour = divmod(part, len(COLOURS))
            axes.add_patch(
                patches.Rectangle(
                    (s, row), 0.94, 0.94, facecolor=COLOURS[colour], edgecolor="black", alpha=0.75,
                    hatch="/" * again,
                )
            )  # fmt: skip
            rank = (d * stages + s) * tensor + t
            axes.text(s + 0.47, row + 0.47, f"{rank}", ha="center", va="center")
        places = [d * (tensor + 0.3) + tensor / 2 for d in range(data)]
        axes.set_yticks(places, [f"replica {d}" for d in range(data)])
        axes.set_xticks([s + 0.47 for s in range(stages)], [f"stage {s}" for s in range(stages)])
        axes.set(xlim=(-0.1, stages + 0.1), ylim=(data * (tensor + 0.3) - 0.26, -0.1))
        axes.set_title(f"{data} × {tensor} × {stages}", fontsize=11)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.suptitle(
        "ranks in layouts data × tensor × pipeline; those of one colour hold the same weights",
        fontsize=11,
    )
    save_figure(figure, path)
