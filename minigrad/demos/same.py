"""A4 (D3 §3.1.2): data parallelism changes nothing but where the work is done.

The gradient is the sum over all samples of all ranks, divided by their number. The mean of the
ranks' means looks like it, but weights samples differently where ranks have different numbers of
them: that trains something else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from minigrad import optim
from minigrad.data import Batch, DataLoader, Dataset
from minigrad.demos.common import COLOURS, cost, digits, network, table, tell
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.figure import new_figure, save_figure

__all__ = ["demo"]

_EPOCHS, _SAMPLES = 6, 300
_NONE = 1e-17  # where no difference is drawn, on an axis that has no 0


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    ranks, data = comm.size, digits()
    batch = ranks + 1  # of which rank 0 has two
    tell(
        comm,
        f"digits: {_SAMPLES} samples, batches of {batch}, SGD with momentum, float64",
        "",
    )
    several = _train(comm, data, batch, lambda part: 1 / part.total)
    mistaken = _train(comm, data, batch, lambda part: 1 / (max(1, part.count) * ranks))
    if comm.rank:
        return
    alone = _train(SerialCommunicator(), data, batch, lambda part: 1 / part.total)
    off, wrong = np.abs(several - alone), np.abs(mistaken - alone)
    rows: list[tuple[object, ...]] = [
        ("epoch", "one process", f"{ranks} ranks", "difference", "mean of means", "difference")
    ]
    for epoch in range(_EPOCHS):
        rows.append(
            (
                epoch + 1,
                f"{alone[epoch]:.6f}",
                f"{several[epoch]:.6f}",
                f"{off[epoch]:.1e}",
                f"{mistaken[epoch]:.6f}",
                f"{wrong[epoch]:.1e}",
            )
        )
    print(table(*rows))
    _draw(alone, several, mistaken, ranks, folder / "same.png")


def _train(
    comm: Communicator, data: Dataset, batch_size: int, gradient: Callable[[Batch], float]
) -> np.ndarray:
    """The mean training loss of each epoch, where a sample's loss counts ``gradient(batch)``."""
    model = network(64, 32, 10)
    parallel = DataParallel(model, optim.SGD(model, 0.02, momentum=0.9), comm)
    loader = DataLoader(
        data.x_train[:_SAMPLES], data.y_train[:_SAMPLES],
        batch_size=batch_size, rank=comm.rank, size=comm.size,
    )  # fmt: skip
    losses = np.zeros(_EPOCHS)
    for epoch in range(_EPOCHS):
        for batch in loader.epoch(epoch):
            parallel.zero_grad()
            loss = cost(model(batch.x), batch)
            parallel.backward(loss, gradient(batch))
            parallel.step()
            losses[epoch] += loss.item()
    comm.all_reduce(losses)
    return losses / _SAMPLES


def _draw(
    alone: np.ndarray, several: np.ndarray, mistaken: np.ndarray, ranks: int, path: Path
) -> None:
    figure = new_figure(9.0, 3.8)
    curves, differences = figure.subplots(1, 2)
    epochs = np.arange(1, _EPOCHS + 1)
    for losses, style, colour, name in (
        (mistaken, "^:", COLOURS[5], "mean of the ranks' means"),
        (several, "o", COLOURS[1], f"{ranks} ranks"),
    ):
        curves.plot(epochs, losses, style, color=colour, label=name)
        off = np.maximum(np.abs(losses - alone), _NONE)
        differences.plot(epochs, off, style, color=colour, label=name)
    curves.plot(epochs, alone, color=COLOURS[0], label="one process", zorder=0)
    curves.set(ylabel="loss (mean per sample)", yscale="log")
    differences.set(
        ylabel=f"difference from one process ({_NONE:.0e}: none)", yscale="log",
        ylim=(_NONE / 3, 10),
    )  # fmt: skip
    for axes in (curves, differences):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(figure, path)
