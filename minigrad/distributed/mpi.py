"""Ranks as MPI processes, through mpi4py's buffer methods (the lower-case ones pickle).

mpi4py is imported by :func:`world` and :class:`MPICommunicator`, not by this module.
"""

from __future__ import annotations

import io
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from minigrad.backend import Array, device_of
from minigrad.distributed.board import Board, Log
from minigrad.distributed.call import Call, Finished, Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.failure import fail_together
from minigrad.distributed.host import cap_threads, cores, launched_ranks
from minigrad.distributed.serial import SerialCommunicator
from minigrad.distributed.staging import CHUNK, Finish, in_chunks, nothing, reducible, staged
from minigrad.errors import InputError, require

__all__ = ["TIMEOUT", "MPICommunicator", "initialised", "share_the_machine", "world"]

TIMEOUT = 300.0
"""Seconds that a rank waits for another before the job is ended."""

_METHODS = {
    "all_reduce": "allreduce", "all_to_all": "alltoallv", "barrier": "barrier",
    "broadcast": "bcast", "gather_into": "allgatherv", "receive": "recv",
    "reduce_scatter": "reduce_scatter", "send": "send",
}  # fmt: skip


def world(timeout: float = TIMEOUT) -> Communicator:
    """All ranks that the launcher started; :class:`SerialCommunicator` where there is only one.

    With several, a failure on one rank ends all of them
    (``failure.fail_together``), and so does a rank that others have been
    waiting for ``timeout`` seconds (0: for ever); BLAS threads are capped at this rank's share of
    the cores, and what is printed leaves in whole lines. Call it once, first. Raises
    :class:`MissingExtra` without mpi4py, and :class:`InputError` where the launcher belongs to
    another MPI than mpi4py, so that every process would think it is alone.
    """
    started = launched_ranks(os.environ)
    if started == 1:
        return SerialCommunicator()
    mpi = initialised(started)
    board = Board(mpi.COMM_WORLD)
    comm = MPICommunicator(mpi.COMM_WORLD, board.log)
    fail_together(comm, board, timeout)
    share_the_machine(comm)
    return comm


def share_the_machine(comm: Communicator) -> None:
    """Cap the BLAS threads of this rank at its share of the cores that it may use, which a
    launcher may have dealt out already; and let its output leave in whole lines."""
    mine = f"{socket.gethostname()} {sorted(cores())}"
    cap_threads(comm.all_gather_text(mine).count(mine))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, write_through=False)


