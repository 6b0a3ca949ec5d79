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
_COPIED, _ADDED = 0, 1  # tags


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
        self._scratch: dict[tuple[str, np.dtype[Any]], Array] = {}

    def run(self, part: Part, buffer: Array, op: str = "sum") -> None:
        """Do this rank's ``part`` on ``buffer`` (n,), in place; returns when it is done.

        ``op`` is "sum", "max" or "min". All ranks run their parts of one schedule.
        """
        xp = array_module(buffer)
        combine = {"sum": xp.add, "max": xp.maximum, "min": xp.minimum}[op]
        with np.errstate(all="ignore"):  # overflow is silent in MPI's reductions too
            for step in part.steps:
                self._step(step, part.rank, buffer, combine)

    def _step(self, step: _Step, rank: int, buffer: Array, combine: Any) -> None:
        comm = self.comm
        pieces = [piece for sum_ in step.sums for piece in self._cut(sum_, buffer)]
        slots = self._slots(pieces, buffer)
        asked = [self._ask(piece, slot) for piece, slot in zip(pieces[:_AHEAD], slots)]
        waited = [
            comm.start_receive(buffer[t.start : t.stop], t.source, _COPIED) for t in step.copies
        ]
        leaving: dict[int, list[Request]] = {}
        for t in step.sends:
            if t.action == "copy":
                waited.append(comm.start_send(buffer[t.start : t.stop], t.target, _COPIED))
                continue
            for start, stop, _ in self._cut(_Sum(t.start, t.stop, ()), buffer):
                request = comm.start_send(buffer[start:stop], t.target, _ADDED)
                leaving.setdefault(start, []).append(request)
        for number, piece in enumerate(pieces):
            slot = slots[number % _AHEAD]
            for request in (*asked[number], *leaving.pop(piece.start, ())):
                request.wait()
            _add(piece, rank, buffer[piece.start : piece.stop], slot, combine)
            if number + _AHEAD < len(pieces):
                asked.append(self._ask(pieces[number + _AHEAD], slot))
        for request in itertools.chain(waited, *leaving.values()):
            request.wait()

    def _cut(self, sum_: _Sum, buffer: Array) -> Iterator[_Sum]:
        """The segments of what is added."""
        length = max(1, self.segment // buffer.itemsize)
        for start in range(sum_.start, sum_.stop, length):
            yield _Sum(start, min(start + length, sum_.stop), sum_.sources)

    def _ask(self, piece: _Sum, slot: Array) -> list[Request]:
        length = piece.stop - piece.start
        return [
            self.comm.start_receive(row[:length], source, _ADDED)
            for row, source in zip(slot, piece.sources)
        ]

    def _slots(self, pieces: Sequence[_Sum], buffer: Array) -> list[Array]:
        """Room for the segments under way, for each a row a source."""
        if not pieces:
            return []
        sources = max(len(piece.sources) for piece in pieces)
        length = max(piece.stop - piece.start for piece in pieces)
        slots = min(_AHEAD, len(pieces))
        key = (device_of(buffer), buffer.dtype)
        if key not in self._scratch or self._scratch[key].size < slots * sources * length:
            self._scratch[key] = array_module(buffer).empty(slots * sources * length, buffer.dtype)
        room = self._scratch[key][: slots * sources * length]
        return list(room.reshape(slots, sources, length))


def _add(piece: _Sum, rank: int, own: Array, slot: Array, combine: Any) -> None:
    """Add up in rank order, from the left, into ``own``; until its turn comes, in the slot."""
    length = piece.stop - piece.start
    brought = dict(zip(piece.sources, (row[:length] for row in slot)))
    brought[rank] = own
    first, *rest = sorted(brought)
    total = brought[first]
    for source in rest:
        total = combine(total, brought[source], out=own if source >= rank else total)
