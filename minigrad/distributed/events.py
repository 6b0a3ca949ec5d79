"""What is recorded of a rank's time, and how Chrome's trace format says it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = ["TRACKS", "Event", "chrome", "covered", "track_of"]

TRACKS = ("compute", "waiting", "communication")
_LANES = 1000  # of a track, at most: communications that are under way at once


class Event(NamedTuple):
    """What happened on a ``track``, with its times in ns since the trace began."""

    track: str
    name: str
    began: int
    ended: int
    facts: dict[str, Any]


def covered(times: np.ndarray) -> int:
    """The length of the union of intervals, given as rows of begin and end."""
    if not len(times):
        return 0
    began, ended = times[times[:, 0].argsort()].T
    reached = np.maximum.accumulate(ended)
    gaps = np.maximum(began[1:] - reached[:-1], 0)
    return int(reached[-1] - began[0] - gaps.sum())


def chrome(rank: int, events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """A rank's events as Chrome's: what may not lie on one track gets more of them."""

    def named(what: str, tid: int, **args: object) -> dict[str, Any]:
        return {"name": what, "ph": "M", "ts": 0, "dur": 0, "pid": rank, "tid": tid, "args": args}

    yield named("process_name", 0, name=f"rank {rank} on {socket.gethostname()}")
    yield named("process_sort_index", 0, sort_index=rank)
    lanes: dict[int, list[int]] = {}  # of each thread, when what is open in it ends
    for event in sorted(events, key=lambda e: (e.began, -e.ended)):
        first = (1 + TRACKS.index(event.track)) * _LANES  # older Perfettos mistake thread 0 for 1
        for tid in range(first, first + _LANES):
            if tid not in lanes:
                number = tid - first
                yield named("thread_name", tid, name=event.track + f" {number + 1}" * bool(number))
                yield named("thread_sort_index", tid, sort_index=tid)
            open_ = lanes.setdefault(tid, [])
            while open_ and open_[-1] <= event.began:
                open_.pop()
            if not open_ or (event.track == "compute" and event.ended <= open_[-1]):
                break
        lanes[tid].append(event.ended)
        yield {
            "name": event.name,
            "cat": event.facts.get("category", event.track),
            "ph": "X",
            "ts": event.began / 1000,
            "dur": (event.ended - event.began) / 1000,
            "pid": rank,
            "tid": tid,
            "args": event.facts,
        }


def track_of(tid: int) -> tuple[str, int]:
    """The track of one of Chrome's threads, and the thread's number among those of the track."""
    track, lane = divmod(tid, _LANES)
    return TRACKS[track - 1], lane
