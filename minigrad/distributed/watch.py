"""A thread beside each rank that looks whom the rank is waiting for, and for how long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np

from minigrad.distributed.board import Awaited, Board

__all__ = ["Watch", "call_site"]

_EVERY = 1.0  # seconds between two looks
_ANSWER = 3.0  # seconds that the others' boards have to be read; over a network, only a rank that
# calls MPI now and then lets its board be read
_PACKAGE = str(Path(__file__).parent)


class Watch:
    """Ends the job where this rank waits for one that has ended, or longer than ``timeout``."""

    def __init__(self, board: Board, timeout: float, end_job: Callable[[str, int], None]) -> None:
        self._board, self._timeout, self._end_job = board, timeout, end_job
        self._ended = threading.Event()
        self._asking: dict[int, threading.Thread] = {}
        self._seen: dict[int, np.ndarray | None] = {}
        self._thread = threading.Thread(target=self._look, name="minigrad watch", daemon=True)

    def start(self) -> None:
        mpi = self._board.mpi
        if mpi.Query_thread() == mpi.THREAD_MULTIPLE:
            self._thread.start()

    def stop(self) -> None:
        """MPI is about to end; nothing is read after this."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(2 * _EVERY)

    def _look(self) -> None:
        every = min(_EVERY, self._timeout / 4) if self._timeout else _EVERY
        while not self._ended.wait(every):
            awaited = self._board.awaited
            if awaited is None or (waited := time.monotonic() - awaited.since) < 2 * every:
                continue
            late = bool(self._timeout) and waited >= self._timeout
            absent, gone = self._absent(awaited, max(_ANSWER, every) if late else every)
            if self._board.awaited is awaited and (gone or late):
                self._tell(awaited, absent, gone, waited)

    def _absent(self, awaited: Awaited, patience: float) -> tuple[list[int], list[int]]:
        """Which ranks have not begun what is awaited, and which of them never will."""
        peer, rank = awaited.call.peer, self._board.comm.Get_rank()
        message = awaited.call.kind in ("send", "receive")
        asked = [awaited.members[peer]] if message else [m for m in awaited.members if m != rank]
        absent, gone = set(asked), set()
        deadline = time.monotonic() + patience
        for member in asked:
            self._ask(member)
        for member in asked:
            self._asking[member].join(max(0.0, deadline - time.monotonic()))
            seen = None if self._asking[member].is_alive() else self._seen[member]
            if seen is not None and not message and seen[awaited.column] >= awaited.number:
                absent.discard(member)
            elif seen is not None and seen[-1]:
                gone.add(member)
        return sorted(absent), sorted(gone)

    def _ask(self, member: int) -> None:
        """Begin to read a member's board, on a thread, for it may never answer."""
        if member in self._asking and self._asking[member].is_alive():
            return

        def read() -> None:
            self._seen[member] = self._board.read(member)

        self._seen[member] = None
        self._asking[member] = threading.Thread(target=read, name="minigrad board", daemon=True)
        self._asking[member].start()

    def _tell(self, awaited: Awaited, absent: list[int], gone: list[int], waited: float) -> None:
        """End the job; where several ranks wait, the first of them tells at once."""
        rank = self._board.comm.Get_rank()
        present = [member for member in awaited.members if member not in absent]
        if present and rank != min(present):
            time.sleep(2.0)
        whom = gone or absent
        names = f"rank{'s' * (len(whom) > 1)} {', '.join(map(str, whom))}"
        number = f", collective call {awaited.number}" if awaited.number else ""
        if not whom:
            why = f"all ranks have begun it, and it has not ended in {waited:.0f} s"
        elif gone:
            why = f"{names} has ended and will not come"
        else:
            why = (
                f"{names} did not arrive in {waited:.0f} s (--timeout, or world(timeout=…), sets "
                "how long to wait; 0 is for ever)"
            )
        where = call_site(sys._current_frames().get(awaited.thread))
        self._end_job(f"waits in {awaited.call}{number}, at {where}: {why}\n", 1)


def call_site(frame: FrameType | None) -> str:
    """Where the code outside of the communicators is, that led to ``frame``."""
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        if Path(frame.f_code.co_filename).stem in ("data_parallel", "reducers", "zero"):
            break
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
