"""A3 (D4 §3.3): distributed training as the article tells it, in six steps: initialise, distribute
the data, train on each device, aggregate the parameters on the main device, update, repeat.

With plain SGD that is gradient all-reduce by another way, but all parameters go through one rank.
Averaging more rarely (local SGD, Stich 2019) sends less; the ranks drift apart in between.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigrad import optim
from minigrad.data import DataLoader, Dataset
from minigrad.demos.common import COLOURS, Counted, cost, digits, judge, network, table, tell, worst
from minigrad.distributed import Communicator
from minigrad.distributed.averaging import LocalSGD, ParameterServer
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Flat, Reducer
from minigrad.figure import new_figure, save_figure

__all__ = ["demo"]

_STEPS, _SHARE = 96, 8
_MARKERS = ("o", "s", "^", "v", "D")

Point = tuple[int, float, float]
"""Steps done, the loss then, and the MB that rank 0 has sent by then."""


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    data = digits()
    ways: dict[str, Reducer] = {
        "gradient all-reduce": Flat(),
        "parameter server": ParameterServer(),
        "local SGD, every step": LocalSGD(1),
        "local SGD, every 8": LocalSGD(8),
        "local SGD, every 32": LocalSGD(32),
    }
    rows: list[tuple[object, ...]] = [
        ("", "MB sent by rank 0", "by rank 1", "loss", "accuracy", "differs by")
    ]
    lines: dict[str, list[Point]] = {}
    first = np.empty(0)
    for name, reducer in ways.items():
        weights, line, right, sent = _train(comm, data, reducer)
        first = first if first.size else weights
        of_all = np.concatenate(comm.all_gather(np.array([sent])))
        rows.append(
            (
                name,
                *(f"{nbytes / 1e6:.2f}" for nbytes in of_all[:2]),
                f"{line[-1][1]:.4f}",
                f"{right:.1%}",
                f"{worst(comm, weights, first):.0e}",
            )
        )
        lines[name] = line
    tell(
        comm,
        f"{weights.size:,} parameters in float64, plain SGD, {_STEPS} steps of {_SHARE} samples a "
        "rank; loss and",
        "accuracy on the test part; the last column: how far weights are from the first row's",
        "",
        table(*rows),
    )
    if comm.rank == 0:
        _draw(lines, folder / "average.png")


def _train(
    comm: Communicator, data: Dataset, reducer: Reducer
) -> tuple[np.ndarray, list[Point], float, int]:
    """The last weights, what the mean of the ranks' parameters could do on the way, its accuracy
    in the end, and the bytes that this rank has sent."""
    counted = Counted(comm)
    model = network(64, 32, 10)
    optimizer = optim.SGD(model, 0.2)
    parallel = DataParallel(model, optimizer, counted, reducer=reducer)  # initialise
    loader = DataLoader(  # distribute the data
        data.x_train, data.y_train, batch_size=_SHARE * comm.size, rank=comm.rank, size=comm.size,
        drop_last=True,
    )  # fmt: skip
    batches = (batch for epoch in range(_STEPS) for batch in loader.epoch(epoch))
    counted.calls.clear()
    (arena,) = optimizer.arenas
    line: list[Point] = []
    for step, batch in zip(range(_STEPS + 1), batches):
        if step % 8 == 0:
            own = arena.data.copy()
            comm.all_reduce(arena.data)
            arena.data[:] /= comm.size
            loss, right = judge(model, data)
            line.append((step, loss, counted.sent / 1e6))
            arena.data[:] = own
            arena.touch()
        if step < _STEPS:
            parallel.run([batch], cost, 1 / batch.total)  # train on each device
            parallel.step()  # update; aggregate when it is time
    parallel.synchronise()
    return arena.data.copy(), line, right, counted.sent


def _draw(lines: dict[str, list[Point]], path: Path) -> None:
    figure = new_figure(9.6, 4.4)
    by_step, by_bytes = figure.subplots(1, 2, sharey=True)
    for number, (name, line) in enumerate(lines.items()):
        steps, losses, sent = zip(*line)
        look = {
            "color": COLOURS[number if number < 4 else 5], "marker": _MARKERS[number],
            "markersize": 9 - 1.5 * number, "label": name, "alpha": 0.85,
        }  # fmt: skip
        by_step.plot(steps, losses, **look)
        moved = sum(nbytes == 0 for nbytes in sent)  # what a logarithm cannot show
        by_bytes.plot(sent[moved:], losses[moved:], **look)
    by_step.set(xlabel="steps", ylabel="test loss (mean per sample)")
    by_bytes.set(xlabel="sent by rank 0 so far (MB)", xscale="log")
    for axes in (by_step, by_bytes):
        axes.grid(alpha=0.3)
    handles, labels = by_step.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    save_figure(figure, path)
