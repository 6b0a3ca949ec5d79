"""When each rank computed, waited and communicated, as a file for Perfetto and as a table.

trace = Trace(comm)
comm = trace.wrap(comm)
with trace.span("forward"):
    …
trace.save("trace.json")    # on all ranks; open it at https://ui.perfetto.dev
print(trace.summary())      # on all ranks

Times are the host's: what a GPU does shows where the host waits for it.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from minigrad.distributed.call import Call, Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.events import TRACKS, Event, chrome, covered
from minigrad.distributed.serial import Wrapper
from minigrad.errors import InputError, SharedError
from minigrad.files import write_whole

__all__ = ["NO_TRACE", "Trace", "TracedCommunicator"]


class Trace:
    """What this rank does, from here on. All ranks of ``comm`` make one together.

    Ranks of one machine share a clock. Those of several begin theirs at the end of a barrier, so
    they agree to within the time of some messages. After ``most`` events no more are kept.
    """

    on = True

    def __init__(self, comm: Communicator, most: int = 200_000) -> None:
        self.comm = comm
        self.events: list[Event] = []
        self.most = most
        self.left_out = 0
        self.phase = ("", 0)  # the innermost span, and a number that no other span has
        self._spans = 0
        comm.barrier()  # the first one may have to open connections
        comm.barrier()
        origin = np.array([time.perf_counter_ns()])
        if comm.local_size == comm.size:
            comm.broadcast(origin)
        self._origin = int(origin[0])

    def now(self) -> int:
        """ns since the trace began."""
        return time.perf_counter_ns() - self._origin

    def span(self, name: str, category: str = "compute") -> AbstractContextManager[object]:
        """``with trace.span("forward"): …`` is an event on the track "compute"."""
        return _Span(self, name, category)

    def wrap(self, comm: Communicator) -> Communicator:
        """``comm``, and what is split off it, with every call recorded."""
        return TracedCommunicator(comm, self)

    def add(self, track: str, name: str, began: int, ended: int, facts: dict[str, Any]) -> None:
        """Record an event."""
        if len(self.events) < self.most:
            self.events.append(Event(track, name, began, ended, facts))
        else:
            self.left_out += 1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the events of all ranks as Chrome's trace format; called by all of them.

        A rank is a process there; compute, waiting and communication are its threads, with more
        of the latter where several communications are under way at once. Raises
        :class:`SharedError` where rank 0 cannot write the file.
        """
        comm = self.comm
        lines = ",\n".join(map(json.dumps, chrome(comm.rank, self.events)))
        mine = np.frombuffer(bytearray(lines.encode()), np.uint8)
        sizes = np.concatenate(comm.all_gather(np.array([mine.size])))
        problem = ""
        if comm.rank:
            comm.send(mine, 0)
        else:
            texts = [lines.encode()]
            for source in range(1, comm.size):
                theirs = np.empty(sizes[source], np.uint8)
                comm.receive(theirs, source)
                texts.append(theirs.tobytes())
            try:
                head = b'{"displayTimeUnit": "ms", "traceEvents": [\n'
                write_whole(path, head + b",\n".join(texts) + b"\n]}\n")
            except InputError as error:
                problem = str(error)
        if problem := comm.broadcast_text(problem):
            raise SharedError(problem)

    def summary(self) -> str:
        """A table of all ranks, on all ranks, which call it together: of the time from the first
        span to the last.

        Compute is the time in spans without what was waited there; waiting, the time inside calls
        of the communicator; communication, the time with anything under way, until this rank knew
        that it was done: hidden is the share of it in which the rank did not wait.
        """
        mine = np.array([[*self._seconds(), self.left_out]])
        head = ("rank", "total s", "compute s", "waiting s", "communication s", "hidden", "MB")
        rows: list[tuple[str, ...]] = [head]
        table = np.concatenate(self.comm.all_gather(mine))
        for rank, (total, compute, waiting, talk, sent, _) in enumerate(table.tolist()):
            hidden = f"{max(0.0, 1 - waiting / talk):.0%}" if talk else "-"
            times = [f"{seconds:.3f}" for seconds in (total, compute, waiting, talk)]
            rows.append((str(rank), *times, hidden, f"{sent / 1e6:.1f}"))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths)) for row in rows]
        if left_out := int(table[:, -1].sum()):
            lines.append(f"{left_out} later events were left out of the trace and of this table")
        return "\n".join(lines)

    def _seconds(self) -> tuple[float, float, float, float, float]:
        """Total, compute, waiting and communication in seconds, and bytes."""
        spans = [event for event in self.events if event.track == "compute"] or self.events
        first = min((event.began for event in spans), default=0)
        last = max((event.ended for event in spans), default=0)
        events = [e for e in self.events if e.began >= first and e.ended <= last]
        times = {
            track: np.array(
                [(e.began, e.ended) for e in events if e.track == track], np.int64
            ).reshape(-1, 2)
            for track in TRACKS
        }
        waited = covered(times["waiting"])
        busy = covered(np.concatenate([times["compute"], times["waiting"]]))
        talk = covered(times["communication"])
        total = last - first
        sent = sum(e.facts["bytes"] for e in events if e.track == "communication")
        return total / 1e9, (busy - waited) / 1e9, waited / 1e9, talk / 1e9, float(sent)


