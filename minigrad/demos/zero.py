"""A4 (D3 §3.1.2): data parallelism holds everything p times; ZeRO divides what need not be.

Stage 1 divides the optimizer's state among the ranks, stage 2 the gradients too (Rajbhandari et al.
2020). The weights come out the same, bit for bit, where sums are taken in the same order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigrad import optim
from minigrad.data import DataLoader
from minigrad.demos.common import COLOURS, Counted, cost, digits, network, table, tell, worst
from minigrad.distributed import Communicator
from minigrad.distributed.algorithms import WrittenOut
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Bucketed
from minigrad.distributed.zero import ZeRO
from minigrad.figure import new_figure, save_figure

__all__ = ["demo"]

_PARTS = ("parameters", "gradients", "optimizer state")
_STEPS, _BATCH, _MOST_RANKS = 10, 128, 8


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    data = digits()
    rows: list[tuple[object, ...]] = [
        ("stage", *(f"{part} MB" for part in _PARTS), "MB sent a step", "differs from stage 0")
    ]
    held, weights = [], []
    for stage in range(3):
        counted = Counted(comm)
        reducer = ZeRO(stage, 1 << 18) if stage else Bucketed(1 << 18)
        model = network(64, 512, 512, 10, dtype="float32")
        # "ordered" adds up in the order of the ranks, wherever an element lies
        one = DataParallel(
            model, optim.Adam(model, 1e-3), WrittenOut(counted, "ordered"), reducer=reducer
        )
        loader = DataLoader(
            data.x_train.astype(np.float32), data.y_train,
            batch_size=max(_BATCH, comm.size), rank=comm.rank, size=comm.size,
        )  # fmt: skip
        counted.calls.clear()
        for batch in [*loader.epoch(0)][:_STEPS]:
            one.run([batch], cost, 1 / batch.total)
            one.step()
        sent = counted.sent / _STEPS
        (arena,) = one.optimizer.arenas
        weights.append(arena.data.copy())
        mine = reducer.gradients(0)[0].nbytes * (stage > 0) + (
            arena.grad.nbytes if stage < 2 else 0
        )
        sizes = np.array([arena.data.nbytes, mine, one.optimizer.state_buffers.nbytes])
        held.append(np.stack(comm.all_gather(sizes[None])).reshape(comm.size, 3))
        rows.append(
            (
                stage,
                *(f"{nbytes / 1e6:.2f}" for nbytes in sizes),
                f"{sent / 1e6:.2f}",
                f"{worst(comm, weights[-1], weights[0]):g}",
            )
        )
    tell(
        comm,
        f"{arena.data.size:,} parameters in float32, Adam, {_STEPS} steps on digits; on rank 0:",
        table(*rows),
        "",
        "Stage 1 still fills whole gradients before it sends them; stage 2 keeps a bucket's only",
        "until it is sent (two buckets of 0.26 MB at a time, not counted above).",
    )
    if comm.rank == 0:
        _draw(held, folder / "zero.png")


def _draw(held: list[np.ndarray], path: Path) -> None:
    ranks = min(len(held[0]), _MOST_RANKS)
    figure = new_figure(max(6.0, 2.4 + 1.05 * ranks), 3.8)
    axes = figure.subplots()
    places = np.concatenate([stage * (ranks + 0.8) + np.arange(ranks) for stage in range(3)])
    bottom = np.zeros(3 * ranks)
    for part, name in enumerate(_PARTS):
        height = np.concatenate([sizes[:ranks, part] for sizes in held]) / 1e6
        axes.bar(
            places, height, 0.85, bottom, color=COLOURS[part], edgecolor="black", linewidth=0.6,
            label=name,
        )  # fmt: skip
        bottom += height
    for place, total in zip(places, bottom):
        axes.text(place, total, f"{total:.1f}", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(
        places,
        [f"rank {rank}" if ranks < 5 else rank for _ in range(3) for rank in range(ranks)],
        fontsize=8,
    )
    for stage in range(3):
        middle = stage * (ranks + 0.8) + (ranks - 1) / 2
        words = f"stage {stage}" if stage else "undivided"
        axes.text(middle, -0.17, words, ha="center", transform=axes.get_xaxis_transform())
    axes.set_ylabel("held by the rank (MB)")
    axes.margins(y=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    save_figure(figure, path)
