"""The training loop, explicit.

One step: forward, the losses of this rank's samples, backward with the gradients summed over all
ranks, clipping by global norm, update. How the ranks share it is :class:`DataParallel`'s part.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from minigrad.autograd import Tensor
from minigrad.backend import Array
from minigrad.data import Batch, DataLoader
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.errors import SharedError
from minigrad.nn import Module
from minigrad.optim import Optimizer
from minigrad.train.evaluation import (
    CLASSIFICATION,
    Loss,
    Metric,
    evaluate,
    first_not_finite,
    losses_of,
)
from minigrad.train.together import together

__all__ = ["SIGNALS", "Callback", "Run", "fit"]

SIGNALS = ("SIGTERM", "SIGINT")
"""Reasons to stop that go before all others."""


class Callback:
    """What is called while :func:`fit` runs, on every rank: look at ``run.comm.rank`` before
    writing files. A callback may call collectives if it does so on all ranks."""

    def on_start(self, run: Run) -> None:
        """Before the first step."""

    def on_step(self, run: Run) -> None:
        """After each update."""

    def on_epoch(self, run: Run) -> None:
        """After each epoch; its record is ``run.history[-1]``."""

    def on_end(self, run: Run) -> None:
        """After the last epoch, or when the run stops early."""

    def close(self) -> None:
        """At the very end, after an error too."""


@dataclass
class Run:
    """A training run: what :func:`fit` was given, and where it stands.

    ``history`` holds one record per finished epoch; ``epoch`` and ``batch`` are the position of
    the next step, and ``totals`` the sums over the steps of the epoch so far. All of it goes into
    a checkpoint. Setting ``stop`` to a reason, on any rank, ends the run.
    """

    parallel: DataParallel
    epochs: int
    history: list[dict[str, Any]] = field(default_factory=list)
    epoch: int = 0
    batch: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    stop: str = ""

    @property
    def model(self) -> Module:
        """What is trained."""
        return self.parallel.model

    @property
    def optimizer(self) -> Optimizer:
        """What trains it."""
        return self.parallel.optimizer

    @property
    def comm(self) -> Communicator:
        """Whose ranks share the work."""
        return self.parallel.comm

    def position(self) -> dict[str, Any]:
        """What a checkpoint needs to go on from here, beside the parallel's state."""
        keys = ("history", "epoch", "batch", "totals")
        return {key: getattr(self, key) for key in keys}

    def add(self, **amounts: float) -> None:
        """Add to the epoch's totals."""
        for key, amount in amounts.items():
            self.totals[key] = self.totals.get(key, 0.0) + float(amount)


def fit(
    parallel: DataParallel,
    loss: Loss,
    data: DataLoader,
    *,
    epochs: int,
    validation: tuple[Array, Array] | None = None,
    metrics: Mapping[str, Metric] = CLASSIFICATION,
    clip_norm: float | None = None,
    micro_batches: int = 1,
    check_every: int = 100,
    callbacks: Sequence[Callback] = (),
    resume: Mapping[str, Any] | None = None,
) -> Run:
    """Train the model of ``parallel``; returns the :class:`Run`, with a record per epoch.

    ``loss(outputs, targets)`` gives one number a sample (``reduction="none"``). ``data`` is a
    :class:`minigrad.data.DataLoader` with the communicator's ``rank`` and ``size``. On one rank::

        fit(DataParallel(model, optim.Adam(model, 1e-3)), partial(ops.cross_entropy,
            reduction="none"), DataLoader(x, labels, batch_size=32), epochs=10)

    Records hold epoch (from 1), loss and ``metrics`` (means over the epoch's samples as they were
    met), lr (of the last update), grad_norm (the mean over the steps, before clipping),
    samples_per_s, seconds, and with ``validation`` (x, y) ``val_loss`` and each metric as
    ``val_…``.

    ``micro_batches`` cuts each batch in so many parts whose gradients are added up before the
    update (D3 §3.2.2); batch norm sees a part at a time. Every ``check_every`` steps the replicas
    are compared (0: never). ``clip_norm`` limits the gradient's global norm (D3 §3.2.1).
    ``resume`` is a :meth:`Run.position`. Raises :class:`SharedError`, on all ranks, for a loss or
    gradient that is not finite, naming the step and the first layer whose output is not; nothing
    has been updated then.

    >>> x = np.array([[1.0], [2.0], [3.0]])
    >>> model = nn.Dense(1, 1, rng=np.random.default_rng(0), bias=False)
    >>> parallel = train.DataParallel(model, optim.SGD(model, 0.1))
    >>> rows = data.DataLoader(x, 2 * x, batch_size=3)
    >>> loss = lambda outputs, targets: ops.mse(outputs, targets, reduction="none").sum(axis=1)
    >>> run = train.fit(parallel, loss, rows, epochs=30, metrics={})
    >>> model.weight, run.history[-1]["epoch"]
    (Tensor([[2.]], requires_grad=True), 30)
    """
    check_share(data, parallel.replicas)
    run = Run(parallel, epochs, **copy.deepcopy(dict(resume or {})))
    model, optimizer, comm = run.model, run.optimizer, run.comm
    callbacks = same_number(callbacks, comm)
    try:
        call(callbacks, "on_start", run)
        while run.epoch < epochs and not run.stop:
            model.train()
            began = time.perf_counter()
            for batch in data.epoch(run.epoch, run.batch):
                sums = np.zeros(2 + len(metrics))  # over all ranks: wishes to stop, loss, metrics
                sums[0] = bool(run.stop)
                parallel.run(
                    batch.split(micro_batches),
                    partial(counted_cost, loss, metrics, sums[1:] if parallel.counts else None),
                    1 / batch.total,
                    run.epoch * data.samples,
                )
                comm.all_reduce(sums)
                run.totals["lr"] = optimizer.lr
                norm = parallel.norm(clip_norm)
                if math.isfinite(sums[1]):
                    parallel.step(norm)  # a GPU's norm is not waited for: it skips by itself
                if not math.isfinite(sums[1] + (length := norm.value)):
                    raise not_finite(run, batch, sums[1], length)
                run.add(samples=batch.total, norm=length, steps=1)
                run.add(**dict(zip(("loss", *metrics), sums[1:])))
                run.batch = batch.index + 1
                if check_every and optimizer.steps % check_every == 0:
                    parallel.check_replicas()
                call(callbacks, "on_step", run)
                if sums[0]:
                    break
            parallel.synchronise()
            run.add(seconds=time.perf_counter() - began)
            if run.batch == len(data):
                finish_epoch(run, loss, validation, metrics)
                call(callbacks, "on_epoch", run)
            run.stop = agreed(comm, run.stop)
        call(callbacks, "on_end", run)
    finally:
        with contextlib.ExitStack() as closing:  # all of them, whatever one of them raises
            for callback in reversed(callbacks):
                closing.callback(callback.close)
    return run


