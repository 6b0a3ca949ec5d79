"""``minigrad train``: from settings to a trained model and a folder of results."""

from __future__ import annotations

import itertools
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad import checkpoint, nn, ops, optim, plot
from minigrad.autograd import Tensor
from minigrad.backend import Array, to_device, use_device
from minigrad.data import NAMES, DataLoader, Dataset, from_csv, load
from minigrad.distributed import Communicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.errors import InputError, unknown
from minigrad.files import write_whole
from minigrad.metrics import Average, ConfusionMatrix, Scores
from minigrad.settings import ACTIVATIONS, Settings, results_folder
from minigrad.train import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Interrupts,
    JsonLog,
    Loss,
    Progress,
    TensorBoard,
    classify,
    fit,
    restore,
    together,
)

__all__ = ["build_model", "build_optimizer", "resumed", "train"]

_INTERRUPTED = {"SIGTERM": 143, "SIGINT": 130}
CHECKPOINT = "checkpoint.safetensors"
_RESULTS = (
    CHECKPOINT, "config.json", "confusion.png", "curves.png", "history.jsonl",
    "metrics.json", "roc.png", "tensorboard",
)  # fmt: skip


def train(settings: Settings, comm: Communicator, *, resume: bool = False) -> int:
    """Train as ``settings`` say; the result is the exit code. Files are written by rank 0."""
    path = settings.folder / CHECKPOINT
    with together(comm):
        settings = replace(settings, device=use_device(settings.device, comm.local_rank))
        data = _data(settings)
        model = build_model(settings, data)
        loader = DataLoader(
            to_device(data.x_train, settings.device),
            to_device(data.y_train, settings.device),
            batch_size=settings.batch_size,
            seed=settings.seed,
            rank=comm.rank,
            size=comm.size,
        )
        optimizer = build_optimizer(settings, model, settings.epochs * len(loader))
    parallel = DataParallel(model, optimizer, comm)
    with together(comm):
        position = restore(path, parallel, settings.deciding()) if resume else None
    validation = (to_device(data.x_test, settings.device), to_device(data.y_test, settings.device))
    with together(comm):
        if comm.rank == 0:
            _prepare(settings, comm, keep=resume)
            _announce(settings, data, model, comm, position)
    # fit finds and explains what is not finite; NumPy need not warn of it
    with Interrupts() as interrupts, np.errstate(over="ignore", invalid="ignore"):
        callbacks: list[Callback] = [
            interrupts,
            Progress(len(loader)),
            JsonLog(settings.folder / "history.jsonl"),
            Checkpoints(path, settings.plain()),
        ]
        if settings.patience:
            callbacks.append(EarlyStopping(settings.patience))
        if TensorBoard.available():
            callbacks.append(TensorBoard(settings.folder / "tensorboard"))
        began = time.perf_counter()
        run = fit(
            parallel, _loss(settings, data), loader, epochs=settings.epochs,
            validation=validation, clip_norm=settings.clip_norm or None,
            micro_batches=settings.micro_batches, check_every=settings.check_every,
            callbacks=callbacks, resume=position,
        )  # fmt: skip
        seconds = time.perf_counter() - began
    if run.stop in _INTERRUPTED:
        if comm.rank == 0:
            print(
                f"{run.stop}: stopped after step {optimizer.steps}; {path} is saved, "
                "go on with --resume"
            )
        return _INTERRUPTED[run.stop]
    measures = classify(model, *validation, comm=comm)
    with together(comm):
        if comm.rank == 0:
            if run.stop:
                print(f"stopped early: {run.stop}")
            _report(settings.folder, data, measures, run.history, seconds)
    return 0


def resumed(given: Mapping[str, Any]) -> Settings:
    """The settings of the run to go on with; what is ``given`` besides takes their place.

    Raises :class:`InputError` where the run's folder holds no checkpoint that can be read.
    """
    folder = results_folder(given["data"], given.get("path", ""), given.get("out", ""))
    if not (folder / CHECKPOINT).exists():
        raise InputError(
            f"--resume: there is no {folder / CHECKPOINT} to go on from; leave --resume out to "
            "start anew, or name the run's folder with --out"
        )
    saved = checkpoint.load(folder / CHECKPOINT)[1].get("config", {})
    known = {field.name for field in fields(Settings)} - {"out", "device"}
    settings = {key: value for key, value in saved.items() if key in known}
    if "hidden" in settings:
        settings["hidden"] = tuple(settings["hidden"])
    return Settings(**{**settings, **given})


