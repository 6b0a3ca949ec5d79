"""``minigrad train``: from settings to a trained model and a folder of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from minigrad import checkpoint, nn, ops, optim
from minigrad.autograd import Tensor
from minigrad.backend import Array, to_device, use_device
from minigrad.data import NAMES, DataLoader, Dataset, from_csv, load
from minigrad.distributed import Communicator, outlive
from minigrad.distributed.nccl import for_device
from minigrad.errors import InputError, unknown
from minigrad.ranks import Sharing
from minigrad.results import announce, prepare, report
from minigrad.settings import ACTIVATIONS, CARRIED_OUT, CHECKPOINT, Settings, checkpoint_path
from minigrad.train import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Interrupts,
    JsonLog,
    Loss,
    Progress,
    Replica,
    TensorBoard,
    classify,
    fit,
    restore,
    together,
)

__all__ = ["build_model", "build_optimizer", "resumed", "train"]

_INTERRUPTED = {"SIGTERM": 143, "SIGINT": 130}


def train(settings: Settings, comm: Communicator, *, resume: bool = False) -> int:
    """Train as ``settings`` say; the result is the exit code. Files are written by rank 0."""
    if not settings.elastic:
        return _train(settings, comm, resume)
    replica = Replica()
    return outlive(comm, lambda left: _train(settings, left, resume, replica))


def _train(
    settings: Settings, comm: Communicator, resume: bool, replica: Replica | None = None
) -> int:
    path = settings.folder / CHECKPOINT
    with together(comm):
        settings = replace(settings, device=use_device(settings.device, comm.local_rank))
    sharing = Sharing(settings, for_device(comm, settings.device))
    comm, replicas = sharing.comm, sharing.mesh.data
    with together(comm):
        data = _data(settings)
        whole = build_model(settings, data)
        model = sharing.arrange(whole)
        loader = DataLoader(
            to_device(data.x_train, settings.device),
            to_device(data.y_train, settings.device),
            batch_size=settings.batch_size,
            seed=settings.seed,
            rank=replicas.rank,
            size=replicas.size,
        )
        optimizer = build_optimizer(settings, model, settings.epochs * len(loader))
    parallel = sharing.parallel(model, optimizer)
    position = replica.resume(parallel) if replica else None
    with together(comm):
        if position is None and resume:
            position = restore(path, parallel, settings.deciding())
    validation = (to_device(data.x_test, settings.device), to_device(data.y_test, settings.device))
    with together(comm):
        if comm.rank == 0:
            prepare(settings, comm, keep=position is not None)
            announce(settings, data, whole, sharing.mesh, position)
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
        if replica:
            callbacks.append(replica)
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
    measures = classify(model, *validation, comm=replicas)
    sharing.show_trace()
    with together(comm):
        if comm.rank == 0:
            if run.stop:
                print(f"stopped early: {run.stop}")
            report(settings.folder, data, measures, run.history, seconds)
            sharing.draw_trace()
    return 0


def resumed(given: Mapping[str, Any]) -> Settings:
    """The settings of the run to go on with; what is ``given`` besides takes their place.

    Raises :class:`InputError` where the run's folder holds no checkpoint that can be read.
    """
    path = checkpoint_path(given["data"], given.get("path", ""), given.get("out", ""))
    if not path.exists():
        raise InputError(
            f"--resume: there is no {path} to go on from; leave --resume out to "
            "start anew, or name the run's folder with --out"
        )
    saved = checkpoint.load(path)[1].get("config", {})
    known = {field.name for field in fields(Settings)} - CARRIED_OUT
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
