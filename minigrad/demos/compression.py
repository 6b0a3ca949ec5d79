"""A4 (D3 §3.1.2): the gradients that data parallelism sends can be made smaller.

float16 halves them. Of each bucket the largest hundredth alone, or a product of two thin matrices
in place of a gradient's matrix, is far less; what a rank does not send it adds to its next gradient
(error feedback), so that nothing is lost, only late. With heavy momentum, what comes late makes
the weights overshoot; plain SGD bears it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from minigrad import optim
from minigrad.data import DataLoader, Dataset
from minigrad.demos.common import COLOURS, Counted, cost, digits, judge, network, table, tell
from minigrad.distributed import Communicator
from minigrad.distributed.compression import Float16, PowerSGD, TopK
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Bucketed, Compression
from minigrad.figure import new_figure, save_figure

__all__ = ["demo"]

_STEPS, _SHARE, _LOOK = 120, 16, 10
_MARKERS = ("o", "s", "^", "v")

Point = tuple[float, float, float]
"""MB that this rank has sent, the test loss and the test accuracy then."""


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    data = digits()
    data = replace(
        data, x_train=data.x_train.astype(np.float32), x_test=data.x_test.astype(np.float32)
    )
    ways: dict[str, Compression | None] = {
        "none": None,
        "float16": Float16(),
        "top 1%, error feedback": TopK(0.01),
        "PowerSGD, rank 2": PowerSGD(2),
    }
    lines = {name: _train(comm, data, way) for name, way in ways.items()}
    most = lines["none"][-1][0]
    rows: list[tuple[object, ...]] = [("compression", "MB sent", "share", "loss", "accuracy")]
    for name, line in lines.items():
        sent, loss, right = line[-1]
        rows.append((name, f"{sent:.2f}", f"{sent / most:.1%}", f"{loss:.4f}", f"{right:.1%}"))
    tell(
        comm,
        f"the articles' network in float32, plain SGD, {_STEPS} steps of {_SHARE} samples a rank;",
        "what a rank sends, and loss and accuracy on the test part:",
        "",
        table(*rows),
    )
    if comm.rank == 0:
        _draw(lines, folder / "compression.png")


def _train(comm: Communicator, data: Dataset, compression: Compression | None) -> list[Point]:
    counted = Counted(comm)
    model = network(64, 128, 64, 10, dtype="float32")
    optimizer = optim.SGD(model, 0.3)
    reducer = Bucketed(compression=compression)
    parallel = DataParallel(model, optimizer, counted, reducer=reducer)
    loader = DataLoader(
        data.x_train, data.y_train, batch_size=_SHARE * comm.size, rank=comm.rank, size=comm.size,
        drop_last=True,
    )  # fmt: skip
    batches = (batch for epoch in range(_STEPS) for batch in loader.epoch(epoch))
    counted.calls.clear()
    line: list[Point] = []
    for step, batch in zip(range(1, _STEPS + 1), batches):
        parallel.run([batch], cost, 1 / batch.total)
        parallel.step()
        if step == 2 or step % _LOOK == 0:
            line.append((counted.sent / 1e6, *judge(model, data)))
    return line


def _draw(lines: dict[str, list[Point]], path: Path) -> None:
    figure = new_figure(7.6, 4.6)
    axes = figure.subplots()
    for number, (name, line) in enumerate(lines.items()):
        sent, _, right = zip(*line)
        axes.plot(
            sent, right, "-", marker=_MARKERS[number], color=COLOURS[number], label=name
        )  # fmt: skip
    axes.set(
        xscale="log", xlabel="sent by a rank so far (MB)", ylabel="accuracy (share of test samples)"
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(title="compression", loc="lower right")
    save_figure(figure, path)
