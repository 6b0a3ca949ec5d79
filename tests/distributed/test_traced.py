"""Traces: what is recorded is what happened, and the file is one that trace viewers read."""

from __future__ import annotations

import inspect
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exercise import exercise
from hypothesis import given
from hypothesis import strategies as st
from mpirun import mpirun

from minigrad.distributed import Communicator
from minigrad.distributed.events import TRACKS, Event, chrome, covered, track_of
from minigrad.distributed.timeline import timeline
from minigrad.distributed.traced import NO_TRACE, Trace
from minigrad.errors import InputError, SharedError
from minigrad.testing import run_ranks

Box = dict[str, Any]


def check_file(path: Path, ranks: int) -> list[Box]:
    """The complete events of a file, once its structure is as Chrome's format demands."""
    whole = json.loads(path.read_text())
    assert set(whole) == {"displayTimeUnit", "traceEvents"}
    for event in whole["traceEvents"]:
        assert {"name", "ph", "ts", "dur", "pid", "tid", "args"} <= set(event)
        assert event["ph"] in "XM"
        assert event["dur"] >= 0
        assert event["tid"] > 0 or event["ph"] == "M"
    named = {(e["name"], e["pid"], e["tid"]) for e in whole["traceEvents"] if e["ph"] == "M"}
    boxes = [e for e in whole["traceEvents"] if e["ph"] == "X"]
    assert {b["pid"] for b in boxes} == set(range(ranks))
    for (pid, tid), track in tracks_of(boxes):
        assert {("process_name", pid, 0), ("thread_name", pid, tid)} <= named
        check_track(track_of(tid)[0], [(ns(b["ts"]), ns(b["ts"]) + ns(b["dur"])) for b in track])
    return boxes


def ns(microseconds: float) -> int:
    return round(1000 * microseconds)


def tracks_of(boxes: Sequence[Box]) -> list[tuple[tuple[int, int], list[Box]]]:
    def key(box: Box) -> tuple[int, int]:
        return box["pid"], box["tid"]

    return [(k, list(each)) for k, each in itertools.groupby(sorted(boxes, key=key), key)]


def check_track(track: str, times: list[tuple[int, int]]) -> None:
    """No two events overlap; a span may lie in another."""
    for (a, b), (c, d) in itertools.combinations(times, 2):
        apart = b <= c or d <= a
        within = (a <= c and d <= b) or (c <= a and b <= d)
        assert apart or (track == "compute" and within)


def train(comm: Communicator, steps: int = 3, pause: float = 2e-3) -> Trace:
    """Steps with two communications under way while backward computes, and a blocking one."""
    trace = Trace(comm)
    comm = trace.wrap(comm)
    buckets = [np.ones(1000), np.ones(500)]
    for _ in range(steps):
        with trace.span("forward"):
            time.sleep(pause)
        with trace.span("backward"), trace.span("layer", "detail"):
            requests = [comm.start_all_reduce(bucket) for bucket in buckets]
            time.sleep(pause)
            for request in requests:
                request.wait()
        comm.all_reduce(np.ones(2))
        with trace.span("update"):
            time.sleep(pause)
    return trace


@pytest.mark.parametrize("n", [1, 3])
def test_a_file_of_all_ranks(n: int, tmp_path: Path) -> None:
    def body(comm: Communicator) -> str:
        trace = train(comm)
        trace.save(tmp_path / "trace.json")
        return trace.summary()

    texts = run_ranks(n, body)
    boxes = check_file(tmp_path / "trace.json", n)
    mine = [box for box in boxes if box["pid"] == n - 1]
    count = {name: sum(box["name"] == name for box in mine) for name in ("forward", "layer")}
    assert count == {"forward": 3, "layer": 3}
    sent = [box for box in mine if box["cat"] == "communication"]
    assert sorted(box["args"]["bytes"] for box in sent) == [16] * 3 + [4000] * 3 + [8000] * 3
    assert sorted(box["args"]["call"] for box in sent) == list(range(9))
    second = [box for box in sent if box["args"]["bytes"] == 4000]
    assert all(box["args"]["phase"] == "layer" for box in second)
    assert [box["args"]["number in phase"] for box in second] == [1] * 3
    assert len({box["tid"] for box in sent}) == 2  # two under way at once
    waits = sorted(box["name"] for box in mine if box["cat"] == "waiting")
    wanted = ["all_reduce"] * 3 + ["start all_reduce"] * 6 + ["wait for all_reduce"] * 6
    assert waits == wanted
    assert len(set(texts)) == 1
    assert len(texts[0].splitlines()) == n + 1
    assert texts[0].splitlines()[0].split()[-2:] == ["hidden", "MB"]


