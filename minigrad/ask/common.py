"""What experiments share: a network on digits, its training, its gradients, colours."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn, ops
from minigrad.autograd import grad, no_grad
from minigrad.backend import Array
from minigrad.data import DataLoader, Dataset
from minigrad.distributed import Communicator
from minigrad.errors import require
from minigrad.nn.init import Initialiser
from minigrad.optim import Optimizer
from minigrad.train import DataParallel

__all__ = [
    "COLOURS",
    "Course",
    "borne_out",
    "change",
    "gradient_norms",
    "held_out",
    "judged",
    "network",
    "quickest",
    "right",
    "rows",
    "threads",
    "train",
]

COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999",
)  # fmt: skip
"""Those of Okabe and Ito, which people with any colour vision can tell apart."""

_LOSS = partial(ops.cross_entropy, reduction="none")


class Course(NamedTuple):
    """How a training went: at each look the steps done, the seconds they took (looking not
    counted), and on the test part the mean loss and the share of right answers."""

    steps: list[int]
    seconds: list[float]
    loss: list[float]
    accuracy: list[float]

    def reached(self, accuracy: float) -> tuple[int, float] | None:
        """The steps and seconds after which ``accuracy`` was first seen; None: never."""
        looks = zip(self.steps, self.seconds, self.accuracy)
        return next((look[:2] for look in looks if look[2] >= accuracy), None)


def network(
    *sizes: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    init: str | Initialiser = "he_normal",
    dropout: float = 0.0,
    seed: int = 0,
    dtype: str = "float32",
) -> nn.Sequential:
    """Dense layers of these ``sizes``, between them ``activation()`` and, if asked, dropout."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        if layers:
            layers += [activation(), *([nn.Dropout(dropout, rng=rng)] if dropout else [])]
        layers.append(nn.Dense(inputs, outputs, rng=rng, init=init, dtype=dtype))
    return nn.Sequential(*layers)


def rows(data: Dataset, count: int) -> Dataset:
    """``data`` with the first ``count`` rows of its training part, which are in random order."""
    return dataclasses.replace(data, x_train=data.x_train[:count], y_train=data.y_train[:count])


def train(
    model: nn.Module,
    optimizer: Optimizer,
    data: Dataset,
    *,
    steps: int,
    batch_size: int = 32,
    look_every: int = 10,
    target: float | None = None,
    clip_norm: float | None = None,
    seed: int = 0,
    comm: Communicator | None = None,
) -> Course:
    """Train a classifier for so many ``steps``, looking at the test part every few of them and at
    the end, or until it is right for a ``target`` share of that. ``clip_norm`` limits the global
    norm of the gradient. A loss that is not finite ends the training; ranks share each batch."""
    parallel = DataParallel(model, optimizer, comm)
    comm = parallel.comm
    loader = DataLoader(
        data.x_train, data.y_train, batch_size=batch_size, seed=seed, rank=comm.rank, size=comm.size
    )
    batches = (
        (epoch * loader.samples, batch) for epoch in range(steps) for batch in loader.epoch(epoch)
    )
    course, spent = Course([], [], [], []), 0.0
    for step, (first, batch) in zip(range(1, steps + 1), batches):
        began = time.perf_counter()
        parallel.run([batch], lambda y, part: _LOSS(y, part.y).sum(), 1 / batch.total, first)
        parallel.step(parallel.norm(clip_norm) if clip_norm is not None else None)
        spent += time.perf_counter() - began
        if step % look_every and step < steps:
            continue
        loss, accuracy = right(model, data.x_test, data.y_test)
        course.steps.append(step)
        course.seconds.append(spent)
        course.loss.append(loss)
        course.accuracy.append(accuracy)
        if not np.isfinite(loss) or (target is not None and accuracy >= target):
            break
    return course


def right(model: nn.Module, x: Array, y: Array) -> tuple[float, float]:
    """The mean loss on x (n, …), y (n,), NaN or infinite too, and the share of right answers."""
    with no_grad():
        outputs = model.eval()(x)
        model.train()
        return _LOSS(outputs, y).mean().item(), float((outputs.data.argmax(-1) == y).mean())


def gradient_norms(model: nn.Module, x: Array, y: Array) -> list[float]:
    """The norm of the gradient of each weight matrix, the first layer's first, for the mean
    cross-entropy on x (n, …), y (n,)."""
    weights = [p for p in model.parameters() if p.data.ndim == 2]
    found = grad(_LOSS(model(x), y).mean(), weights)
    return [float(np.linalg.norm(g.data)) for g in found]


def change(before: Sequence[float] | Array, after: Sequence[float] | Array) -> tuple[float, float]:
    """By how much runs differ from those ``before`` with the same seeds, two or more: the mean,
    and its standard error over the seeds."""
    differences = np.subtract(after, before)
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return float(differences.mean()), float(error)


def judged(changes: Mapping[str, tuple[float, float]]) -> tuple[list[str], list[str], list[str]]:
    """The names of the changes that go up by more than three times their standard error, of those
    that go down by more, and of the others, which cannot be told from noise."""
    # of four or five seeds Student's t asks about three, where of many it would ask two
    up = [name for name, (mean, error) in changes.items() if mean > 3 * error]
    down = [name for name, (mean, error) in changes.items() if mean < -3 * error]
    return up, down, [name for name in changes if name not in up + down]


def borne_out(holds: bool, lang: str = "en") -> str:
    """What a measurement says of a sentence of the articles."""
    if lang == "zh":
        return "得到证实" if holds else "未得到证实"
    return "borne out" if holds else "not borne out"


def quickest(work: Callable[[], Any], times: int = 5) -> float:
    """The seconds that the quickest of several calls takes, after one that is not counted."""
    found = []
    for _ in range(times + 1):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found[1:])


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Within it, BLAS and OpenMP, as far as they are loaded, compute on ``count`` threads."""
    with require("threadpoolctl", "mpi").threadpool_limits(count):
        yield


def held_out(data: Dataset, kept: int = 1200) -> Dataset:
    """``data`` with the training rows from ``kept`` on as its test part: to choose settings by."""
    return dataclasses.replace(
        data,
        x_train=data.x_train[:kept],
        y_train=data.y_train[:kept],
        x_test=data.x_train[kept:],
        y_test=data.y_train[kept:],
    )
