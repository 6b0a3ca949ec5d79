"""How ranks talk to each other: the interface, and its checks.

Every collective is called by all ranks, in the same order. Results are the same bits on every
rank, so replicas that apply the same update stay the same replica.

What a person asks for is checked here and becomes a :class:`~minigrad.distributed.call.Call`; a
communicator is one method, ``_start(call)``. So what wraps another communicator, to check it, to
time it or to go another way, is one method too.
"""

from __future__ import annotations

import abc
import zlib
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.distributed.call import Call, Kind, Request, check_array, check_reduction, who_called
from minigrad.errors import InputError, SharedError
from minigrad.shares import shares

__all__ = ["Communicator"]


class Communicator(abc.ABC):
    """A group of ``size`` ranks, of which this is number ``rank``, counted from 0.

    ``local_rank`` and ``local_size`` count the ranks on this machine alone. Arrays are contiguous
    NumPy or CuPy arrays of float16/32/64, integers or booleans; anything else, and a read-only
    array where the result is written in place, raises :class:`InputError`. Of each collective
    there is a form that only begins, ``start_…``: its result is there after the request's
    ``wait()``.
    """

    def __init__(self, rank: int, size: int, local_rank: int, local_size: int) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.local_size = local_size

    def __deepcopy__(self, memo: dict[int, Any]) -> Communicator:
        return self  # a copied model has the same ranks

    # --- reductions -------------------------------------------------------------------------------

    def all_reduce(self, array: Array, op: str = "sum") -> None:
        """Replace ``array`` by its "sum", "max" or "min" over all ranks, which have the same shape.

        float16 is reduced in float32 and rounded once. "sum" takes floats and integers, the others
        booleans too. Where a NaN is among floats, "max" and "min" may differ by rank.
        """
        self._start(self._all_reduction("all_reduce", array, op)).wait()

    def start_all_reduce(self, array: Array, op: str = "sum") -> Request:
        """Begin :meth:`all_reduce`."""
        return self._start(self._all_reduction("start_all_reduce", array, op, blocking=False))

    def reduce_scatter(
        self, array: Array, out: Array, op: str = "sum", counts: Sequence[int] | None = None
    ) -> None:
        """Put this rank's part of the reduction of all ranks' ``array`` (n,) into ``out``.

        The parts lie in rank order and have ``counts`` elements, n together; by default as equal
        as can be. ``out`` (counts[rank],) is no part of ``array``, which is left as it was.
        """
        self._start(self._scattering("reduce_scatter", array, out, op, counts)).wait()

    def start_reduce_scatter(
        self, array: Array, out: Array, op: str = "sum", counts: Sequence[int] | None = None
    ) -> Request:
        """Begin :meth:`reduce_scatter`."""
        call = self._scattering("start_reduce_scatter", array, out, op, counts, blocking=False)
        return self._start(call)

    # --- copies -----------------------------------------------------------------------------------

    def gather_into(self, whole: Array, counts: Sequence[int] | None = None) -> None:
        """Fill ``whole`` (n,) in place: each rank's own part of it goes to all others.

        The parts lie in rank order and have ``counts`` elements; by default as equal as can be.
        """
        self._start(self._gathering("gather_into", whole, counts)).wait()

    def start_gather_into(self, whole: Array, counts: Sequence[int] | None = None) -> Request:
        """Begin :meth:`gather_into`."""
        return self._start(self._gathering("start_gather_into", whole, counts, blocking=False))

    def all_gather(self, array: Array) -> list[Array]:
        """The arrays of all ranks, in rank order, on every rank: copies, where ``array`` lives.

        Lengths of axis 0 may differ by rank and may be 0; the other axes and the dtype may not.
        """
        check_array("all_gather", array, in_place=False)
        if array.ndim == 0:
            raise InputError("all_gather needs an array with at least one axis: reshape it to (1,)")
        rows = self._rows_of_all("all_gather", array, [len(array)])[:, 0]
        row = int(np.prod(array.shape[1:], dtype=np.int64))
        xp = array_module(array)
        whole = xp.empty((int(rows.sum()), *array.shape[1:]), array.dtype)
        ends = np.cumsum(rows)
        whole[ends[self.rank] - len(array) : ends[self.rank]] = array
        self.gather_into(whole.reshape(-1), [int(count) * row for count in rows])
        return [part.copy() for part in xp.split(whole, ends[:-1].tolist())]

    def all_gather_text(self, text: str) -> list[str]:
        """The texts of all ranks, in rank order, on every rank."""
        return [part.tobytes().decode() for part in self.all_gather(_encode(text))]

    def broadcast(self, array: Array, root: int = 0) -> None:
        """Replace ``array`` on every rank by that of rank ``root``; the same shape on each."""
        self._start(self._broadcasting("broadcast", array, root)).wait()

    def start_broadcast(self, array: Array, root: int = 0) -> Request:
        """Begin :meth:`broadcast`."""
        return self._start(self._broadcasting("start_broadcast", array, root, blocking=False))

    def broadcast_text(self, text: str, root: int = 0) -> str:
        """The text of rank ``root``, on every rank; that of the others is passed over."""
        letters = _encode(text)
        length = np.array([letters.size])
        self.broadcast(length, root)
        if self.rank != root:
            letters = np.empty(length[0], np.uint8)
        self.broadcast(letters, root)
        return letters.tobytes().decode()

    def all_to_all(self, parts: Sequence[Array]) -> list[Array]:
        """Send ``parts[r]`` to rank r; what came from each rank, in rank order, as new arrays.

        Lengths of axis 0 may differ and may be 0; the other axes and the dtype may not.
        """
        if len(parts) != self.size:
            raise InputError(
                f"all_to_all was given {len(parts)} parts for {self.size} ranks: one a rank"
            )
        xp = array_module(*parts, op="all_to_all")
        for part in parts:
            check_array("all_to_all", part, in_place=False)
        if any(p.ndim == 0 or p.dtype != parts[0].dtype for p in parts) or (
            len({part.shape[1:] for part in parts}) > 1
        ):
            raise InputError(
                "all_to_all: all parts need one dtype, and the same axes but for the first; given "
                f"were {', '.join(f'{part.dtype} {part.shape}' for part in parts)}"
            )
        rows = self._rows_of_all("all_to_all", parts[0], [len(part) for part in parts])
        row = int(np.prod(parts[0].shape[1:], dtype=np.int64))
        arriving = rows[:, self.rank]
        out = xp.empty((int(arriving.sum()), *parts[0].shape[1:]), parts[0].dtype)
        call = Call(
            "all_to_all",
            xp.concatenate(parts).reshape(-1),
            out.reshape(-1),
            counts=tuple(part.size for part in parts),
            out_counts=tuple(int(count) * row for count in arriving),
        )
        self._start(call).wait()
        return [part.copy() for part in xp.split(out, np.cumsum(arriving)[:-1].tolist())]

    # --- two ranks --------------------------------------------------------------------------------

    def send(self, array: Array, to: int, tag: int = 0) -> None:
        """Send ``array`` to rank ``to``, which must receive as many elements of the same dtype.

        Messages of one ``tag`` (0 to 32767) arrive in the order in which they were sent. May
        return before they have arrived, or only then.
        """
        self._start(self._message("send", array, to, tag)).wait()

    def start_send(self, array: Array, to: int, tag: int = 0) -> Request:
        """Begin :meth:`send`."""
        return self._start(self._message("send", array, to, tag, blocking=False))

    def receive(self, array: Array, source: int, tag: int = 0) -> None:
        """Fill ``array`` with what rank ``source`` sends."""
        self._start(self._message("receive", array, source, tag)).wait()

    def start_receive(self, array: Array, source: int, tag: int = 0) -> Request:
        """Begin :meth:`receive`."""
        return self._start(self._message("receive", array, source, tag, blocking=False))

    # --- the group --------------------------------------------------------------------------------

    def barrier(self) -> None:
        """Return once every rank has called it."""
        self._start(Call("barrier")).wait()

    def duplicate(self) -> Communicator:
        """The same ranks, with an order of calls of its own. All ranks call it.

        What is started on one of the two may pass what is started on the other.
        """
        return self.split(0, self.rank)

    @abc.abstractmethod
    def split(self, color: int, key: int = 0) -> Communicator:
        """The ranks that gave the same ``color`` (0 or above) as a communicator of their own.

        They are numbered by ``key``, and by their rank here where keys are equal. All ranks call
        it.
        """

    @abc.abstractmethod
    def abort(self, code: int) -> NoReturn:
        """End the whole job, all ranks of it, with exit code ``code``."""

    @abc.abstractmethod
    def _start(self, call: Call) -> Request:
        """Begin ``call``, which has been checked; where it is ``blocking``, it may be finished."""

    # --- from what a person says to a Call --------------------------------------------------------

    def _all_reduction(self, said: str, array: Array, op: str, blocking: bool = True) -> Call:
        check_reduction(said, array, op)
        check_array(said, array, in_place=True)
        return Call("all_reduce", array, op=op, blocking=blocking)

    def _scattering(
        self, said: str, array: Array, out: Array, op: str, counts: Any, blocking: bool = True
    ) -> Call:
        check_reduction(said, array, op)
        check_array(said, out, in_place=True)
        counts = self._counts(said, array, counts)
        if out.shape != (counts[self.rank],) or out.dtype != array.dtype:
            raise InputError(
                f"{said}: rank {self.rank} gets {counts[self.rank]} elements of {array.dtype}, but "
                f"out is {out.dtype} of shape {out.shape}"
            )
        if np.shares_memory(array, out) if array_module(array) is np else array is out:
            raise InputError(f"{said}: out is a part of array; give it memory of its own")
        return Call("reduce_scatter", array, out, op, counts=counts, blocking=blocking)

    def _gathering(self, said: str, whole: Array, counts: Any, blocking: bool = True) -> Call:
        check_array(said, whole, in_place=True)
        counts = self._counts(said, whole, counts)
        return Call("gather_into", whole, counts=counts, blocking=blocking)

    def _broadcasting(self, said: str, array: Array, root: int, blocking: bool = True) -> Call:
        check_array(said, array, in_place=True)
        self._check_rank(f"{said}: root", root)
        return Call("broadcast", array, peer=root, blocking=blocking)

    def _message(
        self, kind: Kind, array: Array, peer: int, tag: int, blocking: bool = True
    ) -> Call:
        check_array(kind, array, in_place=kind == "receive")
        self._check_rank(f"{kind}: rank", peer)
        if peer == self.rank:
            raise InputError(f"{kind}: rank {peer} is this rank itself; copy the array instead")
        if not 0 <= tag <= 32767:
            raise InputError(f"{kind}: tag {tag}; give 0 to 32767")
        return Call(kind, array, peer=peer, tag=tag, blocking=blocking)

    def _counts(self, said: str, array: Array, counts: Sequence[int] | None) -> tuple[int, ...]:
        if array.ndim != 1:
            raise InputError(
                f"{said} takes arrays of one axis, not of shape {array.shape}: reshape(-1) it"
            )
        if counts is None:
            return shares(array.size, self.size)
        counts = tuple(counts)
        if len(counts) != self.size or sum(counts) != array.size or min(counts) < 0:
            raise InputError(
                f"{said}: counts are {counts}, but must be a number for each of {self.size} ranks "
                f"that together make {array.size}"
            )
        return counts

    def _check_rank(self, said: str, rank: int) -> None:
        if not 0 <= rank < self.size:
            raise InputError(f"{said} {rank} is no rank; choose 0 to {self.size - 1}")

    def _rows_of_all(self, said: str, array: Array, rows: Sequence[int]) -> np.ndarray:
        """Every rank's ``rows``, (size, len(rows)), once all agree on dtype and the other axes."""
        kind = f"{array.dtype}, rows of shape {array.shape[1:]}"
        table = np.empty((self.size, 1 + len(rows)), np.int64)
        table[self.rank] = (zlib.crc32(kind.encode()), *rows)
        self.gather_into(table.reshape(-1), [table.shape[1]] * self.size)
        if (table[:, 0] != table[0, 0]).any():
            kinds = self.all_gather_text(f"{said}({kind})")
            raise SharedError(f"{said}: ranks disagree; {who_called(dict(enumerate(kinds)))}")
        return table[:, 1:]


def _encode(text: str) -> np.ndarray:
    return np.frombuffer(bytearray(text.encode()), np.uint8)