def test_what_the_table_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by hand: 10 ms forward; 30 ms backward with 20 ms of communication, 5 of them
    waited for; 5 ms of a blocking call."""
    clock = itertools.count()
    marks = [0, 0, 10, 10, 20, 20, 35, 40, 40, 45, 50, 50, 55]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: marks[next(clock)] * 1_000_000)

    def body(comm: Communicator) -> str:
        trace = Trace(comm)
        traced = trace.wrap(comm)
        with trace.span("forward"):  # 0 to 10
            pass
        with trace.span("backward"):  # 10 to 40
            request = traced.start_all_reduce(np.ones(1_000_000, np.float32))  # 20
            request.wait()  # 35 to 40
        traced.all_reduce(np.ones(250_000))  # 45 to 50
        with trace.span("update"):  # 50 to 55
            pass
        return trace.summary()

    (text,) = run_ranks(1, body)
    values = text.splitlines()[1].split()
    assert values == ["0", "0.055", "0.040", "0.010", "0.025", "60%", "6.0"]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=12))
def test_the_union_of_intervals(pairs: list[tuple[int, int]]) -> None:
    times = np.array([(a, a + length) for a, length in pairs], np.int64).reshape(-1, 2)
    assert covered(times) == len({t for a, b in times.tolist() for t in range(a, b)})


@given(
    st.lists(
        st.tuples(st.sampled_from(TRACKS[1:]), st.integers(0, 50), st.integers(0, 20)), max_size=20
    )
)
def test_events_of_one_track_never_overlap(found: list[tuple[str, int, int]]) -> None:
    events = [Event(track, "x", a, a + length, {}) for track, a, length in found]
    boxes = [event for event in chrome(0, events) if event["ph"] == "X"]
    assert len(boxes) == len(events)
    for (_, tid), track in tracks_of(boxes):
        times = [(ns(box["ts"]), ns(box["ts"]) + ns(box["dur"])) for box in track]
        check_track(track_of(tid)[0], times)


def test_every_collective_as_before() -> None:
    assert min(run_ranks(2, lambda comm: exercise(Trace(comm).wrap(comm)))) > 400


def test_too_many_events_are_left_out_and_said_so() -> None:
    def body(comm: Communicator) -> str:
        trace = Trace(comm, most=10)
        for _ in range(25):
            with trace.span("forward"):
                pass
        assert len(trace.events) == 10
        return trace.summary()

    assert "30 later events were left out" in run_ranks(2, body)[1]


def test_a_file_that_cannot_be_written_is_told_on_all_ranks(tmp_path: Path) -> None:
    def body(comm: Communicator) -> None:
        with pytest.raises(SharedError, match="could not be written"):
            train(comm, 1).save(tmp_path / "nowhere" / "trace.json")

    run_ranks(2, body)


def test_no_trace_records_nothing(tmp_path: Path) -> None:
    comm = run_ranks(1, lambda comm: comm)[0]
    assert not NO_TRACE.on
    assert NO_TRACE.wrap(comm) is comm
    assert NO_TRACE.span("forward") is NO_TRACE.span("update")
    with NO_TRACE.span("forward"):
        NO_TRACE.add("compute", "x", 0, 1, {})
        NO_TRACE.save(tmp_path / "trace.json")
    assert (NO_TRACE.events, NO_TRACE.summary()) == ([], "")
    assert not list(tmp_path.iterdir())


@pytest.mark.mpi
def test_ranks_of_one_machine_share_a_clock(tmp_path: Path) -> None:
    """What ends on one rank has begun on the others, by their common clock."""
    code = (
        "from __future__ import annotations\nimport time\nimport numpy as np\n"
        "from minigrad.distributed import Communicator, world\n"
        f"from minigrad.distributed.traced import Trace\n{inspect.getsource(train)}\n"
        f"train(world(), 20, 1e-3).save({str(tmp_path / 'trace.json')!r})"
    )
    job = mpirun(2, "-c", code)
    assert job.returncode == 0, job.stderr
    boxes = check_file(tmp_path / "trace.json", 2)
    calls: dict[int, list[Box]] = {}
    for box in boxes:
        if box["cat"] == "communication":
            calls.setdefault(box["args"]["call"], []).append(box)
    assert len(calls) == 60
    for pair in calls.values():
        begun = max(box["ts"] for box in pair)
        assert min(box["ts"] + box["dur"] for box in pair) > begun


def test_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "trace.json"
    run_ranks(2, lambda comm: train(comm, 5).save(path))
    for suffix, sign in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        timeline(path, tmp_path / f"steps.{suffix}")
        assert (tmp_path / f"steps.{suffix}").read_bytes().startswith(sign)
    svg = (tmp_path / "steps.svg").read_text()
    for word in ("rank 0  compute", "rank 1  communication", "forward", "other spans"):
        assert word in svg
    timeline(path, tmp_path / "one.png", steps=1, first=4)
    with pytest.raises(InputError, match=r"has 5 steps; 2 from step 4 on"):
        timeline(path, tmp_path / "one.png", first=4)
    with pytest.raises(InputError, match="unknown picture format"):
        timeline(path, tmp_path / "one.jpg")
    for content in (b"[]", b"{", b'{"traceEvents": [{"ph": "M"}]}'):
        path.write_bytes(content)
        with pytest.raises(InputError, match="trace"):
            timeline(path, tmp_path / "one.png")
