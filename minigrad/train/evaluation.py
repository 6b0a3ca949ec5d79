"""What a model does on samples it is not learning from, over all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from minigrad.autograd import Tensor, no_grad
from minigrad.backend import Array, array_module
from minigrad.distributed.communicator import Communicator
from minigrad.errors import SharedError
from minigrad.metrics import ConfusionMatrix, Scores
from minigrad.nn import Module, watch
from minigrad.shares import share

__all__ = [
    "CLASSIFICATION", "Loss", "Metric", "classify", "evaluate", "first_not_finite", "losses_of",
]  # fmt: skip

Loss = Callable[[Tensor, Array], Tensor]
"""(outputs, targets) -> the losses of the samples, (n,). Summing and averaging are the loop's
business, since only it knows how many samples all ranks have together."""

Metric = Callable[[Tensor, Array], float]
"""(outputs, targets) -> a sum over the samples; the mean over all of them is reported."""


def right_answers(outputs: Tensor, labels: Array) -> float:
    """How many rows of ``outputs`` (n, classes) are largest at their label."""
    return float((outputs.data.argmax(-1) == labels).sum())


CLASSIFICATION: Mapping[str, Metric] = {"accuracy": right_answers}
"""What :func:`fit` and :func:`evaluate` measure by default: the accuracy."""


def losses_of(loss: Loss, outputs: Tensor, targets: Array) -> Tensor:
    """``loss(outputs, targets)``; raises unless it is one number a sample."""
    losses = loss(outputs, targets)
    if losses.shape != (len(targets),):
        raise SharedError(
            f"the loss of {len(targets)} samples has shape {losses.shape}, but one number for each "
            "is expected: losses of this library give that with reduction='none'"
        )
    return losses


def evaluate(
    model: Module,
    loss: Loss,
    x: Array,
    y: Array,
    *,
    comm: Communicator,
    everyone: Communicator | None = None,
    metrics: Mapping[str, Metric] = CLASSIFICATION,
) -> dict[str, float]:
    """The mean ``loss`` and ``metrics`` on x (n, …), y (n, …), shared among the ranks of ``comm``.

    Raises :class:`SharedError` where the loss is not finite, naming the first such layer, of those
    that the ranks of ``everyone`` hold together; by default each has all of them.

    >>> comm = mg.distributed.SerialCommunicator()
    >>> loss = lambda outputs, labels: ops.cross_entropy(outputs, labels, reduction="none")
    >>> x, labels = np.array([[3.0, 0.0], [0.0, 3.0]]), np.array([0, 0])
    >>> train.evaluate(nn.Flatten(), loss, x, labels, comm=comm)
    {'loss': 1.548..., 'accuracy': 0.5}
    """
    sums = np.zeros(1 + len(metrics))

    def see(outputs: Tensor, targets: Array) -> None:
        values = [metric(outputs, targets) for metric in metrics.values()]
        sums[:] += (losses_of(loss, outputs, targets).sum().item(), *values)

    each_share(model, x, y, comm, see)
    comm.all_reduce(sums)
    means = sums / len(y)
    if not math.isfinite(means[0]):
        mine = x[slice(*share(len(y), comm.rank, comm.size))]
        where = first_not_finite(model.eval(), mine, everyone or comm)
        raise SharedError(f"the loss on samples not learned from is {means[0]:g}; {where}")
    return dict(zip(("loss", *metrics), map(float, means)))


def classify(
    model: Module, x: Array, y: Array, *, comm: Communicator
) -> tuple[ConfusionMatrix, Scores]:
    """Confusion matrix and scores of a classifier on x (n, …), y (n,), over all ranks. Scores are
    the classes' probabilities (n, classes), or with two classes that of class 1, (n,).

    >>> x, labels = np.array([[3.0, 0.0], [0.0, 3.0]]), np.array([0, 0])
    >>> comm = mg.distributed.SerialCommunicator()
    >>> confusion, scores = train.classify(nn.Flatten(), x, labels, comm=comm)
    >>> confusion.matrix
    array([[1, 1],
           [0, 0]])
    """
    seen: list[tuple[ConfusionMatrix, Scores]] = []

    def see(outputs: Tensor, labels: Array) -> None:
        classes = outputs.shape[-1]
        if not seen:
            seen.append((ConfusionMatrix(classes), Scores(classes)))
        confusion, scores = seen[0]
        confusion.update(labels, outputs.data.argmax(-1))
        p = outputs.softmax().data
        scores.update(labels, p[:, 1] if classes == 2 else p)

    each_share(model, x, y, comm, see)
    confusion, scores = seen[0]
    return confusion.merge(comm), scores.merge(comm)


def each_share(
    model: Module,
    x: Array,
    y: Array,
    comm: Communicator,
    see: Callable[[Tensor, Array], None],
    rows: int = 1024,
) -> None:
    """Call ``see(outputs, targets)`` for this rank's share, ``rows`` at a time and at least once,
    with the model in evaluation mode and no graph recorded."""
    start, stop = share(len(y), comm.rank, comm.size)
    training = model.training
    model.eval()
    try:
        with no_grad():
            for first in range(start, max(stop, start + 1), rows):
                cut = slice(first, min(first + rows, stop))
                see(model(x[cut]), y[cut])
    finally:
        model.train(training)


def first_not_finite(model: Module, x: Array, comm: Communicator) -> str:
    """Which layer is the first whose output is not finite, on any rank, and what to do about it:
    runs the model again, with all ranks, so that layers may communicate."""
    bad, stage = "", getattr(model, "stage", 0)  # of a pipeline
    with no_grad(), watch(model) as outputs:
        model(x)
    for i, (path, module, y) in enumerate(outputs):
        if module is model and len(outputs) > 1:
            continue  # it is as its last layer
        if not array_module(y.data).isfinite(y.data).all():
            bad = f"{stage:03}{i:06} {path or 'the model'}, {module!r}"
            break
    layers = [text for text in comm.all_gather_text(bad) if text]
    where = (
        f"the first layer with such an output is {min(layers)[10:]}"
        if layers
        else "all layers' outputs are finite, so it arose in the loss or in backward"
    )
    return (
        f"{where}. Try a smaller learning rate, clipping (--clip-norm 1), or look for bad numbers "
        "in the data"
    )
