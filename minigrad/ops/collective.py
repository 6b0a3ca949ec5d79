"""Collectives that a gradient passes through. The communicator is an argument (see
:mod:`minigrad.distributed.communicator`)."""

from __future__ import annotations

from typing import Any, Protocol

from minigrad.autograd import op, within
from minigrad.backend import Array

__all__ = ["all_reduce"]


class Summing(Protocol):
    """What :func:`all_reduce` asks of a communicator."""

    def all_reduce(self, array: Array, op: str = "sum") -> None: ...


def _all_reduce_gradient(xp: Any, g: Any, comm: Summing) -> Any:
    return within(xp, all_reduce, g, comm)


@op(x=_all_reduce_gradient)
def all_reduce(xp: Any, x: Array, comm: Summing) -> Array:
    """The sum of x over all ranks, on every rank. The loss being the sum of all ranks' losses, its
    gradient is the sum of the gradients that arrive at all ranks."""
    y = xp.array(x, order="C")
    comm.all_reduce(y)
    return y
