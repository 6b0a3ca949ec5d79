"""The training loop, explicit, and evaluation.

One step: forward, loss summed over this rank's samples, backward with the gradients summed over
all ranks, clipping by global norm, update. See docs/design for the way of the data.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.autograd import Tensor, no_grad
from minigrad.backend import Array, array_module
from minigrad.data import Batch, DataLoader, share
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.errors import SharedError
from minigrad.metrics import ConfusionMatrix, Scores
from minigrad.nn import Module, watch
from minigrad.optim import Optimizer, clip_scale, global_norm
from minigrad.train.together import together

__all__ = ["Callback", "Evaluation", "Loss", "Run", "evaluate", "fit"]

Loss = Callable[[Tensor, Array], Tensor]
"""(outputs, labels) -> the *sum* of the samples' losses, a scalar."""


class Callback:
    """What is called while :func:`fit` runs: on every rank, so look at ``run.comm.rank`` before
    writing files. A callback must not call collectives."""

    def on_start(self, run: Run) -> None:
        """Before the first step."""

    def on_step(self, run: Run) -> None:
        """After each update."""

    def on_epoch(self, run: Run) -> None:
        """After each epoch; its record is ``run.history[-1]``."""

    def on_end(self, run: Run) -> None:
        """After the last epoch, or when the run stops early."""


@dataclass
class Run:
    """A training run: what :func:`fit` was given, and where it stands.

    ``history`` holds one record per finished epoch; ``epoch`` and ``batch`` are the position of
    the next step, and ``totals`` the sums over the steps of the epoch so far. All of it goes into
    a checkpoint. Setting ``stop`` to a reason, on any rank, ends the run.
    """

    model: Module
    optimizer: Optimizer
    comm: Communicator
    epochs: int
    history: list[dict[str, Any]] = field(default_factory=list)
    epoch: int = 0
    batch: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    stop: str = ""

    def position(self) -> dict[str, Any]:
        """What a checkpoint needs to go on from here."""
        keys = ("history", "epoch", "batch", "totals")
        return {key: getattr(self, key) for key in keys}

    def add(self, **amounts: float) -> None:
        """Add to the epoch's totals."""
        for key, amount in amounts.items():
            self.totals[key] = self.totals.get(key, 0.0) + float(amount)


def fit(
    model: Module,
    optimizer: Optimizer,
    loss: Loss,
    data: DataLoader,
    *,
    epochs: int,
    comm: Communicator,
    validation: tuple[Array, Array] | None = None,
    clip_norm: float | None = None,
    micro_batches: int = 1,
    check_every: int = 100,
    callbacks: Sequence[Callback] = (),
    resume: Mapping[str, Any] | None = None,
) -> Run:
    """Train ``model``; returns the :class:`Run`, whose ``history`` has a record per epoch.

    Records hold epoch (from 1), loss and accuracy over the epoch's training samples as they were
    met, lr (of the last update), grad_norm (the mean over the steps, before clipping),
    samples_per_s, seconds, and with ``validation`` (x, y) val_loss and val_accuracy.

    ``micro_batches`` cuts each batch in so many parts whose gradients are added up before the
    update (D3 §3.2.2). Every ``check_every`` steps the replicas are compared (0: never).
    ``resume`` is a :meth:`Run.position`. Raises :class:`SharedError`, on all ranks, for a loss or
    gradient that is not finite, naming the step and the first layer whose output is not.
    """
    parallel = DataParallel(model, optimizer.arenas, comm)
    run = Run(model, optimizer, comm, epochs, **copy.deepcopy(dict(resume or {})))
    call(callbacks, "on_start", run)
    run.stop = agreed(comm, run.stop)
    while run.epoch < epochs and not run.stop:
        model.train()
        began = time.perf_counter()
        for batch in data.epoch(run.epoch, run.batch):
            optimizer.zero_grad()
            sums = np.zeros(3)  # over all ranks: loss, right answers, wishes to stop
            for part in (parts := batch.split(micro_batches)):
                model.seek(run.epoch * data.samples + part.sample + part.first)
                outputs = model(part.x)
                cost = loss(outputs, part.y)
                parallel.backward(cost, 1 / batch.total, last=part is parts[-1])
                sums += (cost.item(), right_answers(outputs, part.y), 0)
            sums[2] = bool(run.stop)
            comm.all_reduce(sums)
            norm = global_norm(optimizer.arenas)
            if not math.isfinite(sums[0] + norm):
                raise not_finite(run, batch, sums[0], norm)
            lr = optimizer.lr
            optimizer.step(scale=clip_scale(norm, clip_norm) if clip_norm else 1.0)
            run.add(loss=sums[0], right=sums[1], samples=batch.total, norm=norm, steps=1)
            run.totals["lr"] = lr
            run.batch = batch.index + 1
            if check_every and optimizer.steps % check_every == 0:
                parallel.check_replicas()
            call(callbacks, "on_step", run)
            if sums[2]:
                break
        else:
            run.add(seconds=time.perf_counter() - began)
            finish_epoch(run, evaluated(run, loss, validation))
            call(callbacks, "on_epoch", run)
        run.stop = agreed(comm, run.stop)
    call(callbacks, "on_end", run)
    return run


