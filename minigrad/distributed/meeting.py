"""Where ranks that are threads meet: collectives, messages, and who is gone or stuck."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.backend import array_module
from minigrad.distributed.call import Call, RankError, Request, who_called
from minigrad.errors import InputError

__all__ = ["Meeting", "Occasion"]


class Occasion(Request):
    """What some ranks do together: who has come with which call, and how it ended."""

    def __init__(self, meeting: Meeting, members: tuple[int, ...], name: str) -> None:
        self.name = name
        self.members = members
        self.calls: dict[int, Call] = {}
        self.said: dict[int, str] = {}
        self.result: Any = None
        self.error: Exception | None = None
        self.waiting = 0
        self._meeting = meeting
        self._ended = threading.Event()

    def wait(self) -> None:
        if not self._ended.is_set():
            self._meeting.wait_for(self)
            self._ended.wait()
        if self.error is not None:
            raise type(self.error)(*self.error.args)

    def done(self) -> bool:
        return self._ended.is_set()

    def end(self, error: Exception | None = None) -> None:
        """To be called with the meeting's lock held."""
        if not self._ended.is_set():
            self.error = error
            self._meeting.waiting -= self.waiting
            self._ended.set()

    def missing(self) -> list[int]:
        """Who has not come, by their number in the whole group."""
        return [self.members[rank] for rank in range(len(self.members)) if rank not in self.said]

    def who(self) -> str:
        """Which rank has made which call, in words."""
        return who_called({self.members[rank]: said for rank, said in self.said.items()})


