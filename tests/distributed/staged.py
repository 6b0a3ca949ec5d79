"""A model in stages beside the same model in one piece; as a program, under MPI."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad import nn, ops
from minigrad.autograd import Tensor
from minigrad.distributed import Communicator
from minigrad.distributed.mpi import world
from minigrad.distributed.pipeline import SCHEDULES, Pipeline, make_schedule
from minigrad.nn import Context

PEAKS: dict[str, Callable[[int, int, int], int]] = {
    "naive": lambda stage, p, m: 1,
    "gpipe": lambda stage, p, m: m,
    "1f1b": lambda stage, p, m: min(m, p - stage),
}

SIZE, CLASSES = 4, 3


def network(tokens: bool = False, frozen: int = 0) -> nn.Sequential:
    """Eight layers, dropout and a layer without parameters among them; float64."""
    rng = np.random.default_rng(1)
    options: Any = {"rng": rng, "dtype": "float64"}
    first: nn.Module = nn.Flatten()
    second: nn.Module = nn.Dense(2 * SIZE, SIZE, **options)
    if tokens:
        first, second = nn.Embedding(9, SIZE, **options), nn.Flatten()
    model = nn.Sequential(
        first,
        second,
        nn.Tanh(),
        nn.Dropout(0.3, rng=rng),
        nn.Dense(2 * SIZE if tokens else SIZE, SIZE, **options),
        nn.LayerNorm(SIZE, dtype="float64"),
        nn.Dense(SIZE, 6, activation="gelu", **options),
        nn.Dense(6, CLASSES, bias=False, **options),
    )
    for layer in model.layers[:frozen]:
        layer.freeze()
    return model


def data(rows: int, tokens: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 9, (rows, 2)) if tokens else rng.normal(size=(rows, 2, SIZE))
    return x, rng.integers(0, CLASSES, rows)


def undivided(rows: int, tokens: bool = False, frozen: int = 0) -> tuple[float, nn.Sequential]:
    """The loss of one batch, and the model with its gradients."""
    model = network(tokens, frozen)
    x, labels = data(rows, tokens)
    model.context.seek(0)
    loss = ops.cross_entropy(model(Tensor(x)), labels, reduction="none").sum()
    loss.backward()
    return loss.item(), model


def gradients(model: nn.Module) -> dict[str, np.ndarray]:
    return {
        name: np.zeros(p.shape) if p.grad is None else p.grad
        for name, p in model.named_parameters().items()
        if p.requires_grad
    }


def step(
    comm: Communicator,
    rows: Sequence[int],
    schedule: str,
    *,
    tokens: bool = False,
    frozen: int = 0,
    cuts: Sequence[int] | None = None,
) -> tuple[float, Pipeline]:
    """What :func:`undivided` does, in micro-batches of so many ``rows``."""
    pipeline = Pipeline(network(tokens, frozen), comm, schedule=schedule, cuts=cuts)
    pipeline.attach(context := Context())
    x, labels = data(sum(rows), tokens)
    ends = list(itertools.accumulate(rows))
    losses: list[float] = []
    lasts: list[bool] = []

    def part(array: np.ndarray, m: int) -> np.ndarray:
        return array[ends[m] - rows[m] : ends[m]]

    def loss(m: int, outputs: Tensor) -> Tensor:
        assert pipeline.is_last
        cost: Tensor = ops.cross_entropy(outputs, part(labels, m), reduction="none").sum()
        losses.append(cost.item())
        return cost

    def backward(tensor: Tensor, gradient: Any, last: bool) -> None:
        lasts.append(last)
        tensor.backward(gradient)

    pipeline.run(
        [part(x, m) if pipeline.is_first else None for m in range(len(rows))],
        loss,
        backward=backward,
        before=lambda m: context.seek(ends[m] - rows[m]),
    )
    assert lasts in ([], [False] * (len(rows) - 1) + [True])
    assert [slot.instruction for slot in pipeline.slots] == list(
        make_schedule(schedule, comm.size, len(rows), warn=False)[comm.rank]
    )
    return sum(losses), pipeline


def main() -> None:
    comm = world()
    wanted, model = undivided(200)
    rows = [30, 0, 50, 31, 29, 60]
    for schedule in SCHEDULES:
        loss, pipeline = step(comm, rows, schedule)
        if pipeline.is_last:
            np.testing.assert_allclose(loss, wanted, rtol=1e-12)
        for name, gradient in gradients(pipeline).items():
            np.testing.assert_allclose(gradient, gradients(model)[name], rtol=1e-11, atol=1e-12)
        assert pipeline.peak == PEAKS[schedule](comm.rank, comm.size, len(rows))
        assert len(pipeline.timeline()) == 2 * comm.size * len(rows)
    x = data(200)[0]
    outputs = pipeline.eval()(Tensor(x)).data
    np.testing.assert_allclose(outputs, model.eval()(Tensor(x)).data, rtol=1e-12)
    # larger than what MPI sends before it is received
    wide = Pipeline(nn.Sequential(*(nn.PReLU(50_000, dtype="float64") for _ in range(4))), comm)
    wide.run(
        [np.full((20, 50_000), -1.0)] * 4 if wide.is_first else [None] * 4,
        lambda m, y: y.sum(),
        backward=lambda tensor, gradient, last: tensor.backward(gradient),
    )
    for gradient in gradients(wide).values():
        np.testing.assert_allclose(gradient, -80 * 0.25**3)
    sys.stdout.write(f"stage {comm.rank} equals\n")


if __name__ == "__main__":
    main()
