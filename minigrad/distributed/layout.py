"""One model on a mesh: its layers divided among stages, their weights among tensor ranks."""

from __future__ import annotations

from typing import cast

from minigrad import nn
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.mesh import Mesh
from minigrad.distributed.pipeline import Pipeline
from minigrad.distributed.tensor_parallel import (
    ColumnParallelDense,
    ParallelDropout,
    RowParallelDense,
)
from minigrad.errors import SharedError

__all__ = ["arrange", "tensor_parallel"]

_BY_ELEMENT = (
    nn.ELU, nn.GELU, nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Tanh,
)  # fmt: skip


def arrange(model: nn.Sequential, mesh: Mesh, *, schedule: str = "1f1b") -> nn.Module:
    """This rank's part of ``model`` on ``mesh``, for an optimizer and for
    :class:`~minigrad.distributed.data_parallel.DataParallel`. All ranks build the same model first;
    ``schedule`` is that of the stages: "naive", "gpipe" or "1f1b".

    Raises :class:`SharedError` where layers do not divide among the tensor ranks, and where there
    are fewer layers with parameters than stages.
    """
    _, tensor, stages = mesh.sizes
    if tensor > 1:
        model = tensor_parallel(model, mesh.tensor)
    if stages == 1:
        return model
    trained = sum(bool(layer.parameters()) for layer in model.layers)
    if trained < stages:
        raise SharedError(
            f"{stages} pipeline stages were asked for, but the model has {trained} layers with "
            f"parameters, and each stage trains one or more: use at most {trained} stages"
        )
    return Pipeline(model, mesh.pipeline, schedule=schedule)


def tensor_parallel(model: nn.Sequential, comm: Communicator) -> nn.Sequential:
    """``model`` with each pair of Dense layers divided among the ranks of ``comm``.

    The first of a pair is divided by columns, the second by rows, and what lies between them works
    element by element on each rank's part; layers that have no partner are kept whole, on all
    ranks. Names stay as they are. Raises :class:`SharedError` where there is no such pair, and
    where a layer between the two does not divide among the ranks.
    """
    _refuse_tied(model)
    layers = list(model.layers)
    first, pairs = -1, 0  # where the pair begins, if one has begun
    for number, layer in enumerate(model.layers):
        if isinstance(layer, nn.Dense) and first < 0:
            first = number
        elif isinstance(layer, nn.Dense):
            layers[first] = ColumnParallelDense.from_dense(cast("nn.Dense", layers[first]), comm)
            layers[number] = RowParallelDense.from_dense(layer, comm)
            for place, between in enumerate(model.layers[first + 1 : number], first + 1):
                if isinstance(between, nn.Dropout):
                    layers[place] = ParallelDropout.from_dropout(between, comm)
            first, pairs = -1, pairs + 1
        elif not isinstance(layer, (*_BY_ELEMENT, nn.Dropout)):
            first = -1
    if not pairs:
        raise SharedError(
            "tensor parallelism divides pairs of Dense layers with nothing but activations or "
            "dropout between them, and this model has none; use data or pipeline parallelism"
        )
    return nn.Sequential(*layers)


def _refuse_tied(model: nn.Sequential) -> None:
    seen: dict[int, int] = {}
    for number, layer in enumerate(model.layers):
        for parameter in layer.parameters():
            first = seen.setdefault(id(parameter), number)
            if first != number:
                raise SharedError(
                    f"layers {first} and {number} share a parameter, of which tensor parallelism "
                    "would make two: make them two, or take data parallelism"
                )
