"""A5 (D3 §3.1.3): model parallelism between layers. Each rank holds some; micro-batches pass.

A stage waits until something arrives: the bubble. Naively it is (p − 1)/p of the time; with m
micro-batches on their way it is (p − 1)/(m + p − 1) for GPipe and 1F1B, of which 1F1B keeps fewer
activations. So that few cores do not hide the schedule, each stage here rests some milliseconds
forward and twice as many backward, as if an accelerator of its own worked meanwhile.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import nn, ops
from minigrad.autograd import Tensor, op
from minigrad.backend import Array
from minigrad.demos.common import table, tell, worst
from minigrad.distributed import Communicator
from minigrad.distributed.pipeline import (
    SCHEDULES,
    Pipeline,
    bubble,
    gantt,
    make_schedule,
    peak_activations,
    show,
    simulate,
)

__all__ = ["demo"]

_FORWARD = 0.006  # seconds
_SHOWN = 8  # stages, in print
_ROWS, _FEATURES, _CLASSES = 8, 16, 4


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    stages = comm.size
    m = max(8, stages)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(m, _ROWS, _FEATURES))
    labels = rng.integers(_CLASSES, size=(m, _ROWS))
    whole = _model(stages)
    for each, y in zip(x, labels):
        _loss(whole(Tensor(each)), y).backward()

    rows: list[tuple[object, ...]] = [
        ("schedule", "idle", "by the formula", "ms", "alive at most", "by the plan", "gradients")
    ]
    for name in SCHEDULES:
        part = Pipeline(_model(stages), comm, schedule=name, cuts=range(3, 3 * stages, 3))
        _run(part, x[:stages], labels)  # opens the connections
        for parameter in part.parameters():
            parameter.grad = None
        comm.barrier()
        _run(part, x, labels)
        happened = part.timeline()
        plan = make_schedule(name, stages, m)
        idle = (stages - 1) / stages if name == "naive" else (stages - 1) / (m + stages - 1)
        alive = np.concatenate(comm.all_gather(np.array([part.peak])))
        span = max(slot.end for slot in happened)
        rows.append(
            (
                name,
                f"{bubble(happened):.1%}",
                f"{idle:.1%}",
                f"{1e3 * span:.0f}",
                " ".join(map(str, alive)),
                " ".join(map(str, peak_activations(plan))),
                f"± {_difference(comm, part, whole):.0e}",
            )
        )
        if comm.rank == 0:
            suffix = "" if name == "1f1b" else f"-{name}"
            planned = simulate(plan, 1e3 * _FORWARD, 2e3 * _FORWARD)
            gantt(folder / f"pipeline{suffix}.png", planned, happened)
    if stages <= _SHOWN:
        tell(comm, f"{m} micro-batches on {stages} stages, 1F1B:", show(plan), "")
    tell(
        comm,
        table(*rows),
        "",
        f"Each stage rests {1e3 * _FORWARD:g} ms forward and {2e3 * _FORWARD:g} backward, as if an "
        "accelerator worked. Gradients: the",
        "largest difference from one process. Also drawn: pipeline-naive.png, pipeline-gpipe.png",
    )


def _rest(g: Array, seconds: float) -> Array:
    time.sleep(2 * seconds)
    return g


@op(x=_rest)
def accelerator(xp: Any, x: Array, seconds: float) -> Array:
    """x, after as long as an accelerator might have worked; backward takes twice that."""
    time.sleep(seconds)
    return x.view()


class _Accelerator(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return accelerator(x, _FORWARD)


def _model(stages: int) -> nn.Sequential:
    """Three layers a stage, the last one of which rests."""
    rng = np.random.default_rng(0)
    sizes = [_FEATURES] * stages + [_CLASSES]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Dense(inputs, outputs, rng=rng, dtype="float64"), nn.Tanh(), _Accelerator()]
    return nn.Sequential(*layers)


def _loss(outputs: Tensor, labels: np.ndarray) -> Tensor:
    return ops.cross_entropy(outputs, labels, reduction="sum")


def _run(part: Pipeline, x: np.ndarray, labels: np.ndarray) -> None:
    part.run(
        list(x),
        lambda m, outputs: _loss(outputs, labels[m]),
        backward=lambda tensor, gradient, last: tensor.backward(gradient),
    )


def _difference(comm: Communicator, part: Pipeline, whole: nn.Module) -> float:
    wanted = whole.named_parameters()
    mine = part.named_parameters()
    pairs = [(p.grad, wanted[name].grad) for name, p in mine.items()]
    one, other = (np.concatenate([a.reshape(-1) for a in side]) for side in zip(*pairs))
    return worst(comm, one, other)
