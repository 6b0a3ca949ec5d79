"""The folder of a run's results: made ready, and filled at the end."""

from __future__ import annotations

import itertools
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad import nn, plot
from minigrad.data import Dataset
from minigrad.distributed import Communicator
from minigrad.distributed.mesh import Mesh
from minigrad.errors import InputError
from minigrad.files import write_whole
from minigrad.metrics import Average, ConfusionMatrix, Scores
from minigrad.settings import CHECKPOINT, Settings

__all__ = ["announce", "prepare", "report"]

_RESULTS = (
    CHECKPOINT, "config.json", "confusion.png", "curves.png", "history.jsonl",
    "metrics.json", "roc.png", "tensorboard",
)  # fmt: skip


def prepare(settings: Settings, comm: Communicator, keep: bool) -> None:
    """Make the folder and write config.json. An earlier run there is moved aside; one that
    failed before it left a checkpoint or a result is written over."""
    folder = settings.folder
    try:
        worth = (CHECKPOINT, "metrics.json")
        if not keep and any((folder / name).exists() for name in worth):
            _move_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            **settings.plain(),
            "ranks": comm.size,
            "minigrad": minigrad.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        }
        _write_json(folder / "config.json", config)
    except OSError as error:
        raise InputError(
            f"the folder '{folder}' for the results cannot be written ({error.strerror}); "
            "name another with --out"
        ) from error


def _move_aside(folder: Path) -> None:
    """Move an earlier run's results to the first of ``FOLDER.1``, ``FOLDER.2``, … that is free.
    What else is there stays: the folder may be a person's own."""
    numbered = (Path(f"{folder.resolve()}.{number}") for number in itertools.count(1))
    earlier = next(path for path in numbered if not path.exists())
    earlier.mkdir()
    for name in _RESULTS:
        if (folder / name).exists():
            (folder / name).replace(earlier / name)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(values, indent=2) + "\n").encode())


def announce(
    settings: Settings, data: Dataset, model: nn.Module, mesh: Mesh, position: Any
) -> None:
    """Print what is going to be trained, on what, by how many ranks."""
    count = mesh.comm.size
    ranks = f"{count} rank{'s' * (count > 1)}"
    if mesh.model.size > 1:
        ranks += f" (data × tensor × pipeline: {' × '.join(map(str, mesh.sizes))})"
    print(
        f"{data.name}: {len(data.y_train)} samples to train on, {len(data.y_test)} to test, "
        f"{data.features} features, {data.classes} classes; {ranks}, batches of "
        f"{settings.batch_size}, {', '.join([settings.optimizer, *_ways(settings)])}"
    )
    print(nn.summary(model, (data.features,)))
    if position and position["epoch"] >= settings.epochs:
        print(f"this run has finished its {settings.epochs} epochs; these are its results again")
    elif position:
        print(f"going on after epoch {position['epoch']}, batch {position['batch']}")


def _ways(settings: Settings) -> list[str]:
    """How the ranks share their work, where it is not the usual way."""
    ways = {
        f"ZeRO {settings.zero}": settings.zero > 0,
        f"averaged every {settings.local_steps} steps": settings.local_steps > 0,
        f"compressed by {settings.compress}": settings.compress != "none",
        f"reducer {settings.reducer}": settings.reducer != "bucketed",
        f"all-reduce by {settings.algorithm}": settings.algorithm != "mpi",
        f"{settings.micro_batches} micro-batches": settings.micro_batches > 1,
    }
    return [way for way, chosen in ways.items() if chosen]


def report(
    folder: Path,
    data: Dataset,
    measures: tuple[ConfusionMatrix, Scores],
    history: Sequence[dict[str, Any]],
    seconds: float,
) -> None:
    """Print the final table, write metrics.json, draw the pictures."""
    confusion, scores = measures
    average: Average = "binary" if data.classes == 2 else "macro"
    table: dict[str, Any] = {
        "accuracy": confusion.accuracy(),
        "precision": confusion.precision(average),
        "recall": confusion.recall(average),
        "F1": confusion.f1(average),
    }
    how = (
        f"class '{data.class_names[1]}' is the positive one"
        if average == "binary"
        else "macro means"
    )
    print(f"\ntrained in {seconds:.1f} s; on {len(data.y_test)} test samples ({how}):")
    pictures = ["curves.png", "confusion.png"]
    plot.curves(history, folder / "curves.png")
    plot.confusion(confusion.matrix, folder / "confusion.png", data.class_names)
    try:
        if data.classes == 2:
            table["AUC"] = scores.auc()
            fpr, tpr, _ = scores.roc_curve()
            plot.roc(fpr, tpr, table["AUC"], folder / "roc.png", positive=data.class_names[1])
            pictures.append("roc.png")
        else:
            table["AUC, one-vs-rest"] = scores.one_vs_rest_auc()
    except InputError as error:  # a class that has no sample in the test part
        print(f"  no AUC: {error}")
    for name, value in table.items():
        print(f"  {name:<17} {value:.4f}")
    _write_json(folder / "metrics.json", table)
    files = ["history.jsonl", "config.json", "metrics.json", CHECKPOINT, *pictures]
    print(f"results in {folder}{os.sep}: {', '.join(files)}")
