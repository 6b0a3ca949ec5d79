"""Activations on their way between stages: arrays whose shape the receiver does not know.

A header goes before each, so that micro-batches may have different numbers of rows, or none.
"""

from __future__ import annotations

import numpy as np

from minigrad.backend import Array, array_module, module_for
from minigrad.distributed.call import Request
from minigrad.distributed.communicator import Communicator
from minigrad.errors import InputError

__all__ = ["Outbox", "broadcast", "receive"]

_AXES = 8  # the most that a header has room for


class Outbox:
    """Messages under way, with their arrays, which must live until they have arrived."""

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._messages: list[tuple[Request, Array]] = []

    def send(self, array: Array, to: int, tag: int) -> None:
        """Begin to send ``array`` to rank ``to``, which knows its shape and dtype."""
        array = array_module(array).ascontiguousarray(array)
        self._messages.append((self._comm.start_send(array, to, tag), array))

    def send_described(self, array: Array, to: int, tag: int, wants_gradient: bool) -> None:
        """Begin to send ``array`` to rank ``to``, which calls :func:`receive`."""
        self.send(_header(array, wants_gradient), to, tag)
        self.send(array, to, tag)

    def clear_arrived(self) -> None:
        """Let go of what has arrived; does not block."""
        self._messages = [message for message in self._messages if not message[0].done()]

    def wait(self) -> None:
        """Return once everything has arrived."""
        for request, _ in self._messages:
            request.wait()
        self._messages = []


def receive(comm: Communicator, source: int, tag: int, device: str) -> tuple[Array, bool]:
    """What rank ``source`` sends, as a new array on ``device``, and whether it wants a gradient."""
    header = np.empty(_AXES + 3, np.int64)
    comm.receive(header, source, tag)
    array = _room(header, device)
    comm.receive(array, source, tag)
    return array, bool(header[1])


def broadcast(comm: Communicator, array: Array | None, root: int, device: str) -> Array:
    """The ``array`` of rank ``root`` on every rank; that of the others is passed over."""
    mine = comm.rank == root and array is not None
    if mine:
        array = array_module(array).ascontiguousarray(array)
    header = _header(array, False) if mine else np.empty(_AXES + 3, np.int64)
    comm.broadcast(header, root)
    whole = array if mine else _room(header, device)
    comm.broadcast(whole, root)
    return whole


def _header(array: Array, wants_gradient: bool) -> np.ndarray:
    if array.ndim > _AXES:
        raise InputError(
            f"an activation of {array.ndim} axes goes from one pipeline stage to the next; at most "
            f"{_AXES} can: put a Flatten before the cut"
        )
    rest = [0] * (_AXES - array.ndim)
    kind = ord(array.dtype.char)
    return np.array([kind, wants_gradient, array.ndim, *array.shape, *rest], np.int64)


def _room(header: np.ndarray, device: str) -> Array:
    kind, _, axes, *shape = header.tolist()
    return module_for(device).empty(tuple(shape[:axes]), np.dtype(chr(kind)))
