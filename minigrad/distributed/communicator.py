"""How ranks talk to each other: the interface, its checks, and the communicator of one rank.

Every collective is called by all ranks, in the same order. Results are the same bits on every
rank, so replicas that apply the same update stay the same replica.
"""

from __future__ import annotations

import abc
import sys
from typing import NoReturn

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.errors import InputError, unknown

__all__ = ["Communicator", "RankError", "Request", "SerialCommunicator"]

_REDUCIBLE = {"sum": "iuf", "max": "iub", "min": "iub"}  # the kinds of dtype each takes
_DTYPES = frozenset(np.dtype(letter) for letter in "?bBhHiIlLqQefd")


class RankError(RuntimeError):
    """Another rank of the job has failed; its own exception says why."""


class Request(abc.ABC):
    """A collective under way. The array must not be touched until :meth:`wait` has returned."""

    @abc.abstractmethod
    def wait(self) -> None:
        """Return once the result is in the array; at once when called again."""

    @abc.abstractmethod
    def done(self) -> bool:
        """Whether :meth:`wait` would return at once; does not block."""


class Communicator(abc.ABC):
    """A group of ``size`` ranks, of which this is number ``rank``, counted from 0.

    ``local_rank`` and ``local_size`` count the ranks on this machine alone. Arrays are contiguous
    NumPy or CuPy arrays of float16/32/64, integers or booleans; anything else, and a read-only
    array where the result is written in place, raises :class:`InputError`.
    """

    def __init__(self, rank: int, size: int, local_rank: int, local_size: int) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.local_size = local_size

    def all_reduce(self, array: Array, op: str = "sum") -> None:
        """Replace ``array`` by its "sum", "max" or "min" over all ranks, which have the same shape.

        float16 is summed in float32 and rounded once. "sum" takes floats and integers, "max" and
        "min" integers and booleans: MPI's maximum of floats could differ by rank where one is NaN.
        """
        self._check_reduction("all_reduce", array, op)
        self._all_reduce(array, op)

    def start_all_reduce(self, array: Array, op: str = "sum") -> Request:
        """Begin :meth:`all_reduce` and return; the result is there after ``wait()``."""
        self._check_reduction("start_all_reduce", array, op)
        return self._start_all_reduce(array, op)

    def broadcast(self, array: Array, root: int = 0) -> None:
        """Replace ``array`` on every rank by that of rank ``root``; the same shape on each."""
        _check_array("broadcast", array, in_place=True)
        if not 0 <= root < self.size:
            raise InputError(f"broadcast: root {root} is no rank; choose 0 to {self.size - 1}")
        self._broadcast(array, root)

    def all_gather(self, array: Array) -> list[Array]:
        """The arrays of all ranks, in rank order, on every rank: copies, where ``array`` lives.

        Lengths of axis 0 may differ by rank and may be 0; the other axes and the dtype may not.
        """
        _check_array("all_gather", array, in_place=False)
        if array.ndim == 0:
            raise InputError("all_gather needs an array with at least one axis: reshape it to (1,)")
        return self._all_gather(array)

    def all_gather_text(self, text: str) -> list[str]:
        """The texts of all ranks, in rank order, on every rank."""
        return [part.tobytes().decode() for part in self.all_gather(_encode(text))]

    def broadcast_text(self, text: str, root: int = 0) -> str:
        """The text of rank ``root``, on every rank; that of the others is passed over."""
        letters = _encode(text)
        length = np.array([letters.size])
        self.broadcast(length, root)
        if self.rank != root:
            letters = np.empty(length[0], np.uint8)
        self.broadcast(letters, root)
        return letters.tobytes().decode()

    @abc.abstractmethod
    def barrier(self) -> None:
        """Return once every rank has called it."""

    @abc.abstractmethod
    def duplicate(self) -> Communicator:
        """The same ranks, with an order of calls of its own. All ranks call it.

        What is started on one of the two may pass what is started on the other.
        """

    @abc.abstractmethod
    def abort(self, code: int) -> NoReturn:
        """End the whole job, all ranks of it, with exit code ``code``."""

    def _all_reduce(self, array: Array, op: str) -> None:
        self._start_all_reduce(array, op).wait()

    @abc.abstractmethod
    def _start_all_reduce(self, array: Array, op: str) -> Request: ...

    @abc.abstractmethod
    def _broadcast(self, array: Array, root: int) -> None: ...

    @abc.abstractmethod
    def _all_gather(self, array: Array) -> list[Array]: ...

    def _check_reduction(self, call: str, array: Array, op: str) -> None:
        if op not in _REDUCIBLE:
            raise unknown("reduction", op, _REDUCIBLE)
        _check_array(call, array, in_place=True)
        if array.dtype.kind not in _REDUCIBLE[op]:
            raise InputError(
                f"{call}: {array.dtype} has no {op} here; 'sum' takes integers and floats, 'max' "
                "and 'min' take integers and booleans (any and all); for others use all_gather"
            )


class SerialCommunicator(Communicator):
    """One rank, alone: every collective leaves the array as it is."""

    def __init__(self) -> None:
        super().__init__(rank=0, size=1, local_rank=0, local_size=1)

    def barrier(self) -> None:
        pass

    def duplicate(self) -> Communicator:
        return self

    def abort(self, code: int) -> NoReturn:
        sys.exit(code)

    def _start_all_reduce(self, array: Array, op: str) -> Request:
        return _Finished()

    def _broadcast(self, array: Array, root: int) -> None:
        pass

    def _all_gather(self, array: Array) -> list[Array]:
        return [array.copy()]


class _Finished(Request):
    def wait(self) -> None:
        pass

    def done(self) -> bool:
        return True


def _encode(text: str) -> np.ndarray:
    return np.frombuffer(bytearray(text.encode()), np.uint8)


def _check_array(call: str, array: Array, in_place: bool) -> None:
    if array_module(array) is np and not isinstance(array, np.ndarray):
        raise InputError(
            f"{call} needs a NumPy or CuPy array, got {type(array).__name__}: "
            "wrap a number as np.array([x])"
        )
    if array.dtype not in _DTYPES:
        raise InputError(
            f"{call}: an array of dtype {array.dtype.str} cannot be sent; convert it to "
            "float16/32/64, an integer type or bool, in this machine's byte order"
        )
    if not array.flags.c_contiguous:
        raise InputError(
            f"{call}: the array of shape {array.shape} and strides {array.strides} is not "
            "contiguous; pass np.ascontiguousarray(x), and copy a result back where you need it"
        )
    if in_place and not getattr(array.flags, "writeable", True):
        raise InputError(
            f"{call} writes its result into the array, and this one is read-only; pass a copy of it"
        )