def counted_cost(
    loss: Loss,
    metrics: Mapping[str, Metric],
    sums: Array | None,
    outputs: Tensor,
    part: Batch,
) -> Tensor:
    """This rank's losses on a micro-batch, summed; loss and metrics are added to ``sums``."""
    cost: Tensor = losses_of(loss, outputs, part.y).sum()
    if sums is not None:
        sums += (cost.item(), *(metric(outputs, part.y) for metric in metrics.values()))
    return cost


def check_share(data: DataLoader, comm: Communicator) -> None:
    """Refuse a loader that deals out other ranks' samples."""
    if (data.rank, data.size) != (comm.rank, comm.size):
        raise SharedError(
            f"the data are for rank {data.rank} of {data.size}, but this is rank {comm.rank} of "
            f"{comm.size}: make the DataLoader with rank=comm.rank, size=comm.size, on a "
            "mesh of mesh.data: rank=mesh.data.rank, size=mesh.data.size"
        )


def same_number(callbacks: Sequence[Callback], comm: Communicator) -> list[Callback]:
    """As many callbacks on every rank: some ranks may have been given fewer."""
    most = np.array([len(callbacks)])
    comm.all_reduce(most, "max")
    return [*callbacks, *(Callback() for _ in range(int(most[0]) - len(callbacks)))]


def call(callbacks: Iterable[Callback], event: str, run: Run) -> None:
    """Call every callback. What fails on one rank, a full disk for instance, is raised on all;
    after single steps that would cost a collective each, so there it ends the job instead."""
    if event == "on_step":
        for callback in callbacks:
            callback.on_step(run)
        return
    for callback in callbacks:  # one by one: the next may call collectives
        with together(run.comm):
            getattr(callback, event)(run)
    if event == "on_start":
        run.stop = agreed(run.comm, run.stop)


def agreed(comm: Communicator, reason: str) -> str:
    """A reason to stop that all ranks hold: a signal, or that of the first rank that has one."""
    reasons = [text for text in comm.all_gather_text(reason) if text]
    return next((text for text in reasons if text in SIGNALS), (reasons or [""])[0])


def finish_epoch(
    run: Run,
    loss: Loss,
    validation: tuple[Array, Array] | None,
    metrics: Mapping[str, Metric],
) -> None:
    """Turn the epoch's totals into a record and move on to the next epoch."""
    t = run.totals
    means = {key: t[key] / t["samples"] for key in ("loss", *metrics)}
    judged: dict[str, float] = {}
    if validation is not None:
        replicas = run.parallel.replicas
        found = evaluate(
            run.model, loss, *validation, comm=replicas, everyone=run.comm, metrics=metrics
        )
        judged = {f"val_{key}": value for key, value in found.items()}
    run.epoch, run.batch, run.totals = run.epoch + 1, 0, {}
    run.history.append(
        {
            "epoch": run.epoch,
            **means,
            **judged,
            "lr": t["lr"],
            "grad_norm": t["norm"] / t["steps"],
            "samples_per_s": t["samples"] / t["seconds"],
            "seconds": t["seconds"],
        }
    )
    run.optimizer.observe(judged.get("val_loss", means["loss"]))


def not_finite(run: Run, batch: Batch, loss: float, norm: float) -> SharedError:
    """The error for a step that went wrong. All ranks are here together."""
    run.parallel.context.seek(run.epoch * len(batch.source[0]) + batch.number)
    where = first_not_finite(run.model, batch.x, run.comm)
    number = run.optimizer.steps + (not math.isfinite(loss))  # a skipped update counts
    return SharedError(
        f"step {number} (epoch {run.epoch + 1}, batch {batch.index + 1}): the loss is "
        f"{loss / batch.total:g} and the gradient's norm {norm:g}; {where}"
    )
