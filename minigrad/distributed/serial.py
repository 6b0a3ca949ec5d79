"""The communicator of one rank, and the one that wraps another."""

from __future__ import annotations

import abc
import sys
from typing import NoReturn

from minigrad.distributed.call import Call, Finished, Request
from minigrad.distributed.communicator import Communicator

__all__ = ["SerialCommunicator", "Wrapper"]


class SerialCommunicator(Communicator):
    """One rank, alone: every collective leaves the array as it is, or copies it.

    >>> comm = mg.distributed.SerialCommunicator()
    >>> comm.rank, comm.size
    (0, 1)
    """

    def __init__(self) -> None:
        super().__init__(rank=0, size=1, local_rank=0, local_size=1)

    def split(self, color: int, key: int = 0) -> Communicator:
        return self

    def abort(self, code: int) -> NoReturn:
        sys.exit(code)

    def _start(self, call: Call) -> Request:
        if call.out is not None:
            call.out[...] = call.array
        return Finished()


class Wrapper(Communicator):
    """Another communicator, ``inner``, with something added: a subclass overrides ``_start``, and
    ``_wrap``, which says how what is split off ``inner`` is wrapped in its turn."""

    def __init__(self, inner: Communicator) -> None:
        super().__init__(inner.rank, inner.size, inner.local_rank, inner.local_size)
        self.inner = inner

    def split(self, color: int, key: int = 0) -> Communicator:
        return self._wrap(self.inner.split(color, key))

    def abort(self, code: int) -> NoReturn:
        self.inner.abort(code)

    def _start(self, call: Call) -> Request:
        return self.inner._start(call)

    @abc.abstractmethod
    def _wrap(self, inner: Communicator) -> Communicator: ...
