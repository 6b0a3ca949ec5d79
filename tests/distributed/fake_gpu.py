"""As much of CuPy and of its NCCL as the communicators touch, for machines without a GPU.

Copies asked for on a stream are carried out when something waits for them, and no earlier, so that
a wait that was forgotten is seen. NCCL's ranks are threads that read each other's memory.
"""

from __future__ import annotations

import ctypes
import os
import threading
import types
from collections import defaultdict
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

DTYPES = {"INT8": "i1", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT32": "u4",
          "UINT64": "u8", "FLOAT32": "f4", "FLOAT64": "f8"}  # fmt: skip
CALLS = ("reduce", "allReduce", "reduceScatter", "allGather", "broadcast", "send", "recv")
OPS = {"SUM": np.add, "MAX": np.maximum, "MIN": np.minimum}


class Stream:
    by_ptr: dict[int, Stream] = {}  # noqa: RUF012

    def __init__(self, non_blocking: bool = False, current: bool = False) -> None:
        self.ptr = id(self)
        self.by_ptr[self.ptr] = self
        self.current = current
        self.asked: list[Callable[[], None]] = []
        self.carried_out = 0

    def until(self, end: int) -> None:
        while self.carried_out < end:
            self.carried_out += 1
            self.asked[self.carried_out - 1]()

    def synchronize(self) -> None:
        self.until(len(self.asked))

    def record(self) -> Event:
        return Event(self)

    def wait_event(self, event: Event) -> None:
        self.do(event.synchronize)

    def do(self, work: Callable[[], None]) -> None:
        """Ask for ``work``; the current stream is always at it, so that tests may look."""
        self.asked.append(work)
        if self.current:
            self.synchronize()


class Event:
    def __init__(self, stream: Stream) -> None:
        self.stream, self.end = stream, len(stream.asked)

    @property
    def done(self) -> bool:  # a GPU works on while the host asks
        self.synchronize()
        return True

    def synchronize(self) -> None:
        self.stream.until(self.end)


