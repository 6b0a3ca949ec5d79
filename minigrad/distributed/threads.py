"""Ranks as threads of one process: any number of them, exact, quick to start, for tests.

Ranks meet in calls, matched by each rank's own count as in MPI. Whoever comes last does the work
for all, in rank order, so that every rank gets the same bits on every run.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, NoReturn, TypeVar

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.distributed.communicator import Communicator, RankError, Request
from minigrad.errors import InputError

__all__ = ["ThreadCommunicator", "run_ranks"]

T = TypeVar("T")


class ThreadCommunicator(Communicator):
    """One rank of :meth:`group`. Ranks that disagree raise :class:`InputError`, every one of them.

    To disagree is to make another call, with another operation, root, dtype or shape, or to have
    left (under :func:`run_ranks`) while others wait. Once a rank has failed or aborted, the
    calls of the others raise :class:`RankError`.
    """

    def __init__(self, rank: int, meeting: _Meeting, order: int = 0) -> None:
        super().__init__(rank, meeting.size, local_rank=rank, local_size=meeting.size)
        self._meeting = meeting
        self._order = order

    @staticmethod
    def group(n: int) -> list[ThreadCommunicator]:
        """``n`` communicators that belong together, one for each thread."""
        if n < 1:
            raise InputError(f"a group of {n} ranks was asked for; give 1 or more")
        meeting = _Meeting(n)
        return [ThreadCommunicator(rank, meeting) for rank in range(n)]

    def barrier(self) -> None:
        self._enter("barrier()", None, lambda _: None).wait()

    def duplicate(self) -> ThreadCommunicator:
        call = self._enter("duplicate()", None, lambda _: next(self._meeting.orders))
        call.wait()
        return ThreadCommunicator(self.rank, self._meeting, call.result)

    def abort(self, code: int) -> NoReturn:
        self._meeting.fail(f"rank {self.rank} aborted the job with code {code}")
        raise SystemExit(code)

    def _start_all_reduce(self, array: Array, op: str) -> _Call:
        said = f"all_reduce({op}, {array.dtype}, shape {array.shape})"
        return self._enter(said, array, partial(_reduce, op))

    def _broadcast(self, array: Array, root: int) -> None:
        said = f"broadcast(root {root}, {array.dtype}, shape {array.shape})"
        self._enter(said, array, partial(_copy_from, root)).wait()

    def _all_gather(self, array: Array) -> list[Array]:
        said = f"all_gather({array.dtype}, rows of shape {array.shape[1:]})"
        call = self._enter(said, array, lambda arrays: [part.copy() for part in arrays])
        call.wait()
        return [part.copy() for part in call.result]

    def _enter(self, said: str, array: Array, work: Callable[[list[Array]], Any]) -> _Call:
        return self._meeting.enter(self._order, self.rank, said, array, work)


def run_ranks(n: int, f: Callable[[Communicator], T]) -> list[T]:
    """``[f(comm) for each of n ranks]``, every rank on a thread of its own; never hangs in a call.

    Raises the exception of the lowest rank that failed by itself, with a note that names it.
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


class _Call(Request):
    """One collective: what each rank said and brought, and how it ended."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.said: dict[int, str] = {}
        self.arrays: dict[int, Array] = {}
        self.result: Any = None
        self.error: Exception | None = None
        self._ended = threading.Event()

    def wait(self) -> None:
        self._ended.wait()
        if self.error is not None:
            raise type(self.error)(*self.error.args)

    def done(self) -> bool:
        return self._ended.is_set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self._ended.set()

    def finish(self, work: Callable[[list[Array]], Any]) -> None:
        if len(set(self.said.values())) > 1:
            self.fail(InputError(f"ranks disagree in their call {self.number}: {self.who()}"))
            return
        try:
            self.result = work([self.arrays[rank] for rank in sorted(self.arrays)])
            self._ended.set()
        except Exception as error:
            self.fail(error)

    def who(self) -> str:
        ranks: dict[str, list[str]] = {}
        for rank, said in sorted(self.said.items()):
            ranks.setdefault(said, []).append(str(rank))
        return "; ".join(
            f"rank{'s' * (len(group) > 1)} {', '.join(group)} called {said}"
            for said, group in ranks.items()
        )


class _Meeting:
    """What the ranks of one group share: calls that still miss a rank, and who is gone.

    Calls are numbered within an order; the group has the order 0, each duplicate its own.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self.orders = itertools.count(1)
        self._made: Counter[tuple[int, int]] = Counter()
        self._open: dict[tuple[int, int], _Call] = {}
        self._left: set[int] = set()
        self._failure: str | None = None

    def enter(
        self, order: int, rank: int, said: str, array: Array, work: Callable[[list[Array]], Any]
    ) -> _Call:
        with self._lock:
            if self._failure is not None:
                raise RankError(self._failure)
            self._made[order, rank] += 1
            number = self._made[order, rank]
            call = self._open.setdefault((order, number), _Call(number))
            call.said[rank] = said
            call.arrays[rank] = array
            complete = len(call.said) == self.size
            if complete:
                del self._open[order, number]
            self._fail_deserted(call)
        if complete:
            call.finish(work)
        return call

    def leave(self, rank: int) -> None:
        with self._lock:
            self._left.add(rank)
            for call in self._open.values():
                self._fail_deserted(call)

    def fail(self, text: str) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = text
            for call in self._open.values():
                if not call.done():
                    call.fail(RankError(self._failure))

    def _fail_deserted(self, call: _Call) -> None:
        gone = sorted(self._left - call.said.keys())
        if gone and not call.done():
            call.fail(
                InputError(
                    f"rank {gone[0]} has returned, and is missing in call {call.number}: "
                    f"{call.who()}; every rank must make the same calls"
                )
            )


def _reduce(op: str, arrays: list[Array]) -> None:
    xp = array_module(*arrays)
    half_sum = op == "sum" and arrays[0].dtype == np.float16
    total = arrays[0].astype(np.float32) if half_sum else arrays[0].copy()
    combine = {"sum": xp.add, "max": xp.maximum, "min": xp.minimum}[op]
    with np.errstate(all="ignore"):  # MPI says nothing of overflow either
        for array in arrays[1:]:
            total = combine(total, array)
        for array in arrays:
            array[...] = total


def _copy_from(root: int, arrays: list[Array]) -> None:
    for rank, array in enumerate(arrays):
        if rank != root:
            array[...] = arrays[root]