def call(callbacks: Iterable[Callback], event: str, run: Run) -> None:
    """Call every callback. What fails on one rank, a full disk for instance, is raised on all;
    after single steps that would cost a collective each, so there it ends the job instead."""
    if event == "on_step":
        for callback in callbacks:
            callback.on_step(run)
        return
    with together(run.comm):
        for callback in callbacks:
            getattr(callback, event)(run)


def agreed(comm: Communicator, reason: str) -> str:
    """The first rank's reason to stop, on all ranks; empty if no rank has one."""
    return next((text for text in comm.all_gather_text(reason) if text), "")


def finish_epoch(run: Run, validation: dict[str, float]) -> None:
    """Turn the epoch's totals into a record and move on to the next epoch."""
    t = run.totals
    run.epoch, run.batch, run.totals = run.epoch + 1, 0, {}
    run.history.append(
        {
            "epoch": run.epoch,
            "loss": t["loss"] / t["samples"],
            "accuracy": t["right"] / t["samples"],
            **validation,
            "lr": t["lr"],
            "grad_norm": t["norm"] / t["steps"],
            "samples_per_s": t["samples"] / t["seconds"],
            "seconds": t["seconds"],
        }
    )
    run.optimizer.observe(validation.get("val_loss", t["loss"] / t["samples"]))


def right_answers(outputs: Tensor, labels: Array) -> int:
    """How many rows of ``outputs`` (n, classes) are largest at their label."""
    return int((outputs.data.argmax(-1) == labels).sum())


@dataclass
class Evaluation:
    """What a model does on data it has not learned from, over all ranks. ``scores`` are the
    classes' probabilities (n, classes), or with two classes that of class 1, (n,)."""

    loss: float
    confusion: ConfusionMatrix
    scores: Scores


def evaluate(
    model: Module, loss: Loss, x: Array, y: Array, *, comm: Communicator, rows: int = 1024
) -> Evaluation:
    """Loss (mean), confusion matrix and scores on x (n, …), y (n,): each rank looks at its share,
    ``rows`` at a time, and the results are merged exactly."""
    start, stop = share(len(y), comm.rank, comm.size)
    total = np.zeros(1)
    training = model.training
    model.eval()
    with no_grad():
        classes = model(x[:0]).shape[-1]
        confusion, scores = ConfusionMatrix(classes), Scores(classes)
        for first in range(start, stop, rows):
            cut = slice(first, min(first + rows, stop))
            outputs = model(x[cut])
            total += loss(outputs, y[cut]).item()
            if not math.isfinite(total[0]):
                break
            confusion.update(y[cut], outputs.data.argmax(-1))
            p = outputs.softmax().data
            scores.update(y[cut], p[:, 1] if classes == 2 else p)
        comm.all_reduce(total)
        if not math.isfinite(total[0]):
            where = first_not_finite(model, x[start:stop], comm)
            raise SharedError(
                f"the loss on samples not learned from is {total[0] / len(y):g}; {where}"
            )
    model.train(training)
    return Evaluation(float(total[0]) / len(y), confusion.merge(comm), scores.merge(comm))


def evaluated(run: Run, loss: Loss, validation: tuple[Array, Array] | None) -> dict[str, float]:
    """The validation part of an epoch's record."""
    if validation is None:
        return {}
    result = evaluate(run.model, loss, *validation, comm=run.comm)
    return {"val_loss": result.loss, "val_accuracy": result.confusion.accuracy()}


def not_finite(run: Run, batch: Batch, loss: float, norm: float) -> SharedError:
    """The error for a step that went wrong. All ranks are here together."""
    with no_grad():
        where = first_not_finite(run.model, batch.x, run.comm)
    return SharedError(
        f"step {run.optimizer.steps + 1} (epoch {run.epoch + 1}, batch {batch.index + 1}): the "
        f"loss is {loss / batch.total:g} and the gradient's norm {norm:g}; {where}"
    )


def first_not_finite(model: Module, x: Array, comm: Communicator) -> str:
    """Which layer is the first whose output is not finite, on any rank, and what to do about it:
    runs the model again, with all ranks, so that layers may communicate."""
    bad = ""
    with watch(model) as outputs:
        model(x)
    for i, (path, module, y) in enumerate(outputs):
        if not array_module(y.data).isfinite(y.data).all():
            bad = f"{i:06} {path or 'the model'}, {module!r}"
            break
    layers = [text for text in comm.all_gather_text(bad) if text]
    where = (
        f"the first layer with such an output is {min(layers)[7:]}"
        if layers
        else "all layers' outputs are finite, so it arose in the loss or in backward"
    )
    return (
        f"{where}. Try a smaller learning rate, clipping (--clip-norm 1), or look for bad numbers "
        "in the data"
    )
