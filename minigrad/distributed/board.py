"""What each rank shows to the others: how far it has come, what it waits for, if it has ended.

A rank that waits in a collective can answer no message, but its board can be read all the same:
it lies in memory that MPI opens to the other ranks (a window, for one-sided access).
"""

from __future__ import annotations

import threading
import time
import zlib
from typing import Any, NamedTuple

import numpy as np

from minigrad.distributed.call import Call
from minigrad.errors import require

__all__ = ["Awaited", "Board", "Log"]

_WHOLE, _SPLIT = 16, 48
"""Columns for communicators of all ranks, and for those of some; more of them share columns."""


class Awaited(NamedTuple):
    """What a thread of this rank waits for."""

    call: Call
    number: int
    members: tuple[int, ...]
    column: int
    since: float
    thread: int


class Log:
    """One communicator's part of the board. Without a board, it keeps nothing."""

    def begin(self, call: Call) -> int:
        """A communication begins; the result is its number among the collectives."""
        return 0

    def wait(self, call: Call, number: int) -> None:
        """This thread is about to wait for it."""

    def go_on(self) -> None:
        """It waits no more."""

    def child(self, comm: Any) -> Log:
        """The log of ``comm``, which is a duplicate or a part of this one's communicator."""
        return self


class Board:
    """The board of this rank, and the way to read the others'. All ranks of ``comm`` make one."""

    def __init__(self, comm: Any) -> None:
        self.mpi = require("mpi4py.MPI", "mpi")
        self.comm = comm
        self.awaited: Awaited | None = None
        self._window = self.mpi.Win.Allocate(8 * (_WHOLE + _SPLIT + 1), 8, comm=comm)
        self._shown = np.frombuffer(self._window, np.int64)
        self._shown[:] = 0
        self.calls = self._shown[:-1]
        self.log: Log = _BoardLog(self, "", tuple(range(comm.Get_size())))
        comm.Barrier()

    def read(self, rank: int) -> np.ndarray:
        """What ``rank`` shows: calls begun, by column, and last whether it has ended."""
        seen = np.zeros_like(self._shown)
        self._window.Lock(rank, self.mpi.LOCK_SHARED)
        try:
            self._window.Get(seen, rank)
        finally:
            self._window.Unlock(rank)
        return seen

    def leave(self) -> str:
        """Say that this rank has ended, and return when the next one has: "" if all is well.

        A next rank that has begun more calls than this one ever will waits in vain, and the text
        says so. One neighbour is enough: along the ring from a rank that ended too early to one
        that waits for it, the number of calls must rise somewhere. Only communicators of all ranks
        are looked at; in others it is the one that waits who finds out.
        """
        if self.mpi.Is_finalized():
            return ""
        self._shown[-1] = True
        neighbour = (self.comm.Get_rank() + 1) % self.comm.Get_size()
        pause = 1e-3
        seen = self._shown * 0
        while not seen[-1]:
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
            seen = self.read(neighbour)
            more = seen[:_WHOLE] > self.calls[:_WHOLE]
            if more.any():
                column = more.argmax()
                return (
                    f"ended after {self.calls[column]} collective calls while rank {neighbour} "
                    f"waits for it in call {seen[column]}; every rank must make the same calls, "
                    "so the job ends here\n"
                )
        self.calls = self.calls.copy()  # for what still runs after the window is gone
        self._window.Free()
        return ""


class _BoardLog(Log):
    def __init__(self, board: Board, path: str, members: tuple[int, ...]) -> None:
        self._board, self._path, self._members = board, path, members
        whole = members == tuple(range(board.comm.Get_size()))
        place = zlib.crc32(path.encode())  # the path is the same on all members, whatever else
        self._column = place % _WHOLE if whole else _WHOLE + place % _SPLIT
        self._children = 0

    def begin(self, call: Call) -> int:
        if call.kind in ("send", "receive"):
            return 0
        self._board.calls[self._column] += 1
        return int(self._board.calls[self._column])

    def wait(self, call: Call, number: int) -> None:
        self._board.awaited = Awaited(
            call, number, self._members, self._column, time.monotonic(), threading.get_ident()
        )

    def go_on(self) -> None:
        self._board.awaited = None

    def child(self, comm: Any) -> Log:
        self._children += 1
        everyone = self._board.comm.Get_group()
        group = comm.Get_group()
        members = self._board.mpi.Group.Translate_ranks(group, None, everyone)
        return _BoardLog(self._board, f"{self._path}/{self._children}", tuple(members))