class _NoTrace(Trace):
    """Nothing is recorded, at next to no cost."""

    on = False

    def __init__(self) -> None:
        self.events = []

    def span(self, name: str, category: str = "compute") -> AbstractContextManager[object]:
        return _NOTHING

    def wrap(self, comm: Communicator) -> Communicator:
        return comm

    def add(self, track: str, name: str, began: int, ended: int, facts: dict[str, Any]) -> None:
        pass

    def save(self, path: str | os.PathLike[str]) -> None:
        pass

    def summary(self) -> str:
        return ""


_NOTHING = nullcontext()
NO_TRACE: Trace = _NoTrace()
"""The trace that records nothing, for where none was asked for."""


class _Span:
    __slots__ = ("_before", "_began", "_category", "_name", "_trace")

    def __init__(self, trace: Trace, name: str, category: str) -> None:
        self._trace, self._name, self._category = trace, name, category

    def __enter__(self) -> None:
        trace = self._trace
        self._before = trace.phase
        trace._spans += 1
        trace.phase = (self._name, trace._spans)
        self._began = trace.now()

    def __exit__(self, *error: object) -> None:
        trace = self._trace
        trace.add("compute", self._name, self._began, trace.now(), {"category": self._category})
        trace.phase = self._before


class TracedCommunicator(Wrapper):
    """``inner`` with every call recorded in ``trace``: when it began, what was waited, its end.

    An event has its size in bytes, the call's number on this communicator, the span it was made
    in, and its number there: of a backward that sends buckets, the bucket's.
    """

    def __init__(self, inner: Communicator, trace: Trace, name: str = "world") -> None:
        super().__init__(inner)
        self.trace = trace
        self.name = name
        self._calls = self._parts = 0
        self._phase, self._place = ("", 0), 0

    def _start(self, call: Call) -> Request:
        trace = self.trace
        if trace.phase != self._phase:
            self._phase, self._place = trace.phase, 0
        facts = {
            "bytes": call.nbytes,
            "communicator": self.name,
            "call": self._calls,
            "phase": self._phase[0],
            "number in phase": self._place,
        }
        self._calls += 1
        self._place += 1
        began = trace.now()
        request = self.inner._start(call)
        if not call.blocking:
            trace.add("waiting", f"start {call.kind}", began, trace.now(), facts)
        return _Traced(request, trace, call, began, facts)

    def _wrap(self, inner: Communicator) -> Communicator:
        self._parts += 1
        return TracedCommunicator(inner, self.trace, f"{self.name}/{self._parts}")


class _Traced(Request):
    def __init__(
        self, inner: Request, trace: Trace, call: Call, began: int, facts: dict[str, Any]
    ) -> None:
        self._inner, self._trace, self._call = inner, trace, call
        self._began, self._facts = began, facts
        self._ended = False

    def wait(self) -> None:
        call, trace = self._call, self._trace
        began = self._began if call.blocking else trace.now()
        self._inner.wait()
        if not self._ended:
            ended = self._end()
            name = call.kind if call.blocking else f"wait for {call.kind}"
            trace.add("waiting", name, began, ended, self._facts)

    def done(self) -> bool:
        done = self._inner.done()
        if done and not self._ended:
            self._end()
        return done

    def _end(self) -> int:
        """It is known to have ended, now."""
        self._ended = True
        ended = self._trace.now()
        self._trace.add("communication", self._call.kind, self._began, ended, self._facts)
        return ended