def build_model(settings: Settings, data: Dataset) -> nn.Sequential:
    """Dense layers of the ``hidden`` sizes with their activation, then one of ``classes``."""
    rng = np.random.default_rng(settings.seed)
    layers: list[nn.Module] = []
    inputs = data.features
    for size in settings.hidden:
        bias = not settings.batch_norm  # which subtracts the mean, and with it any bias
        layers.append(
            nn.Dense(inputs, size, rng=rng, bias=bias, init=settings.init, dtype=settings.dtype)
        )
        if settings.batch_norm:
            layers.append(nn.BatchNorm1d(size, dtype=settings.dtype))
        activation = ACTIVATIONS[settings.activation]
        layers.append(nn.PReLU(dtype=settings.dtype) if activation is nn.PReLU else activation())
        if settings.dropout:
            layers.append(nn.Dropout(settings.dropout, rng=rng))
        inputs = size
    layers.append(nn.Dense(inputs, data.classes, rng=rng, dtype=settings.dtype))
    return nn.Sequential(*layers).to(settings.device)  # type: ignore[return-value]


def build_optimizer(settings: Settings, model: nn.Module, steps: int) -> optim.Optimizer:
    """The optimizer with its schedule over ``steps`` updates."""
    schedules: dict[str, Callable[[], optim.Schedule]] = {
        "constant": lambda: optim.Constant(settings.lr),
        "cosine": lambda: optim.Cosine(settings.lr, T=steps),
        "linear": lambda: optim.Polynomial(settings.lr, T=steps, alpha=1.0),
        "plateau": lambda: optim.ReduceOnPlateau(settings.lr),
    }
    if settings.schedule not in schedules:
        raise unknown("schedule", settings.schedule, schedules)
    return optim.class_by_name(settings.optimizer)(
        model,
        schedules[settings.schedule](),
        weight_decay=settings.weight_decay,
        l1=settings.l1,
        l2=settings.l2,
    )


def _data(settings: Settings) -> Dataset:
    options: dict[str, Any] = {
        "test_size": settings.test_size, "seed": settings.seed, "dtype": settings.dtype,
    }  # fmt: skip
    if settings.data == "csv":
        return from_csv(
            settings.path, settings.target, missing=settings.missing,
            delimiter=settings.delimiter or None, **options,
        )  # fmt: skip
    if settings.data == "diabetes":
        raise InputError("diabetes has no classes: it is a regression, train classifies")
    if settings.data not in NAMES:
        raise unknown("data set", settings.data, {*NAMES, "csv"} - {"diabetes"})
    return load(settings.data, **options)


def _loss(settings: Settings, data: Dataset) -> Loss:
    """Cross-entropy of each sample; ``balanced`` weights every class alike in sum."""
    counts = np.bincount(data.y_train, minlength=data.classes)
    weights = (len(data.y_train) / (data.classes * np.maximum(counts, 1))).astype(settings.dtype)
    weights = to_device(weights, settings.device)

    def loss(outputs: Tensor, labels: Array) -> Tensor:
        chosen = weights[labels] if settings.balanced else None
        return ops.cross_entropy(outputs, labels, weights=chosen, reduction="none")

    return loss


def _prepare(settings: Settings, comm: Communicator, keep: bool) -> None:
    """Make the folder and write config.json. An earlier run there is moved aside; one that
    failed before it left a checkpoint or a result is written over."""
    folder = settings.folder
    try:
        worth = ("checkpoint.safetensors", "metrics.json")
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


def _announce(
    settings: Settings, data: Dataset, model: nn.Module, comm: Communicator, position: Any
) -> None:
    ranks = f"{comm.size} rank{'s' if comm.size > 1 else ''}"
    print(
        f"{data.name}: {len(data.y_train)} samples to train on, {len(data.y_test)} to test, "
        f"{data.features} features, {data.classes} classes; {ranks}, batches of "
        f"{settings.batch_size}, {settings.optimizer}"
    )
    print(nn.summary(model, (data.features,)))
    if position and position["epoch"] >= settings.epochs:
        print(f"this run has finished its {settings.epochs} epochs; these are its results again")
    elif position:
        print(f"going on after epoch {position['epoch']}, batch {position['batch']}")


def _report(
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
