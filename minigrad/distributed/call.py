"""One communication as a value, what is under way, and the checks of what is sent."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.errors import InputError, unknown

__all__ = [
    "Call",
    "Finished",
    "Kind",
    "RankError",
    "Request",
    "check_array",
    "check_reduction",
    "who_called",
]

Kind: TypeAlias = Literal[
    "all_reduce", "reduce_scatter", "gather_into", "broadcast", "all_to_all", "send", "receive",
    "barrier",
]  # fmt: skip

_REDUCIBLE = {"sum": "iuf", "max": "iubf", "min": "iubf"}  # the kinds of dtype each takes
_DTYPES = frozenset(np.dtype(letter) for letter in "?bBhHiIlLqQefd")


class RankError(RuntimeError):
    """Another rank of the job has failed; its own exception says why."""


class Request(abc.ABC):
    """A communication under way. Its arrays must not be touched until :meth:`wait` has returned."""

    @abc.abstractmethod
    def wait(self) -> None:
        """Return once the result is in the array; at once when called again."""

    @abc.abstractmethod
    def done(self) -> bool:
        """Whether :meth:`wait` would return at once; does not block."""


class Call(NamedTuple):
    """One rank's part in one communication.

    ``array`` is what it brings, and where the result goes unless there is an ``out``. ``peer`` is
    the root of a broadcast, the other rank of a send or receive. ``counts`` are elements for each
    rank: of ``array``, as they are dealt out or gathered; ``out_counts`` those that arrive in an
    all-to-all. ``blocking``: the caller waits at once. ``about`` is what a person is told of it, if
    it is not the call itself: that this one prepares another.
    """

    kind: Kind
    array: Array = None
    out: Array = None
    op: str = ""
    peer: int = -1
    tag: int = 0
    counts: tuple[int, ...] = ()
    out_counts: tuple[int, ...] = ()
    blocking: bool = True
    about: str = ""

    def __str__(self) -> str:
        """What all ranks must say alike; of a send or receive, both sides."""
        if self.kind == "barrier":
            return "barrier()"
        dtype = self.array.dtype
        if self.kind == "all_to_all":
            return f"all_to_all({dtype})"
        if self.kind in ("reduce_scatter", "gather_into"):
            words = [self.op] * bool(self.op) + [f"{dtype}, counts {self.counts}"]
        elif self.kind in ("send", "receive"):
            words = [f"rank {self.peer}, tag {self.tag}, {dtype}, {self.array.size} elements"]
        else:
            first = [f"root {self.peer}"] if self.kind == "broadcast" else [self.op]
            words = [*first, str(dtype), f"shape {self.array.shape}"]
        return f"{self.kind}({', '.join(words)})"

    @property
    def nbytes(self) -> int:
        """The size of what this rank brings."""
        return 0 if self.array is None else int(self.array.nbytes)

    @property
    def places(self) -> tuple[int, ...]:
        """Where each rank's ``counts`` begin in ``array``."""
        return (0, *itertools.accumulate(self.counts[:-1]))

    def part(self, rank: int) -> slice:
        """The elements of ``array`` that are ``rank``'s by ``counts``."""
        start = self.places[rank]
        return slice(start, start + self.counts[rank])


class Finished(Request):
    """What was done at once."""

    def wait(self) -> None:
        pass

    def done(self) -> bool:
        return True


def check_reduction(said: str, array: Array, op: str) -> None:
    """Raise :class:`InputError` unless ``op`` is a reduction of arrays of this kind."""
    if op not in _REDUCIBLE:
        raise unknown("reduction", op, _REDUCIBLE)
    check_array(said, array, in_place=False)
    if array.dtype.kind not in _REDUCIBLE[op]:
        raise InputError(
            f"{said}: {array.dtype} has no {op} here; 'sum' takes integers and floats; for "
            "booleans 'max' is any and 'min' is all"
        )


def check_array(call: str, array: Array, in_place: bool) -> None:
    """Raise :class:`InputError` unless ``array`` can be sent, or with ``in_place`` received."""
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


def who_called(said: Mapping[int, str]) -> str:
    """``{0: "barrier()", 1: "split()", 2: "barrier()"}`` as "ranks 0, 2 called barrier(); …"."""
    ranks: dict[str, list[str]] = {}
    for rank, text in sorted(said.items()):
        ranks.setdefault(text, []).append(str(rank))
    return "; ".join(
        f"rank{'s' * (len(group) > 1)} {', '.join(group)} called {text}"
        for text, group in ranks.items()
    )
