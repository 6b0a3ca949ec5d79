"""Ranks as threads of one process: any number of them, exact, quick to start, for tests.

Ranks meet in calls, matched by each rank's own count as in MPI. Whoever comes last does the work
for all, in rank order, so that every rank gets the same bits on every run. It is stricter than
MPI: a message waits until it is received, so a program that only small messages keep from hanging
is found out here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import NoReturn, TypeVar

import numpy as np

from minigrad.distributed.call import Call, Finished, RankError, Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.meeting import Meeting, Occasion
from minigrad.errors import InputError

__all__ = ["ThreadCommunicator", "run_ranks"]

T = TypeVar("T")


class ThreadCommunicator(Communicator):
    """One rank of ``group``. Ranks that disagree raise :class:`InputError`, every one of them.

    To disagree is to make another call, with another operation, root, dtype or shape, to have
    left (under :func:`run_ranks`) while others wait, or to wait for each other. Once a rank has
    failed or aborted, the calls of the others raise :class:`RankError`.

    >>> from minigrad.testing import run_ranks
    >>> def total(comm):
    ...     x = np.array([1.0 + comm.rank])
    ...     comm.all_reduce(x)
    ...     return x
    >>> run_ranks(3, total)
    [array([6.]), array([6.]), array([6.])]
    """

    def __init__(self, rank: int, meeting: Meeting, members: tuple[int, ...], order: int) -> None:
        super().__init__(rank, len(members), local_rank=rank, local_size=len(members))
        self._meeting = meeting
        self._members = members  # by their number in the whole group
        self._order = order

    @staticmethod
    def group(n: int) -> list[ThreadCommunicator]:
        """``n`` communicators that belong together, one for each thread."""
        if n < 1:
            raise InputError(f"a group of {n} ranks was asked for; give 1 or more")
        meeting, members = Meeting(n), tuple(range(n))
        return [ThreadCommunicator(rank, meeting, members, 0) for rank in range(n)]

    def split(self, color: int, key: int = 0) -> ThreadCommunicator:
        if color < 0:
            raise InputError(f"split: color {color}; give 0 or above")
        mine = np.array([color, key], np.int64)
        occasion = self._meet(Call("all_to_all", mine), "split()")
        occasion.wait()
        groups, orders = occasion.result
        members = groups[color]
        number = members.index(self.rank)
        whole = tuple(self._members[rank] for rank in members)
        return ThreadCommunicator(number, self._meeting, whole, orders[color])

    def abort(self, code: int) -> NoReturn:
        me = self._members[self.rank]
        self._meeting.fail(f"rank {me} aborted the job with code {code}")
        raise SystemExit(code)

    def _start(self, call: Call) -> Request:
        if call.kind in ("send", "receive"):
            return self._meeting.post(self._order, self._members, self.rank, call)
        if self.size == 1 and call.kind != "barrier":
            if call.out is not None:
                call.out[...] = call.array
            return Finished()
        return self._meet(call, str(call))

    def _meet(self, call: Call, said: str) -> Occasion:
        return self._meeting.enter(self._order, self._members, self.rank, call, said)


def run_ranks(n: int, f: Callable[[Communicator], T]) -> list[T]:
    """``[f(comm) for each of n ranks]``, every rank on a thread of its own; never hangs in a call.

    Raises the exception of the lowest rank that failed by itself, with a note that names it.

    >>> from minigrad.testing import run_ranks
    >>> run_ranks(3, lambda comm: comm.rank * 10)
    [0, 10, 20]
    """
    comms = ThreadCommunicator.group(n)
    meeting = comms[0]._meeting
    results: dict[int, T] = {}
    errors: dict[int, BaseException] = {}

    def body(comm: ThreadCommunicator) -> None:
        try:
            results[comm.rank] = f(comm)
            meeting.leave(comm.rank)
        except BaseException as error:
            errors[comm.rank] = error
            meeting.fail(f"rank {comm.rank} failed with {type(error).__name__}: {error}")

    threads = [
        threading.Thread(
            target=copy_context().run, args=(body, comm), name=f"rank {comm.rank}", daemon=True
        )
        for comm in comms
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        meeting.fail("the caller of run_ranks was interrupted")
        raise
    if errors:
        first = min(errors, key=lambda rank: (isinstance(errors[rank], RankError), rank))
        errors[first].add_note(f"raised on rank {first} of {n}")
        raise errors[first]
    return [results[rank] for rank in range(n)]