class Meeting:
    """What the ranks of one group share.

    Collectives are numbered within an order of calls: the whole group has order 0, each
    communicator that was split off its own.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.waiting = 0  # ranks that wait for what has not ended
        self._lock = threading.Lock()
        self._orders = itertools.count(1)
        self._made: Counter[tuple[int, int]] = Counter()
        self._open: dict[tuple[int, int], Occasion] = {}
        self._messages: dict[tuple[int, int, int, int], deque[Occasion]] = {}
        self._left: set[int] = set()
        self._failure: str | None = None

    def enter(
        self, order: int, members: tuple[int, ...], rank: int, call: Call, said: str
    ) -> Occasion:
        """``rank`` of ``members`` takes part in their next collective."""
        with self._lock:
            self._refuse_if_failed()
            self._made[order, rank] += 1
            key = (order, self._made[order, rank])
            if key not in self._open:
                self._open[key] = Occasion(self, members, f"call {key[1]}")
            occasion = self._open[key]
            occasion.said[rank], occasion.calls[rank] = said, call
            complete = len(occasion.said) == len(members)
            if complete:
                del self._open[key]
            self._look(occasion)
        if complete:
            self._carry_out(occasion)
        return occasion

    def post(self, order: int, members: tuple[int, ...], rank: int, call: Call) -> Occasion:
        """``rank`` of ``members`` sends or receives; the first that fits ends both."""
        source, target = (rank, call.peer) if call.kind == "send" else (call.peer, rank)
        with self._lock:
            self._refuse_if_failed()
            posted = self._messages.setdefault((order, source, target, call.tag), deque())
            while posted and posted[0].done():  # one of the two has gone
                posted.popleft()
            if posted and call.kind not in (c.kind for c in posted[0].calls.values()):
                occasion = posted.popleft()
            else:
                pair = f"message from rank {members[source]} to rank {members[target]}"
                occasion = Occasion(self, (members[source], members[target]), pair)
                posted.append(occasion)
            place = 0 if call.kind == "send" else 1
            occasion.said[place], occasion.calls[place] = str(call), call
            if len(occasion.calls) == 2:
                occasion.end(_deliver(occasion))
            self._look(occasion)
        return occasion

    def wait_for(self, occasion: Occasion) -> None:
        """A rank is about to wait; if by now all do, none of them will ever go on."""
        with self._lock:
            if occasion.done():
                return
            occasion.waiting += 1
            self.waiting += 1
            self._look_for_deadlock()

    def leave(self, rank: int) -> None:
        """``rank`` has returned, and makes no more calls."""
        with self._lock:
            self._left.add(rank)
            for occasion in self._unfinished():
                self._look(occasion)
            self._look_for_deadlock()

    def fail(self, text: str) -> None:
        """A rank has failed: all that the others wait for ends with a :class:`RankError`."""
        with self._lock:
            self._failure = self._failure or text
            for occasion in self._unfinished():
                occasion.end(RankError(self._failure))

    def _carry_out(self, occasion: Occasion) -> None:
        """All have come; the last one does the work, while the others hold still."""
        error: Exception | None = None
        if len(set(occasion.said.values())) > 1:
            error = InputError(f"ranks disagree in their {occasion.name}: {occasion.who()}")
        else:
            try:
                calls = [occasion.calls[rank] for rank in range(len(occasion.members))]
                split = occasion.said[0] == "split()"
                occasion.result = self._groups(calls) if split else _WORK[calls[0].kind](calls)
            except Exception as failed:
                error = failed
        with self._lock:
            occasion.end(error)

    def _groups(self, calls: Sequence[Call]) -> tuple[dict[int, list[int]], dict[int, int]]:
        """The ranks of each color of a split, in their new order, and its order of calls."""
        asked = sorted((*call.array.tolist(), rank) for rank, call in enumerate(calls))
        groups: dict[int, list[int]] = {}
        for color, _, rank in asked:
            groups.setdefault(color, []).append(rank)
        return groups, {color: next(self._orders) for color in groups}

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise RankError(self._failure)

    def _unfinished(self) -> list[Occasion]:
        posted = itertools.chain.from_iterable(self._messages.values())
        return [one for one in (*self._open.values(), *posted) if not one.done()]

    def _look(self, occasion: Occasion) -> None:
        gone = sorted(self._left.intersection(occasion.missing()))
        if gone and not occasion.done():
            occasion.end(
                InputError(
                    f"rank {gone[0]} has returned, and is missing in {occasion.name}: "
                    f"{occasion.who()}; every rank must make the same calls"
                )
            )

    def _look_for_deadlock(self) -> None:
        if self.waiting and self.waiting == self.size - len(self._left):
            stuck = [one for one in self._unfinished() if one.waiting]
            names = "; ".join(f"{one.name}: {one.who()}" for one in stuck)
            for occasion in stuck:
                occasion.end(
                    InputError(
                        f"all ranks wait, and for each other: {names}; where two ranks send to "
                        "each other, begin with start_send, then receive, then wait"
                    )
                )


def _deliver(message: Occasion) -> Exception | None:
    sent, into = message.calls[0].array, message.calls[1].array
    if sent.dtype != into.dtype or sent.size != into.size:
        return InputError(
            f"{message.name}: {sent.size} elements of {sent.dtype} were sent, but {into.size} of "
            f"{into.dtype} are to be received"
        )
    into[...] = sent.reshape(into.shape)
    return None


def _all_reduce(calls: Sequence[Call]) -> None:
    total = _reduced(calls)
    for call in calls:
        call.array[...] = total


def _reduce_scatter(calls: Sequence[Call]) -> None:
    total = _reduced(calls)
    for rank, call in enumerate(calls):
        call.out[...] = total[call.part(rank)]


def _reduced(calls: Sequence[Call]) -> Any:
    arrays, op = [call.array for call in calls], calls[0].op
    xp = array_module(*arrays)
    half_sum = op == "sum" and arrays[0].dtype == np.float16
    total = arrays[0].astype(np.float32) if half_sum else arrays[0].copy()
    combine = {"sum": xp.add, "max": xp.maximum, "min": xp.minimum}[op]
    with np.errstate(all="ignore"):  # MPI says nothing of overflow either
        for array in arrays[1:]:
            total = combine(total, array)
        return total.astype(arrays[0].dtype)


def _gather_into(calls: Sequence[Call]) -> None:
    for rank, source in enumerate(calls):
        part = source.part(rank)
        for call in calls:
            if call is not source:
                call.array[part] = source.array[part]


def _broadcast(calls: Sequence[Call]) -> None:
    root = calls[calls[0].peer]
    for call in calls:
        if call is not root:
            call.array[...] = root.array


def _all_to_all(calls: Sequence[Call]) -> None:
    for target, call in enumerate(calls):
        parts = [source.array[source.part(target)] for source in calls]
        if tuple(part.size for part in parts) != call.out_counts:
            raise InputError(
                f"all_to_all: rank {target} expects {call.out_counts} elements, and gets "
                f"{tuple(part.size for part in parts)}"
            )
        call.out[...] = array_module(*parts).concatenate(parts)


_WORK: dict[str, Callable[[Sequence[Call]], None]] = {
    "all_reduce": _all_reduce,
    "all_to_all": _all_to_all,
    "barrier": lambda calls: None,
    "broadcast": _broadcast,
    "gather_into": _gather_into,
    "reduce_scatter": _reduce_scatter,
}
