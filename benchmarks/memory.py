"""What is kept for backward: what some gradient rule names, and nothing else (decision 1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks import network
from benchmarks.harness import Result, Row, Spread, optional_torch
from minigrad import Tensor, ops
from minigrad.autograd.graph import walk
from minigrad.nn import Module

__all__ = ["by_hand", "kept_bytes", "run"]


def run() -> Result:
    """Bytes kept by the articles' network, against a count by hand, and PyTorch's beside it.

    Parameters and the batch itself are left out: they are there anyway.
    """
    torch = optional_torch()
    result = Result("bytes kept for backward by 784-128-64-10 and its loss, float32")
    for rows in (32, 128, 512):
        x, labels = network.batches(rows, count=1)[0]
        model = network.minigrad_model()
        loss = ops.cross_entropy(model(x), labels)
        kept, hand = kept_bytes(loss, model, [x, labels]), by_hand(rows)
        what = f"batch {rows}"
        result.rows.append(_row(f"{what}: minigrad / by hand", kept / hand, goal=1.0))
        result.rows.append(_row(f"{what}: minigrad", kept, "bytes"))
        if torch is not None:
            result.rows.append(_row(f"{what}: PyTorch", _torch_bytes(torch, x, labels), "bytes"))
    if torch is None:
        result.notes.append("PyTorch is not installed: its part was left out")
    return result


def by_hand(rows: int) -> int:
    """Two ReLU outputs (which are also the next layers' inputs), the logits, two numbers a row."""
    return 4 * rows * (128 + 64 + 10 + 2)


def kept_bytes(loss: Tensor, model: Module, given: Iterable[Any]) -> int:
    """Bytes that the graph of ``loss`` holds, each buffer once, those of ``model``'s parameters
    and of the ``given`` arrays left out."""
    nodes, _ = walk([] if loss._node is None else [loss._node])
    arrays = (a for node in nodes for a in node.kept or () if isinstance(a, np.ndarray))
    held = {id(owner): owner.nbytes for owner in map(_owner, arrays)}
    for array in (*(p.data for p in model.parameters()), *given):
        held.pop(id(_owner(array)), None)
    return sum(held.values())


def _owner(array: Any) -> Any:
    """The array whose memory ``array`` is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _torch_bytes(torch: Any, x: Any, labels: Any) -> int:
    model = network.torch_model(torch)
    held: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    given = [torch.from_numpy(array) for array in (x, labels)]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = torch.nn.functional.cross_entropy(model(given[0]), given[1])
    for tensor in (*model.parameters(), *given):
        held.pop(tensor.untyped_storage().data_ptr(), None)
    del loss
    return sum(held.values())


def _row(what: str, value: float, unit: str = "times", goal: float | None = None) -> Row:
    return Row(what, Spread(value, value, value), unit, goal)