class GpuArray:
    """Looks like a cupy.ndarray, and keeps its numbers in ``host``."""

    events: list[str] = []  # noqa: RUF012

    def __init__(self, host: Any) -> None:
        self.host = np.asarray(host)
        self.device = types.SimpleNamespace(id=0)
        self.data = types.SimpleNamespace(ptr=self.host.ctypes.data)

    def __getattr__(self, name: str) -> Any:
        return _wrapped(getattr(self.host, name))

    def __len__(self) -> int:
        return len(self.host)

    def __getitem__(self, key: Any) -> GpuArray:
        return GpuArray(self.host[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[key] = _bare(value)

    def get(
        self, stream: Stream | None = None, out: np.ndarray | None = None, blocking: bool = True
    ) -> np.ndarray:
        stream = stream or Stream()
        out = np.empty_like(self.host) if out is None else out
        assert (out.shape, out.dtype) == (self.shape, self.dtype)

        def copy() -> None:
            self.events.append(f"{self.size} to host")
            out[...] = self.host

        stream.asked.append(copy)
        if blocking:
            stream.synchronize()
        return out

    def set(self, host: np.ndarray, stream: Stream | None = None) -> None:
        assert (host.shape, host.dtype) == (self.shape, self.dtype)

        def copy() -> None:
            self.events.append(f"{self.size} back")
            self.host[...] = host

        stream = stream or Stream()
        stream.asked.append(copy)


def cupy() -> types.ModuleType:
    """A module to put in the place of CuPy."""
    module = types.ModuleType("cupy")
    module.ndarray = GpuArray
    for name in (
        "array",
        "asarray",
        "full",
        "ones",
        "zeros",
        "empty",
        "zeros_like",
        "concatenate",
        "split",
    ):
        setattr(module, name, _wrapped(getattr(np, name)))
    threads = threading.local()

    def current() -> Stream:
        if not hasattr(threads, "stream"):
            threads.stream = Stream(current=True)
        return threads.stream

    module.cuda = types.SimpleNamespace(
        Stream=Stream,
        get_current_stream=current,
        alloc_pinned_memory=bytearray,
        Device=lambda: types.SimpleNamespace(pci_bus_id="0000:01:00.0"),
    )
    return module


def _bare(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_bare, value))
    return value.host if isinstance(value, GpuArray) else value


def _wrapped(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return GpuArray(value)
    if isinstance(value, list):
        return [_wrapped(one) for one in value]
    if callable(value) and not isinstance(value, type):
        return lambda *args, **kwargs: _wrapped(value(*_bare(args), **kwargs))
    return value


class NCCL:
    """The module, shared by all ranks; ``calls`` are what rank 0 asked for, group by group."""

    def __init__(self) -> None:
        self.available = True
        for number, name in enumerate([*DTYPES, *OPS]):
            setattr(self, f"NCCL_{name}", number)
        names = list(enumerate([*DTYPES, *OPS]))
        self.dtypes = {number: np.dtype(DTYPES[name]) for number, name in names if name in DTYPES}
        self.ops = {number: OPS[name] for number, name in names if name in OPS}
        self.calls: list[list[str]] = []
        self.groups = threading.local()
        self.meetings: dict[bytes, Meeting] = {}
        self.lock = threading.Lock()

    def get_version(self) -> int:
        return 22707

    def get_unique_id(self) -> bytes:
        return os.urandom(128)

    def groupStart(self) -> None:  # noqa: N802
        self.groups.asked = []

    def groupEnd(self) -> None:  # noqa: N802
        asked, self.groups.asked = self.groups.asked, None
        for handle in {one[0] for one in asked}:
            handle.carry_out([one[1:] for one in asked])

    def NcclCommunicator(self, n: int, key: bytes, rank: int) -> Handle:  # noqa: N802
        assert len(key) == 128
        with self.lock:
            meeting = self.meetings.setdefault(key, Meeting(n))
        return Handle(self, meeting, rank)


class Meeting:
    """What the ranks of one communicator have brought, group by group."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.changed = threading.Condition()
        self.groups: defaultdict[int, dict[int, list[Any]]] = defaultdict(dict)


class Handle:
    """One rank's communicator: each method has NCCL's arguments, the last of which is a stream."""

    def __init__(self, nccl: NCCL, meeting: Meeting, rank: int) -> None:
        self.nccl, self.meeting, self.rank = nccl, meeting, rank
        self.number = 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        def ask(*args: int) -> None:
            if getattr(self.nccl.groups, "asked", None) is None:
                self.carry_out([(name, *args)])
            else:
                self.nccl.groups.asked.append((self, name, *args))

        return ask

    def carry_out(self, asked: list[tuple[Any, ...]]) -> None:
        """What this rank brings is laid open; its stream takes the rest once all have."""
        if self.rank == 0:
            self.nccl.calls.append([name for name, *_ in asked])
        group, mine, takes = self.meeting.groups[self.number], [], []
        self.number += 1
        for i, (name, *args, _) in enumerate(asked):
            sent, to, take = getattr(self, f"_{name}")(group, i, *args)
            mine.append((name, sent, to))
            takes.append(take)

        def take_all() -> None:
            with self.meeting.changed:
                assert self.meeting.changed.wait_for(lambda: len(group) == self.meeting.n, 10)
            for at, take in filter(None, takes):
                result = np.ascontiguousarray(take())
                ctypes.memmove(at, result.ctypes.data, result.nbytes)

        with self.meeting.changed:
            group[self.rank] = mine
            self.meeting.changed.notify_all()
        (stream,) = {args[-1] for args in asked}
        Stream.by_ptr[stream].do(take_all)

    def _of_all(self, group: dict[int, list[Any]], i: int) -> list[np.ndarray]:
        assert len({group[rank][i][0] for rank in group}) == 1
        return [group[rank][i][1] for rank in range(self.meeting.n)]

    def _reduction(self, group: dict[int, list[Any]], i: int, op: int) -> np.ndarray:
        return reduce(self.nccl.ops[op], self._of_all(group, i))

    # Each: what is sent, to whom, and where what goes in the end.

    def _allReduce(self, group, i, send, to, count, dtype, op):  # noqa: N802
        return self._memory(send, count, dtype), -1, (to, lambda: self._reduction(group, i, op))

    def _reduceScatter(self, group, i, send, to, count, dtype, op):  # noqa: N802
        mine = slice(self.rank * count, (self.rank + 1) * count)
        sent = self._memory(send, count * self.meeting.n, dtype)
        return sent, -1, (to, lambda: np.copy(self._reduction(group, i, op)[mine]))

    def _reduce(self, group, i, send, to, count, dtype, op, root):
        take = (to, lambda: self._reduction(group, i, op)) if root == self.rank else None
        return self._memory(send, count, dtype), root, take

    def _allGather(self, group, i, send, to, count, dtype):  # noqa: N802
        sent = self._memory(send, count, dtype)
        return sent, -1, (to, lambda: np.concatenate(self._of_all(group, i)))

    def _broadcast(self, group, i, send, to, count, dtype, root):
        sent = self._memory(send, count, dtype)
        return sent, root, (to, lambda: self._of_all(group, i)[root])

    def _send(self, group, i, send, count, dtype, peer):
        return self._memory(send, count, dtype), peer, None

    def _recv(self, group, i, to, count, dtype, peer):
        def take() -> np.ndarray:
            (sent,) = [x for name, x, to in group[peer] if (name, to) == ("send", self.rank)]
            assert sent.size == count
            return sent

        return None, peer, (to, take)

    def _memory(self, at: int, count: int, dtype: int) -> np.ndarray:
        wanted = self.nccl.dtypes[dtype]
        return np.frombuffer(ctypes.string_at(at, count * wanted.itemsize), wanted)
