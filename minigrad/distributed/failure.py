"""A failure on one rank ends the job. MPI alone leaves the others waiting for ever."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.errors import require

if TYPE_CHECKING:
    from minigrad.distributed.mpi import MPICommunicator

__all__ = ["Board", "fail_together"]

_COLUMNS = 16  # communicators that are counted apart; more of them share columns


class Board:
    """What each rank shows to the others: how many collectives it has begun, and if it has ended.

    A rank that waits in a collective can answer no message, but its board can be read all the
    same: it lies in memory that MPI opens to the other ranks (a window, for one-sided access).
    All ranks of the mpi4py communicator ``comm`` make one.
    """

    def __init__(self, comm: Any) -> None:
        self._mpi = require("mpi4py.MPI", "mpi")
        self._comm = comm
        self._window = self._mpi.Win.Allocate(8 * (_COLUMNS + 1), 8, comm=comm)
        self._shown = np.frombuffer(self._window, np.int64)
        self._shown[:] = 0
        self._calls = self._shown[:-1]
        self._columns = itertools.cycle(range(_COLUMNS))
        comm.Barrier()

    def new_counter(self) -> Callable[[], None]:
        """What one more communicator is to call before each collective."""
        column = next(self._columns)

        def count() -> None:
            self._calls[column] += 1

        return count

    def leave(self) -> str:
        """Say that this rank has ended, and return when the next one has: "" if all is well.

        A next rank that has begun more calls than this one ever will waits in vain, and the text
        says so. One neighbour is enough: along the ring from a rank that ended too early to one
        that waits for it, the number of calls must rise somewhere.
        """
        if self._mpi.Is_finalized():
            return ""
        self._shown[-1] = True
        neighbour = (self._comm.Get_rank() + 1) % self._comm.Get_size()
        seen = np.zeros_like(self._shown)
        pause = 1e-3
        while not seen[-1]:
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
            self._window.Lock(neighbour)
            self._window.Get(seen, neighbour)
            self._window.Unlock(neighbour)
            more = seen[:-1] > self._calls
            if more.any():
                column = more.argmax()
                return (
                    f"ended after {self._calls[column]} collective calls while rank {neighbour} "
                    f"waits for it in call {seen[column]}; every rank must make the same calls, "
                    "so the job ends here\n"
                )
        self._calls = self._calls.copy()  # for what still runs after the window is gone
        self._window.Free()
        return ""


def fail_together(comm: MPICommunicator, board: Board) -> None:
    """From here on, no rank of ``comm`` waits for one that is gone. Called by all ranks.

    An exception that nothing catches, on any thread, is printed after "rank R:" and ends the job
    with code 1, a KeyboardInterrupt with 130. A rank that ends in another way (``sys.exit`` with
    any code, the last line of its script) while others still wait for it in a collective
    ends the job with code 1 and says who waited.
    """
    process = os.getpid()

    def end_job(text: str, code: int) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads stderr: end the job anyway
            sys.stderr.write(f"rank {comm.rank}: {text}")
        if os.getpid() == process:
            comm.abort(code)

    def report(kind: type[BaseException], *error_and_trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            end_job("interrupted\n", 130)
        else:
            end_job("".join(traceback.format_exception(kind, *error_and_trace)), 1)

    def report_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            report(args.exc_type, args.exc_value, args.exc_traceback)

    def leave() -> None:
        if os.getpid() == process and (text := board.leave()):
            end_job(text, 1)

    sys.excepthook = report
    threading.excepthook = report_thread
    atexit.register(leave)