class MPICommunicator(Communicator):
    """The ranks of an mpi4py communicator, such as ``MPI.COMM_WORLD``.

    CuPy arrays go by way of the host (``minigrad.distributed.staging``), after their stream has
    come to rest, unless ``cuda_aware`` says that this MPI takes them as they are. All ranks' arrays
    lie on GPUs, or all on the host. With a ``log``, what this rank begins and waits for is shown to
    the other ranks.
    """

    def __init__(self, comm: Any, log: Log | None = None, cuda_aware: bool = False) -> None:
        self._mpi = mpi = require("mpi4py.MPI", "mpi")
        self._ops = {"sum": mpi.SUM, "max": mpi.MAX, "min": mpi.MIN}
        self.mpi_comm = comm
        self.cuda_aware = cuda_aware
        self._log = log or Log()
        node = comm.Split_type(mpi.COMM_TYPE_SHARED)
        super().__init__(comm.Get_rank(), comm.Get_size(), node.Get_rank(), node.Get_size())
        node.Free()

    def duplicate(self) -> MPICommunicator:
        return self._made("duplicate()", self.mpi_comm.Dup)

    def split(self, color: int, key: int = 0) -> MPICommunicator:
        return self._made("split()", lambda: self.mpi_comm.Split(color, key))

    def _made(self, said: str, make: Callable[[], Any]) -> MPICommunicator:
        """A communicator made of this one; all ranks are waited for, and the watch sees it."""
        call = Call("barrier", about=said)
        self._log.wait(call, self._log.begin(call))
        try:
            comm = make()
            other = MPICommunicator(comm, self._log.child(comm), self.cuda_aware)
        finally:
            self._log.go_on()
        return other

    def abort(self, code: int) -> NoReturn:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue  # closed, or nobody reads it: the job must end all the same
        time.sleep(0.2)  # launchers drop what they have not forwarded by the time they kill
        self.mpi_comm.Abort(code)
        os._exit(code)  # an exception has no effect in what runs at the end of Python

    def _start(self, call: Call) -> Request:
        log, number = self._log, self._log.begin(call)
        if call.kind == "all_reduce" and call.blocking and self._is_long(call.array):
            return self._reduce_in_chunks(call, number)
        arguments, finish = getattr(self, f"_{call.kind}")(call)
        name = _METHODS[call.kind]
        status = (self._mpi.Status(),) if call.kind == "receive" else ()
        if not call.blocking:
            request = getattr(self.mpi_comm, f"I{name}")(*arguments)
            return _MPIRequest(request, finish, call, log, number, *status)
        log.wait(call, number)
        try:
            getattr(self.mpi_comm, name.capitalize())(*arguments, *status)
        finally:
            log.go_on()
        _check_received(call, *status)
        finish()
        return Finished()

    # --- what each kind hands to MPI, and what is to be done when it has returned -----------------

    def _barrier(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        return (), nothing

    def _all_reduce(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        buffer, finish = self._reducible(call.array)
        return (self._mpi.IN_PLACE, buffer, self._ops[call.op]), finish

    def _reduce_scatter(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        buffer, _ = self._reducible(call.array, result=False)
        out, finish = self._reducible(call.out, None)
        return (buffer, out, call.counts, self._ops[call.op]), finish

    def _gather_into(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        whole, finish = self._staged(call.array, call.part(self.rank))
        return (self._mpi.IN_PLACE, [_plain(whole), (call.counts, call.places)]), finish

    def _broadcast(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        sends = call.peer == self.rank
        buffer, finish = self._staged(call.array, slice(None) if sends else None, not sends)
        return (_plain(buffer), call.peer), finish

    def _all_to_all(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        buffer, _ = self._staged(call.array, result=False)
        out, finish = self._staged(call.out, None)
        arriving = call._replace(counts=call.out_counts)
        return (
            [_plain(buffer), (call.counts, call.places)],
            [_plain(out), (arriving.counts, arriving.places)],
        ), finish

    def _send(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        buffer, finish = self._staged(call.array, result=False)
        return (_bytes(buffer), call.peer, call.tag), finish

    def _receive(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        buffer, finish = self._staged(call.array, None)
        return (_bytes(buffer), call.peer, call.tag), finish

    def _staged(
        self, array: Array, brought: slice | None = slice(None), result: bool = True
    ) -> tuple[Array, Finish]:
        return staged(array, brought, result, self.cuda_aware)

    def _reducible(
        self, array: Array, brought: slice | None = slice(None), result: bool = True
    ) -> tuple[Array, Finish]:
        narrow, put_back = reducible(array)
        buffer, bring_back = self._staged(narrow, brought, result)
        if put_back is nothing:
            return buffer, bring_back

        def finish() -> None:
            bring_back()
            put_back()

        return buffer, finish

    def _is_long(self, array: Array) -> bool:
        return array.nbytes > CHUNK and not self.cuda_aware and device_of(array) != "cpu"

    def _reduce_in_chunks(self, call: Call, number: int) -> Request:
        array, put_back = reducible(call.array)
        op = self._ops[call.op]
        self._log.wait(call, number)
        try:
            in_chunks(array, lambda part: self.mpi_comm.Allreduce(self._mpi.IN_PLACE, part, op))
        finally:
            self._log.go_on()
        put_back()
        return Finished()


class _MPIRequest(Request):
    def __init__(
        self, request: Any, finish: Finish, call: Call, log: Log, number: int, status: Any = None
    ) -> None:
        self._request, self._status = request, status
        self._finish: Finish | None = finish
        self._call, self._log, self._number = call, log, number

    def wait(self) -> None:
        if self._finish is None:
            return
        self._log.wait(self._call, self._number)
        try:
            self._request.Wait(self._status)
        finally:
            self._log.go_on()
        self._complete()

    def done(self) -> bool:
        if self._finish is not None and self._request.Test(self._status):
            self._complete()
        return self._finish is None

    def _complete(self) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            _check_received(self._call, self._status)
            finish()


def _check_received(call: Call, status: Any = None) -> None:
    """MPI takes a message that is too short for its array without a word."""
    if status is not None and (arrived := status.count) != call.nbytes:
        raise InputError(
            f"receive: {call.nbytes} bytes were expected from rank {call.peer} ({call.array.size} "
            f"of {call.array.dtype}), and {arrived} came; send and receive arrays of one size"
        )


def initialised(started: int) -> Any:
    """mpi4py.MPI after MPI_Init, which has found the other ranks; else :class:`InputError`."""
    if "mpi4py.MPI" not in sys.modules:
        mpi4py = require("mpi4py", "mpi")
        mpi4py.rc.initialize = False
        mpi4py.rc.finalize = True
        # UCX's one-sided part has nothing to do on one machine, and complains there
        os.environ.setdefault("OMPI_MCA_osc", "^ucx")
    mpi = require("mpi4py.MPI", "mpi")
    if not mpi.Is_initialized():
        open_mpi = "OMPI_COMM_WORLD_SIZE" in os.environ  # MPICH would die of its launcher
        if open_mpi and "Open MPI" not in mpi.Get_library_version():
            raise _foreign(started)
        mpi.Init_thread(mpi.THREAD_MULTIPLE)
    if mpi.COMM_WORLD.Get_size() == 1 and started > 1:
        raise _foreign(started)
    return mpi


def _foreign(started: int) -> InputError:
    said = require("mpi4py.MPI", "mpi").Get_library_version()
    library = " ".join(said.partition("\n")[0].partition(",")[0].split())
    return InputError(
        f"the launcher started {started} processes, but it belongs to another MPI than mpi4py "
        f"({library}), so each of them is alone; start with 'minigrad launch -n {started} …', "
        "which finds the launcher that fits ('minigrad doctor' shows both)"
    )


def _plain(array: np.ndarray) -> np.ndarray:
    """``array`` as a type that every MPI can move."""
    if array.dtype in (np.float16, np.bool_):
        return array.view(f"u{array.itemsize}")
    return array


def _bytes(array: np.ndarray) -> np.ndarray:
    """``array`` as bytes: MPICH ends the job over a message that is no whole number of elements,
    before anybody could say what is wrong."""
    return array.reshape(-1).view(np.uint8)
