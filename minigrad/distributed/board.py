"""What each rank shows to the others: how far it has come, what it waits for, if it has ended.

A rank that waits in a collective can answer no MPI message. But a thread beside it can answer on a
socket, whatever MPI, or the rank's own code, is busy with. (MPI's one-sided access would need no
sockets; MPICH 5.0 ends the job when one thread uses it while another is in a collective.)
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
import threading
import time
import zlib
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minigrad.distributed.addresses import own_addresses
from minigrad.distributed.call import Call
from minigrad.distributed.call_site import call_site
from minigrad.errors import require

__all__ = ["Awaited", "Board", "Log", "Shown"]

_WHOLE, _SPLIT = 16, 48
"""Columns for communicators of all ranks, and for those of some; more of them share columns."""


class Awaited(NamedTuple):
    """What a thread of this rank waits for."""

    call: Call
    number: int
    members: tuple[int, ...]
    column: int
    since: float
    thread: int


class Shown(NamedTuple):
    """What a rank answered: collectives begun, by column; whether it has ended; where it is."""

    calls: list[int]
    ended: bool
    where: str


class Log:
    """One communicator's part of the board. Without a board, it keeps nothing."""

    def begin(self, call: Call) -> int:
        """A communication begins; the result is its number among the collectives."""
        return 0

    def wait(self, call: Call, number: int) -> None:
        """This thread is about to wait for it."""

    def go_on(self) -> None:
        """It waits no more."""

    def child(self, comm: Any) -> Log:
        """The log of ``comm``, which is a duplicate or a part of this one's communicator."""
        return self


class Board:
    """This rank's board, and the way to read the others'. All ranks of ``comm`` (mpi4py's) make it.

    Answers are given to those who know the job's token only.
    """

    def __init__(self, comm: Any) -> None:
        self.mpi = require("mpi4py.MPI", "mpi")
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.calls = [0] * (_WHOLE + _SPLIT)
        self.ended = False
        self.awaited: Awaited | None = None
        self.comm = comm.Dup()
        self.log: Log = _BoardLog(self, "", tuple(range(self.size)))
        self._thread = threading.get_ident()
        self._listener = _listening(self.size)
        port = self._listener.getsockname()[1] if self._listener else 0
        told = [socket.gethostname(), port, *own_addresses()]
        lines = _gathered(self.comm, "\t".join(map(str, [*told, secrets.token_hex(16)])))
        self._token = lines[0][-1].encode()
        here = lines[self.rank][0]
        self._places = [
            [(address, int(port)) for address in (["127.0.0.1"] if host == here else addresses)]
            for host, port, *addresses, _ in lines
        ]
        if self._listener is not None:
            answer = partial(self._answer, self._listener)
            threading.Thread(target=answer, name="minigrad board", daemon=True).start()

    def read(self, rank: int, patience: float = 1.0) -> Shown | None:
        """What ``rank`` shows, or ``None`` where it does not answer within ``patience`` seconds."""
        for place in self._places[rank]:
            try:
                with socket.create_connection(place, patience / len(self._places[rank])) as line:
                    line.sendall(self._token)
                    with line.makefile("rb") as text:
                        return Shown(*json.loads(text.read()))
            except (OSError, ValueError):
                continue
        return None

    def leave(self) -> str:
        """Say that this rank has ended, and return when the next one has: "" if all is well.

        A next rank that has begun more calls than this one ever will waits in vain, and the text
        says so. One neighbour is enough: along the ring from a rank that ended too early to one
        that waits for it, the number of calls must rise somewhere. Only communicators of all ranks
        are looked at; in others it is the one that waits who finds out.
        """
        if self.mpi.Is_finalized():
            return ""
        self.ended = True
        neighbour = (self.rank + 1) % self.size
        pause, silent = 1e-3, 0
        while silent < 20:  # one that cannot be reached is left to MPI
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
            seen = self.read(neighbour)
            if seen is None:
                silent += 1
                continue
            for column, (mine, theirs) in enumerate(zip(self.calls[:_WHOLE], seen.calls)):
                if theirs > mine:
                    return (
                        f"ended after {self.calls[column]} collective calls while rank {neighbour} "
                        f"waits for it in call {theirs}; every rank must make the same calls, "
                        "so the job ends here\n"
                    )
            if seen.ended:
                break
        request = self.comm.Ibarrier()  # until all have looked, boards are there
        while not request.Test():
            time.sleep(1e-3)
        if self._listener is not None:
            self._listener.close()
        return ""

    def _answer(self, listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:  # it was closed
                return
            try:
                with line:
                    line.settimeout(1.0)
                    if line.recv(len(self._token)) == self._token:
                        where = call_site(sys._current_frames().get(self._thread))
                        line.sendall(json.dumps([self.calls, self.ended, where]).encode())
            except OSError:
                continue  # whoever asked has gone


class _BoardLog(Log):
    def __init__(self, board: Board, path: str, members: tuple[int, ...]) -> None:
        self._board, self._path, self._members = board, path, members
        whole = members == tuple(range(board.size))
        place = zlib.crc32(path.encode())  # the path is the same on all members, whatever else
        self._column = place % _WHOLE if whole else _WHOLE + place % _SPLIT
        self._children = 0

    def begin(self, call: Call) -> int:
        if call.kind in ("send", "receive"):
            return 0
        calls = self._board.calls
        calls[self._column] += 1
        return calls[self._column]

    def wait(self, call: Call, number: int) -> None:
        self._board.awaited = Awaited(
            call, number, self._members, self._column, time.monotonic(), threading.get_ident()
        )

    def go_on(self) -> None:
        self._board.awaited = None

    def child(self, comm: Any) -> Log:
        self._children += 1
        everyone = self._board.comm.Get_group()
        members = self._board.mpi.Group.Translate_ranks(comm.Get_group(), None, everyone)
        return _BoardLog(self._board, f"{self._path}/{self._children}", tuple(members))


def _listening(others: int) -> socket.socket | None:
    try:
        return socket.create_server(("", 0), backlog=others)
    except OSError:  # where no program may listen, ranks do without
        return None


def _gathered(comm: Any, text: str) -> list[list[str]]:
    """Every rank's words, by mpi4py's own means: no communicator of ours is there yet."""
    mine = np.frombuffer(text.encode(), np.uint8)
    counts = np.empty(comm.Get_size(), np.int64)
    comm.Allgather(np.array([mine.size]), counts)
    places = np.cumsum(counts) - counts
    whole = np.empty(counts.sum(), np.uint8)
    comm.Allgatherv(mine, [whole, (counts, places)])
    parts = np.split(whole, places[1:])
    return [part.tobytes().decode().split("\t") for part in parts]
