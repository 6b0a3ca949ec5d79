"""A failure on one rank ends the job. MPI alone leaves the others waiting for ever."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from minigrad.errors import require

if TYPE_CHECKING:
    from minigrad.distributed.mpi import MPICommunicator

__all__ = ["fail_together"]


def fail_together(comm: MPICommunicator) -> None:
    """From here on, no rank of ``comm`` waits for one that is gone. Called by all ranks.

    An exception that nothing catches, on any thread, is printed after "rank R:" and ends the job
    with code 1, a KeyboardInterrupt with 130. A rank that ends in another way (``sys.exit`` with
    any code, the last line of its script) while others still wait for it in a collective
    ends the job with code 1 and says who waited.
    """
    process = os.getpid()

    def report(
        kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
    ) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        if issubclass(kind, KeyboardInterrupt):
            text = "interrupted\n"
        with contextlib.suppress(OSError, ValueError):  # nobody reads stderr: end the job anyway
            sys.stderr.write(f"rank {comm.rank}: {text}")
        if os.getpid() == process:
            comm.abort(130 if issubclass(kind, KeyboardInterrupt) else 1)

    def report_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            report(args.exc_type, args.exc_value, args.exc_traceback)

    mpi = require("mpi4py.MPI", "mpi")
    window = mpi.Win.Allocate(16, 8, comm=comm.mpi_comm)
    board = np.frombuffer(window, np.int64)
    board[:] = comm.calls[0], False
    comm.calls = board[:1]
    comm.mpi_comm.Barrier()

    def leave() -> None:
        """Look at the next rank until it leaves too; one in a call past ours waits in vain.

        One neighbour is enough: along a ring from a rank that left too early to one that waits
        for it, the number of calls must rise somewhere.
        """
        if os.getpid() != process or mpi.Is_finalized():
            return
        board[1] = True
        neighbour = (comm.rank + 1) % comm.size
        calls, left = seen = np.zeros(2, np.int64)
        pause = 1e-3
        while not left:
            window.Lock(neighbour, mpi.LOCK_SHARED)
            window.Get(seen, neighbour)
            window.Unlock(neighbour)
            calls, left = seen
            if calls > board[0]:
                with contextlib.suppress(OSError, ValueError):
                    sys.stderr.write(
                        f"rank {comm.rank}: ended after {board[0]} collective calls while rank "
                        f"{neighbour} waits for it in call {calls}; every rank must make the same "
                        "calls, so the job ends here\n"
                    )
                comm.abort(1)
            if not left:
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
        comm.calls = comm.calls.copy()
        window.Free()

    sys.excepthook = report
    threading.excepthook = report_thread
    atexit.register(leave)
