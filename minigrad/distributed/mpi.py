"""Ranks as MPI processes, through mpi4py's buffer methods (the lower-case ones pickle).

mpi4py is imported by :func:`world` and :class:`MPICommunicator`, not by this module.
"""

from __future__ import annotations

import io
import os
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from minigrad.backend import Array, array_module, device_of
from minigrad.distributed.communicator import Communicator, Request, SerialCommunicator
from minigrad.distributed.failure import Board, fail_together
from minigrad.distributed.host import cap_threads, launched_ranks
from minigrad.errors import InputError, require

__all__ = ["MPICommunicator", "world"]

Finish = Callable[[], None]


def world() -> Communicator:
    """All ranks that the launcher started; :class:`SerialCommunicator` where there is only one.

    With several, a failure on one rank ends all of them
    (:func:`~minigrad.distributed.failure.fail_together`), BLAS threads are capped at this rank's
    share of the cores, and what is printed leaves in whole lines. Call it once, first. Raises
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
    comm = MPICommunicator(mpi.COMM_WORLD, board)
    fail_together(comm, board)
    cap_threads(comm.local_size)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, write_through=False)
    return comm


class MPICommunicator(Communicator):
    """The ranks of an mpi4py communicator, such as ``MPI.COMM_WORLD``.

    CuPy arrays are staged through pinned host memory, after their stream has come to rest.
    With a ``board``, the collectives that this rank begins are counted there.
    """

    def __init__(self, comm: Any, board: Board | None = None) -> None:
        self._mpi = mpi = require("mpi4py.MPI", "mpi")
        self._ops = {"sum": mpi.SUM, "max": mpi.MAX, "min": mpi.MIN}
        self.mpi_comm = comm
        self._board = board
        self._count = board.new_counter() if board else _nothing
        node = comm.Split_type(mpi.COMM_TYPE_SHARED)
        super().__init__(comm.Get_rank(), comm.Get_size(), node.Get_rank(), node.Get_size())
        node.Free()

    def barrier(self) -> None:
        self._count()
        self.mpi_comm.Barrier()

    def duplicate(self) -> MPICommunicator:
        self._count()
        return MPICommunicator(self.mpi_comm.Dup(), self._board)

    def abort(self, code: int) -> NoReturn:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue  # closed, or nobody reads it: the job must end all the same
        time.sleep(0.2)  # launchers drop what they have not forwarded by the time they kill
        self.mpi_comm.Abort(code)
        os._exit(code)  # an exception has no effect in what runs at the end of Python

    def _all_reduce(self, array: Array, op: str) -> None:
        self._count()
        buffer, finish = _reducible(array)
        self.mpi_comm.Allreduce(self._mpi.IN_PLACE, buffer, self._ops[op])
        finish()

    def _start_all_reduce(self, array: Array, op: str) -> Request:
        self._count()
        buffer, finish = _reducible(array)
        return _MPIRequest(
            self.mpi_comm.Iallreduce(self._mpi.IN_PLACE, buffer, self._ops[op]), finish
        )

    def _broadcast(self, array: Array, root: int) -> None:
        self._count()
        host, finish = _staged(array)
        self.mpi_comm.Bcast(_plain(host), root)
        finish()

    def _all_gather(self, array: Array) -> list[Array]:
        self._count()
        kind = f"{array.dtype}, rows of shape {array.shape[1:]}"
        mine = np.array([len(array), zlib.crc32(kind.encode())])
        table = np.empty((self.size, 2), np.int64)
        self.mpi_comm.Allgather(mine, table)
        if (table[:, 1] != table[0, 1]).any():
            said = [f"rank {rank}: {text}" for rank, text in enumerate(self.all_gather_text(kind))]
            raise InputError(f"all_gather: ranks brought different arrays; {'; '.join(said)}")
        ends = np.cumsum(table[:, 0])
        whole = np.empty((ends[-1], *array.shape[1:]), array.dtype)
        row = int(np.prod(array.shape[1:], dtype=np.int64))
        counts = table[:, 0] * row
        places = ends * row - counts
        host, _ = _staged(array)
        self.mpi_comm.Allgatherv(_plain(host), [_plain(whole), (counts, places)])
        xp = array_module(array)
        return [xp.asarray(part) for part in np.split(whole, ends[:-1])]


class _MPIRequest(Request):
    def __init__(self, request: Any, finish: Finish) -> None:
        self._request = request
        self._finish: Finish | None = finish

    def wait(self) -> None:
        self._request.Wait()
        self._complete()

    def done(self) -> bool:
        if self._request.Test():
            self._complete()
            return True
        return False

    def _complete(self) -> None:
        if self._finish is not None:
            self._finish()
            self._finish = None


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


def _nothing() -> None:
    pass
