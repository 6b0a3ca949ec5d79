"""A failure on one rank ends the job. MPI alone leaves the others waiting for ever."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
import threading
import time
import traceback
from typing import Any

from minigrad.distributed.board import Board
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.host import launched_ranks
from minigrad.distributed.watch import Watch
from minigrad.errors import SharedError

__all__ = ["end_job_before_world", "fail_together"]

_GIVES_UP = 10.0  # seconds
_PATIENCE = 2.0  # seconds that the others leave to the one that tells what all of them know


def end_job_before_world() -> None:
    """Until :func:`fail_together` takes over, an exception that nothing catches ends the job, whose
    other ranks may be waiting in MPI_Init, where MPICH's launcher leaves them. Only under a
    launcher."""
    if launched_ranks(os.environ) == 1 or sys.excepthook is not sys.__excepthook__:
        return

    def report(kind: type[BaseException], *error_and_trace: Any) -> None:
        sys.__excepthook__(kind, *error_and_trace)
        sys.stderr.flush()
        time.sleep(0.2)  # launchers drop what they have not forwarded by the time they kill
        with contextlib.suppress(ImportError):
            # ranks that never call MPI_Init would be waited for in it
            gives_up = threading.Timer(_GIVES_UP, os._exit, (1,))
            gives_up.daemon = True
            gives_up.start()
            mpi = importlib.import_module("mpi4py.MPI")
            if not mpi.Is_initialized():
                mpi.Init()
            mpi.COMM_WORLD.Abort(1)

    sys.excepthook = report


def fail_together(comm: Communicator, board: Board | None = None, timeout: float = 0) -> None:
    """From here on, no rank of ``comm`` waits for one that is gone. Called by all ranks.

    An exception that nothing catches, on any thread, is printed after "rank R:" and ends the job
    with code 1, a KeyboardInterrupt with 130; of a :class:`SharedError` the first rank that raises
    it tells. A rank that ends in another way (``sys.exit`` with any code, the last line of its
    script) while others still wait for it in a collective ends the job with code 1 and says who
    waited. So does one that others have waited for during ``timeout`` seconds (0: no limit).
    Without a ``board`` nothing is known of a rank that ends in another way or does not come.
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
        elif issubclass(kind, SharedError) and comm.rank and os.getpid() == process:
            time.sleep(_PATIENCE + 0.2 * comm.rank)  # rank 0 tells, if it is one of those that know
            end_job(f"{error_and_trace[0]}\n", 1)
        else:
            end_job("".join(traceback.format_exception(kind, *error_and_trace)), 1)

    def report_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            report(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = report
    threading.excepthook = report_thread
    if board is None:
        return
    watch = Watch(board, timeout, end_job)

    def leave() -> None:
        if os.getpid() == process:
            watch.stop()
            if text := board.leave():
                end_job(text, 1)

    atexit.register(leave)
    watch.start()
