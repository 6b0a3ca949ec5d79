"""A thread beside each rank that looks whom the rank is waiting for, and for how long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable

from minigrad.distributed.board import Awaited, Board, Shown
from minigrad.distributed.call_site import call_site

__all__ = ["Watch"]

_EVERY = 1.0  # seconds between two looks
_ANSWER = 5.0  # seconds in which the others are asked
_AFTER_YOU = 2.0  # seconds that one rank leaves to another to tell what both know


class Watch:
    """Ends the job where this rank waits for one that has ended, or longer than ``timeout``."""

    def __init__(self, board: Board, timeout: float, end_job: Callable[[str, int], None]) -> None:
        self._board, self._timeout, self._end_job = board, timeout, end_job
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="minigrad watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """This rank waits for nobody any more."""
        self._ended.set()

    def _look(self) -> None:
        every = min(_EVERY, self._timeout / 4) if self._timeout else _EVERY
        while not self._ended.wait(every):
            awaited = self._board.awaited
            if awaited is None or (waited := time.monotonic() - awaited.since) < 2 * every:
                continue
            late = bool(self._timeout) and waited >= self._timeout
            absent = self._absent(awaited)
            gone = [member for member, seen in absent.items() if seen and seen.ended]
            if self._board.awaited is awaited and not self._ended.is_set() and (gone or late):
                self._tell(awaited, absent, gone, waited)

    def _absent(self, awaited: Awaited) -> dict[int, Shown | None]:
        """Which ranks have not begun what is awaited, and what they show; ``None`` for one that
        does not answer."""
        message = awaited.call.kind in ("send", "receive")
        members = [awaited.members[awaited.call.peer]] if message else awaited.members
        found: dict[int, Shown | None] = {}
        deadline = time.monotonic() + _ANSWER
        for member in members:
            if member == self._board.rank or time.monotonic() > deadline:
                continue
            seen = self._board.read(member)
            if seen is None or message or seen.calls[awaited.column] < awaited.number:
                found[member] = seen
        return found

    def _tell(
        self,
        awaited: Awaited,
        absent: dict[int, Shown | None],
        gone: list[int],
        waited: float,
    ) -> None:
        """End the job; where several ranks wait, the first of them tells at once."""
        present = [member for member in awaited.members if member not in absent]
        if present and self._board.rank != min(present):
            time.sleep(_AFTER_YOU)
        number = f", collective call {awaited.number}" if awaited.number else ""
        if gone:
            why = f"{_ranks(gone)} has ended and will not come"
        elif not absent:
            why = (
                f"all ranks have begun a call of this number, and it has not ended in {waited:.0f} "
                "s; perhaps they called different things: --check-collectives, or "
                "CheckedCommunicator(world()), shows who called what"
            )
        else:
            places = [
                f"rank {member} " + (f"is at {seen.where}" if seen else "does not answer")
                for member, seen in absent.items()
            ]
            why = (
                f"{_ranks(absent)} did not arrive in {waited:.0f} s; {'; '.join(places[:8])} "
                "(--timeout, or world(timeout=…), sets how long to wait; 0 is for ever)"
            )
        where = call_site(sys._current_frames().get(awaited.thread))
        call = awaited.call.about or awaited.call
        self._end_job(f"waits in {call}{number}, at {where}: {why}\n", 1)


def _ranks(numbers: Iterable[int]) -> str:
    names = [str(number) for number in numbers]
    return f"rank{'s' * (len(names) > 1)} {', '.join(names)}"
