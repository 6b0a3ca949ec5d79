"""Ranks that make different calls are told so, instead of hanging or mixing up their numbers."""

from __future__ import annotations

import sys
import time
import zlib
from collections import deque
from dataclasses import dataclass
from types import CodeType, FrameType

import numpy as np

from minigrad.distributed.call import Call, Request, who_called
from minigrad.distributed.call_site import call_site, outside
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.serial import Wrapper
from minigrad.errors import SharedError

__all__ = ["CheckedCommunicator"]

_POLLING = 30.0  # seconds; after that a rank waits in the call itself, where the watch sees it
_MOST_TEXTS = 1000


class CheckedCommunicator(Wrapper):
    """``inner``, whose ranks compare each collective before they carry it out.

    Where they called different ones, or one with another dtype, shape, operation or root, or
    began what others waited for at once, every rank raises a :class:`SharedError` that shows who
    called what, and where; of what was only begun, when this rank next waits. So does a rank that
    splits off or duplicates while others do not. What is split off is checked too; messages
    between two ranks are not. All ranks make it together.

    No call reaches ``inner`` before it was compared, as an MPI may crash over calls that do not
    fit. So one that is only begun is carried out later, while this rank makes or waits for others.
    """

    def __init__(
        self, inner: Communicator, family: dict[CheckedCommunicator, None] | None = None
    ) -> None:
        super().__init__(inner)
        # Of their own, so that nothing mixes with calls that do not fit each other: one for the
        # comparisons, one for the texts, as some ranks begin more before they compare.
        self._compared = inner.duplicate()
        self._told = inner.duplicate()
        self._under_way: deque[_Comparison] = deque()
        self._calls = 0
        self._texts: dict[object, tuple[str, int]] = {}
        self._busy = {} if family is None else family
        """Those that were split off each other and have comparisons under way."""

    def split(self, color: int, key: int = 0) -> Communicator:
        self._settle(self._compare("split()", zlib.crc32(b"split()")).number)
        return super().split(color, key)

    def _wrap(self, inner: Communicator) -> Communicator:
        return CheckedCommunicator(inner, self._busy)

    def _start(self, call: Call) -> Request:
        if call.kind in ("send", "receive"):
            return _Message(self, self.inner._start(call._replace(blocking=False)))
        said, digest = self._text(call)
        if call.blocking:
            self._settle(self._compare(said, digest).number)
            return self.inner._start(call)
        comparison = self._compare(said, digest, call, sys._getframe())
        self._settle(comparison.number, patient=False)
        return _Begun(self, comparison)

    def _text(self, call: Call) -> tuple[str, int]:
        """What the call says, and a digest of it: made once for calls that say the same."""
        array = call.array
        facts = () if array is None else (array.dtype, array.shape)
        key = (call.kind, call.op, call.peer, call.counts, call.blocking, *facts)
        if key not in self._texts:
            if len(self._texts) == _MOST_TEXTS:
                self._texts.clear()
            said = str(call) if call.blocking else f"start_{call}"
            self._texts[key] = said, zlib.crc32(said.encode())
        return self._texts[key]

    def _compare(
        self, said: str, digest: int, later: Call | None = None, frame: FrameType | None = None
    ) -> _Comparison:
        """Begin a comparison: of calls that wait in the same way as of those that do not, or
        these two would hang."""
        pair = np.array((digest, -digest))
        request = self._compared._start(
            Call("all_reduce", pair, op="max", blocking=False, about=said)
        )
        self._calls += 1
        frame = outside(frame)
        site = None if frame is None else (frame.f_code, frame.f_lineno)  # quick to remember
        comparison = _Comparison(self._calls, said, site, pair, request, later)
        self._under_way.append(comparison)
        self._busy[self] = None
        return comparison

    def _settle(self, number: int, patient: bool = True) -> None:
        """Compare the calls up to ``number`` and carry out those that were only begun; without
        patience, as far as that needs no waiting. Raises :class:`SharedError` where they differ."""
        while self._under_way and self._under_way[0].number <= number:
            one = self._under_way[0]
            if patient:
                self._wait(one.request)
            elif not one.request.done():
                return
            if self._under_way and self._under_way[0] is one:  # not settled while waiting
                self._under_way.popleft()
                if not self._under_way:
                    del self._busy[self]
                self._judge(one)

    def _judge(self, one: _Comparison) -> None:
        one.request.wait()
        if one.pair[0] != -one.pair[1]:  # the largest digest, and the smallest
            site = call_site(sys._getframe())
            if one.site is not None:
                code, line = one.site
                site = f"{code.co_filename}:{line}, in {code.co_name}"
            texts = self._told.all_gather_text(f"{one.said} at {site}")
            raise SharedError(
                f"ranks disagree in collective call {one.number}: "
                f"{who_called(dict(enumerate(texts)))}; every rank must make the same calls, in "
                "the same order"
            )
        if one.later is not None:
            one.carried_out = self.inner._start(one.later)

    def _wait(self, request: Request, message: bool = False) -> None:
        """Wait for ``request``, and meanwhile carry out what this rank has begun elsewhere: the
        one that it waits for may itself wait for that."""
        here = set() if message else {self}
        until = time.monotonic() + _POLLING
        while self._busy.keys() - here and not request.done() and time.monotonic() < until:
            for one in list(self._busy):
                one._settle(one._calls, patient=False)
        request.wait()


@dataclass(eq=False, slots=True)
class _Comparison:
    number: int
    said: str
    site: tuple[CodeType, int] | None
    pair: np.ndarray
    request: Request
    later: Call | None
    carried_out: Request | None = None


class _Begun(Request):
    def __init__(self, owner: CheckedCommunicator, comparison: _Comparison) -> None:
        self._owner, self._comparison = owner, comparison

    def wait(self) -> None:
        self._owner._settle(self._comparison.number)
        assert self._comparison.carried_out is not None
        self._owner._wait(self._comparison.carried_out)

    def done(self) -> bool:
        self._owner._settle(self._comparison.number, patient=False)
        request = self._comparison.carried_out
        return request is not None and request.done()


class _Message(Request):
    def __init__(self, owner: CheckedCommunicator, inner: Request) -> None:
        self._owner, self._inner = owner, inner

    def wait(self) -> None:
        self._owner._wait(self._inner, message=True)

    def done(self) -> bool:
        return self._inner.done()
