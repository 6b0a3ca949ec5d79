"""Ranks as MPI processes, through mpi4py's buffer methods (the lower-case ones pickle).

mpi4py is imported by :func:`world` and :class:`MPICommunicator`, not by this module.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from minigrad.backend import Array, array_module, device_of
from minigrad.distributed.board import Board, Log
from minigrad.distributed.call import Call, Finished, Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.failure import fail_together
from minigrad.distributed.host import cap_threads, launched_ranks
from minigrad.distributed.serial import SerialCommunicator
from minigrad.errors import InputError, require

__all__ = ["TIMEOUT", "MPICommunicator", "world"]

TIMEOUT = 300.0
"""Seconds that a rank waits for another before the job is ended."""

Finish = Callable[[], None]

_METHODS = {
    "all_reduce": "allreduce", "all_to_all": "alltoallv", "barrier": "barrier",
    "broadcast": "bcast", "gather_into": "allgatherv", "receive": "recv",
    "reduce_scatter": "reduce_scatter", "send": "send",
}  # fmt: skip


def world(timeout: float = TIMEOUT) -> Communicator:
    """All ranks that the launcher started; :class:`SerialCommunicator` where there is only one.

    With several, a failure on one rank ends all of them
    (:func:`~minigrad.distributed.failure.fail_together`), and so does a rank that others have been
    waiting for ``timeout`` seconds (0: for ever); BLAS threads are capped at this rank's share of
    the cores, and what is printed leaves in whole lines. Call it once, first. Raises
    :class:`MissingExtra` without mpi4py, and :class:`InputError` where the launcher belongs to
    another MPI than mpi4py, so that every process would think it is alone.
    """
    started = launched_ranks(os.environ)
    if started == 1:
        return SerialCommunicator()
    mpi = _initialised(started)
    if mpi.COMM_WORLD.Get_size() == 1 and started > 1:
        raise _foreign(started)
    board = Board(mpi.COMM_WORLD)
    comm = MPICommunicator(mpi.COMM_WORLD, board.log)
    fail_together(comm, board, timeout)
    cap_threads(comm.local_size)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, write_through=False)
    return comm


class MPICommunicator(Communicator):
    """The ranks of an mpi4py communicator, such as ``MPI.COMM_WORLD``.

    CuPy arrays are staged through pinned host memory, after their stream has come to rest.
    With a ``log``, what this rank begins and waits for is shown to the other ranks.
    """

    def __init__(self, comm: Any, log: Log | None = None) -> None:
        self._mpi = mpi = require("mpi4py.MPI", "mpi")
        self._ops = {"sum": mpi.SUM, "max": mpi.MAX, "min": mpi.MIN}
        self.mpi_comm = comm
        self._log = log or Log()
        node = comm.Split_type(mpi.COMM_TYPE_SHARED)
        super().__init__(comm.Get_rank(), comm.Get_size(), node.Get_rank(), node.Get_size())
        node.Free()

    def duplicate(self) -> MPICommunicator:
        self._log.begin(Call("barrier"))
        comm = self.mpi_comm.Dup()
        return MPICommunicator(comm, self._log.child(comm))

    def split(self, color: int, key: int = 0) -> MPICommunicator:
        self._log.begin(Call("barrier"))
        comm = self.mpi_comm.Split(color, key)
        return MPICommunicator(comm, self._log.child(comm))

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
        return (), _nothing

    def _all_reduce(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        buffer, finish = _reducible(call.array)
        return (self._mpi.IN_PLACE, buffer, self._ops[call.op]), finish

    def _reduce_scatter(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        buffer, _ = _reducible(call.array)
        out, finish = _reducible(call.out)
        return (buffer, out, call.counts, self._ops[call.op]), finish

    def _gather_into(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        host, finish = _staged(call.array)
        return (self._mpi.IN_PLACE, [_plain(host), (call.counts, call.places)]), finish

    def _broadcast(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        host, finish = _staged(call.array)
        return (_plain(host), call.peer), finish

    def _all_to_all(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        host, _ = _staged(call.array)
        out, finish = _staged(call.out)
        arriving = call._replace(counts=call.out_counts)
        return (
            [_plain(host), (call.counts, call.places)],
            [_plain(out), (arriving.counts, arriving.places)],
        ), finish

    def _send(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        return (_bytes(_staged(call.array)[0]), call.peer, call.tag), _nothing

    def _receive(self, call: Call) -> tuple[tuple[Any, ...], Finish]:
        host, finish = _staged(call.array)
        return (_bytes(host), call.peer, call.tag), finish


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


def _initialised(started: int) -> Any:
    """mpi4py.MPI after MPI_Init. Open MPI's launcher is checked before, as MPICH dies of it."""
    if "mpi4py.MPI" not in sys.modules:
        mpi4py = require("mpi4py", "mpi")
        mpi4py.rc.initialize = False
        mpi4py.rc.finalize = True
        # UCX's one-sided part has nothing to do on one machine, and complains there
        os.environ.setdefault("OMPI_MCA_osc", "^ucx")
    mpi = require("mpi4py.MPI", "mpi")
    if not mpi.Is_initialized():
        open_mpi = "OMPI_COMM_WORLD_SIZE" in os.environ
        if open_mpi and "Open MPI" not in mpi.Get_library_version():
            raise _foreign(started)
        mpi.Init_thread(mpi.THREAD_MULTIPLE)
    return mpi


def _foreign(started: int) -> InputError:
    said = require("mpi4py.MPI", "mpi").Get_library_version()
    library = " ".join(said.partition("\n")[0].partition(",")[0].split())
    return InputError(
        f"the launcher started {started} processes, but it belongs to another MPI than mpi4py "
        f"({library}), so each of them is alone; start with 'minigrad launch -n {started} …', "
        "which finds the launcher that fits ('minigrad doctor' shows both)"
    )


def _staged(array: Array) -> tuple[np.ndarray, Finish]:
    """``array`` in host memory, and what brings a result back to where ``array`` lives."""
    if device_of(array) == "cpu":
        return array, _nothing
    xp = array_module(array)
    stream = xp.cuda.get_current_stream()
    pinned = xp.cuda.alloc_pinned_memory(max(1, array.nbytes))
    host = np.frombuffer(pinned, array.dtype, array.size).reshape(array.shape)
    array.get(stream=stream, out=host)
    stream.synchronize()

    def bring_back() -> None:
        array.set(host, stream=stream)
        stream.synchronize()

    return host, bring_back


def _reducible(array: Array) -> tuple[np.ndarray, Finish]:
    """``array`` on the host as a type that MPI reduces, and what puts the result back."""
    host, finish = _staged(array)
    if host.dtype != np.float16:
        return host.view(np.uint8) if host.dtype == np.bool_ else host, finish
    total = host.astype(np.float32)

    def put_back() -> None:
        with np.errstate(over="ignore"):
            host[...] = total
        finish()

    return total, put_back


def _plain(array: np.ndarray) -> np.ndarray:
    """``array`` as a type that every MPI can move."""
    if array.dtype in (np.float16, np.bool_):
        return array.view(f"u{array.itemsize}")
    return array


def _bytes(array: np.ndarray) -> np.ndarray:
    """``array`` as bytes: MPICH ends the job over a message that is no whole number of elements,
    before anybody could say what is wrong."""
    return array.reshape(-1).view(np.uint8)


def _nothing() -> None:
    pass
