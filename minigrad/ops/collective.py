"""Collectives that a gradient passes through. The communicator is an argument (see
:mod:`minigrad.distributed.communicator`).

:func:`all_reduce` is for ranks whose losses add up to that of the job. In tensor parallelism all
ranks of a group compute one and the same loss, and what they hold alike has one gradient, alike on
all of them. So the others come in conjugate pairs, copy and reduce, scatter and gather: the
backward of each is the forward of its partner (Megatron's f and g: Shoeybi et al. 2019, §3).
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.lib.array_utils import normalize_axis_index

from minigrad.autograd import op, within
from minigrad.backend import Array
from minigrad.errors import InputError

__all__ = [
    "all_reduce", "copy_to_ranks", "gather_from_ranks", "reduce_from_ranks", "scatter_to_ranks",
]  # fmt: skip


class Ranks(Protocol):
    """What these ops ask of a communicator."""

    rank: int
    size: int

    def all_reduce(self, array: Array, op: str = "sum") -> None: ...
    def gather_into(self, whole: Array) -> None: ...


def _all_reduce_gradient(xp: Any, g: Any, comm: Ranks) -> Any:
    return within(xp, all_reduce, g, comm)


@op(x=_all_reduce_gradient)
def all_reduce(xp: Any, x: Array, comm: Ranks) -> Array:
    """The sum of x over all ranks, on every rank. The loss being the sum of all ranks' losses, its
    gradient is the sum of the gradients that arrive at all ranks.

    >>> from minigrad.testing import run_ranks
    >>> run_ranks(3, lambda comm: ops.all_reduce([1.0 + comm.rank], comm).item())
    [6.0, 6.0, 6.0]
    """
    y = xp.array(x, order="C")
    comm.all_reduce(y)
    return y


def _copy_gradient(xp: Any, g: Any, comm: Ranks) -> Any:
    return within(xp, reduce_from_ranks, g, comm)


@op(x=_copy_gradient)
def copy_to_ranks(xp: Any, x: Array, comm: Ranks) -> Array:
    """x, which all ranks hold alike, on its way into work that differs by rank; its gradient is
    the sum of theirs. Nothing is sent forward, one all-reduce backward."""
    return x.view()


def _reduce_gradient(xp: Any, g: Any, comm: Ranks) -> Any:
    return within(xp, copy_to_ranks, g, comm)


@op(x=_reduce_gradient)
def reduce_from_ranks(xp: Any, x: Array, comm: Ranks) -> Array:
    """The sum of x over all ranks, which all hold from here on; the gradient of each summand is
    that of the sum. One all-reduce forward, nothing is sent backward."""
    y = xp.array(x, order="C")
    comm.all_reduce(y)
    return y


def _scatter_gradient(xp: Any, g: Any, comm: Ranks, axis: int) -> Any:
    return within(xp, gather_from_ranks, g, comm, axis)


@op(x=_scatter_gradient)
def scatter_to_ranks(xp: Any, x: Array, comm: Ranks, axis: int = -1) -> Array:
    """This rank's part of x, which all ranks hold alike: along ``axis``, in rank order, parts of
    one length. Nothing is sent forward, the parts' gradients are gathered backward.

    Raises :class:`InputError` where the axis does not divide into a part for each rank.
    """
    axis = normalize_axis_index(axis, x.ndim)
    length, rest = divmod(x.shape[axis], comm.size)
    if rest:
        raise InputError(
            f"scatter_to_ranks: axis {axis} of shape {x.shape} does not divide into equal parts "
            f"for {comm.size} ranks"
        )
    start = comm.rank * length
    return x[(*(slice(None),) * axis, slice(start, start + length))]


def _gather_gradient(xp: Any, g: Any, comm: Ranks, axis: int) -> Any:
    return within(xp, scatter_to_ranks, g, comm, axis)


@op(x=_gather_gradient)
def gather_from_ranks(xp: Any, x: Array, comm: Ranks, axis: int = -1) -> Array:
    """The parts of all ranks, of one shape, joined along ``axis`` in rank order, on every rank.
    One all-gather forward; backward takes this rank's part of the gradient, and nothing is sent.
    """
    axis = normalize_axis_index(axis, x.ndim)
    parts = xp.empty((comm.size, *x.shape), x.dtype)
    parts[comm.rank] = x
    comm.gather_into(parts.reshape(-1))
    shape = (*x.shape[:axis], comm.size * x.shape[axis], *x.shape[axis + 1 :])
    return xp.moveaxis(parts, 0, axis).reshape(shape)
