"""Runs a schedule on a communicator, from ``start_send`` and ``start_receive`` alone.

What is to be added arrives in segments, in scratch memory that is used again and again: while one
segment is added the next ones are on their way.

No schedule that passes its check can hang. A rank begins all that it sends in a round before it
waits for anything, and all ranks add in order of place, so whoever is furthest behind waits for
nobody.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array, array_module, device_of
from minigrad.distributed.algorithms.schedule import Schedule, Transfer
from minigrad.distributed.call import Request
from minigrad.distributed.communicator import Communicator

__all__ = ["SEGMENT", "Part", "Runner", "part_of"]

SEGMENT = 1 << 20
"""Bytes of a segment: smaller ones cost more in messages than they hide."""

_AHEAD = 3  # segments under way at a time


class _Sum(NamedTuple):
    """What arrives in one round to be added to the same elements; ``sources`` in rank order."""

    start: int
    stop: int
    sources: tuple[int, ...]


class _Step(NamedTuple):
    sends: tuple[Transfer, ...]
    copies: tuple[Transfer, ...]
    sums: tuple[_Sum, ...]


class Part(NamedTuple):
    """What one rank does in a schedule."""

    rank: int
    steps: tuple[_Step, ...]


def part_of(rank: int, schedule: Schedule) -> Part:
    """What ``rank`` does in ``schedule``."""
    steps = []
    for each in schedule.rounds:
        sends = tuple(t for t in each if t.source == rank)
        copies = tuple(t for t in each if t.target == rank and t.action == "copy")
        added = [t for t in each if t.target == rank and t.action == "reduce"]
        sums = tuple(
            _Sum(*place, tuple(t.source for t in met))
            for place, met in itertools.groupby(added, key=lambda t: (t.start, t.stop))
        )
        if sends or copies or sums:
            steps.append(_Step(sends, copies, sums))
    return Part(rank, tuple(steps))


class Runner:
    """Runs schedules on ``comm``, on which nothing else may be sent meanwhile."""

    def __init__(self, comm: Communicator, segment: int = SEGMENT) -> None:
        self.comm = comm
        self.segment = segment
        self._begun = 0
        self._free: dict[tuple[str, np.dtype[Any]], list[Array]] = {}

    def run(self, part: Part, buffer: Array, op: str = "sum") -> Iterator[Request]:
        """Do this rank's ``part`` on ``buffer`` (n,), in place; yields what must be waited for.

        ``op`` is "sum", "max" or "min". All ranks run their parts of one schedule; several may be
        under way, if all ranks begin them in one order.
        """
        xp = array_module(buffer)
        combine = {"sum": xp.add, "max": xp.maximum, "min": xp.minimum}[op]
        tag = self._begun % 16384 * 2  # tells those apart that are under way
        self._begun += 1
        for step in part.steps:
            yield from self._step(step, part.rank, buffer, combine, tag)

    def _step(
        self, step: _Step, rank: int, buffer: Array, combine: Any, tag: int
    ) -> Iterator[Request]:
        comm, copied, added = self.comm, tag, tag + 1
        pieces = [piece for sum_ in step.sums for piece in self._cut(sum_, buffer)]
        room, slots = self._room(pieces, buffer)
        asked = [self._ask(piece, slot, added) for piece, slot in zip(pieces, slots)]
        waited = [
            comm.start_receive(buffer[t.start : t.stop], t.source, copied) for t in step.copies
        ]
        leaving: dict[int, list[Request]] = {}
        for t in step.sends:
            if t.action == "copy":
                waited.append(comm.start_send(buffer[t.start : t.stop], t.target, copied))
                continue
            for start, stop, _ in self._cut(_Sum(t.start, t.stop, ()), buffer):
                request = comm.start_send(buffer[start:stop], t.target, added)
                leaving.setdefault(start, []).append(request)
        for number, piece in enumerate(pieces):
            slot = slots[number % _AHEAD]
            yield from asked[number]
            yield from leaving.pop(piece.start, ())
            _add(piece, rank, buffer[piece.start : piece.stop], slot, combine)
            if number + _AHEAD < len(pieces):
                asked.append(self._ask(pieces[number + _AHEAD], slot, added))
        yield from itertools.chain(waited, *leaving.values())
        if pieces:
            self.give(room)

    def take(self, size: int, like: Array) -> Array:
        """Memory for ``size`` elements or more, of the dtype of ``like`` and where it lives."""
        free = self._free.setdefault((device_of(like), like.dtype), [])
        free.sort(key=lambda room: room.size)
        for number, room in enumerate(free):
            if room.size >= size:
                return free.pop(number)
        del free[-1:]  # too small: the new one takes its place
        return array_module(like).empty(size, like.dtype)

    def give(self, room: Array) -> None:
        """Give back what was taken."""
        self._free[device_of(room), room.dtype].append(room)

    def _cut(self, sum_: _Sum, buffer: Array) -> Iterator[_Sum]:
        """The segments of what is added."""
        length = max(1, self.segment // buffer.itemsize)
        for start in range(sum_.start, sum_.stop, length):
            yield _Sum(start, min(start + length, sum_.stop), sum_.sources)

    def _ask(self, piece: _Sum, slot: Array, tag: int) -> list[Request]:
        length = piece.stop - piece.start
        return [
            self.comm.start_receive(row[:length], source, tag)
            for row, source in zip(slot, piece.sources)
        ]

    def _room(self, pieces: Sequence[_Sum], buffer: Array) -> tuple[Array, list[Array]]:
        """Scratch memory, and in it for each segment under way a slot with a row a source."""
        if not pieces:
            return None, []
        sources = max(len(piece.sources) for piece in pieces)
        length = max(piece.stop - piece.start for piece in pieces)
        slots = min(_AHEAD, len(pieces))
        room = self.take(slots * sources * length, buffer)
        return room, list(room[: slots * sources * length].reshape(slots, sources, length))


def _add(piece: _Sum, rank: int, own: Array, slot: Array, combine: Any) -> None:
    """Add up in rank order, from the left, into ``own``; until its turn comes, in the slot."""
    length = piece.stop - piece.start
    brought = dict(zip(piece.sources, (row[:length] for row in slot)))
    brought[rank] = own
    first, *rest = sorted(brought)
    total = brought[first]
    with np.errstate(all="ignore"):  # overflow is silent in MPI's reductions too
        for source in rest:
            total = combine(total, brought[source], out=own if source >= rank else total)
