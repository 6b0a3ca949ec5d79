"""Ranks that have a GPU each, through NVIDIA's NCCL; and which way GPU arrays go.

NCCL works on the GPU's streams: a collective is one more kernel there, and the host waits for none.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module, device_of, module_for, nccl_library
from minigrad.distributed.call import Call, Finished, Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.elastic import ElasticCommunicator
from minigrad.distributed.mpi import MPICommunicator
from minigrad.distributed.serial import Wrapper
from minigrad.distributed.staging import Finish, cuda_aware, nothing, reducible
from minigrad.errors import InputError

__all__ = ["NCCLCommunicator", "for_device"]

_DTYPES = {
    "i1": "NCCL_INT8", "i4": "NCCL_INT32", "i8": "NCCL_INT64",
    "u1": "NCCL_UINT8", "u4": "NCCL_UINT32", "u8": "NCCL_UINT64",
    "f4": "NCCL_FLOAT32", "f8": "NCCL_FLOAT64",
}  # fmt: skip
# NCCL would sum float16 in float16, and has no integers of 16 bits.
_WIDER = {"e": "f", "h": "i", "H": "I"}
_OPS = {"sum": "NCCL_SUM", "max": "NCCL_MAX", "min": "NCCL_MIN"}
_ID_BYTES = 128


def for_device(comm: Communicator, device: str) -> Communicator:
    """``comm`` with the best way for arrays on ``device`` that is open to all ranks. All call it,
    after :func:`~minigrad.backend.use_device`.

    NCCL where each MPI rank has a GPU of its own; otherwise MPI, which gets GPU arrays as they are
    if it turns out to take them, and else by way of the host. One rank of each machine whose ranks
    share GPUs says so. A job that is to outlive its ranks stays with MPI, as NCCL would wait for
    them for ever.
    """
    base, outlives = comm, False
    while isinstance(base, Wrapper):
        outlives = outlives or isinstance(base, ElasticCommunicator)
        base = base.inner
    if device == "cpu" or not isinstance(base, MPICommunicator):
        return comm
    gpu = f"{socket.gethostname()} {module_for(device).cuda.Device().pci_bus_id}"
    library = nccl_library()
    version = library.get_version() if library else 0
    gpus, versions = zip(*(text.split("\n") for text in comm.all_gather_text(f"{gpu}\n{version}")))
    _tell_who_shares(comm, gpus)
    one_each = len(set(gpus)) == comm.size
    if one_each and version and set(versions) == {str(version)} and not outlives:
        return NCCLCommunicator(comm, library)
    agreed = np.array([comm.local_rank > 0 or cuda_aware()], np.int64)
    comm.all_reduce(agreed, "min")
    base.cuda_aware = bool(agreed[0])
    return comm


class NCCLCommunicator(Wrapper):
    """``inner``, the MPI ranks, with collectives of CuPy arrays through NCCL.

    All ranks make it together, each on a GPU of its own, the current one. As in all of CuPy, a
    result is there for what comes after it on the current stream; what is only begun runs on a
    stream beside it. Messages go the way of ``inner``: in NCCL they have no tags, and one that
    nobody receives yet would stop the stream. NumPy arrays go that way too. Raises
    :class:`InputError` where CuPy does not find NCCL.
    """

    def __init__(self, inner: Communicator, library: Any = None) -> None:
        super().__init__(inner)
        self._library = library or nccl_library()
        if self._library is None:
            raise InputError(
                "CuPy finds no NCCL; in minigrad's folder run: python -m pip install -e "
                "'.[cuda13]' or '.[cuda12]'"
            )
        key = np.zeros(_ID_BYTES, np.uint8)
        if self.rank == 0:
            key[:] = np.frombuffer(self._library.get_unique_id(), np.uint8)
        inner.broadcast(key)
        self._nccl = self._library.NcclCommunicator(self.size, key.tobytes(), self.rank)
        self._beside: Any = None

    def _wrap(self, inner: Communicator) -> Communicator:
        return NCCLCommunicator(inner, self._library)

    def _start(self, call: Call) -> Request:
        if call.kind in ("barrier", "send", "receive") or device_of(call.array) == "cpu":
            return self.inner._start(call)
        if call.array.size == 0 and call.kind != "all_to_all":
            return Finished()
        call, finish = _ready(call)
        cuda = array_module(call.array).cuda
        here = stream = cuda.get_current_stream()
        if not call.blocking:
            self._beside = stream = self._beside or cuda.Stream(non_blocking=True)
            stream.wait_event(here.record())
        getattr(self, f"_{call.kind}")(call, stream.ptr)
        if not call.blocking:
            return _OnStream(cuda, stream.record(), call, finish)
        finish()
        return Finished()

    @contextlib.contextmanager
    def _group(self) -> Iterator[None]:
        """What is called inside is carried out at once; one after the other it could hang."""
        self._library.groupStart()
        try:
            yield
        finally:
            self._library.groupEnd()

    # --- reductions -------------------------------------------------------------------------------

    def _all_reduce(self, call: Call, stream: int) -> None:
        at = call.array.data.ptr
        self._nccl.allReduce(at, at, call.array.size, *self._reduction(call), stream)

    def _reduce_scatter(self, call: Call, stream: int) -> None:
        out, reduction = call.out.data.ptr, self._reduction(call)
        if len(set(call.counts)) == 1:
            at = call.array.data.ptr
            self._nccl.reduceScatter(at, out, call.counts[0], *reduction, stream)
            return
        with self._group():
            for rank, (at, count) in enumerate(_parts(call.array, call.counts)):
                if count:
                    to = out if rank == self.rank else at
                    self._nccl.reduce(at, to, count, *reduction, rank, stream)

    def _reduction(self, call: Call) -> tuple[int, int]:
        dtype = _DTYPES[call.array.dtype.str[1:]]
        return getattr(self._library, dtype), getattr(self._library, _OPS[call.op])

    # --- copies, as bytes -------------------------------------------------------------------------

    def _gather_into(self, call: Call, stream: int) -> None:
        size, byte = call.array.itemsize, self._library.NCCL_UINT8
        parts = _parts(call.array, call.counts)
        if len(set(call.counts)) == 1:
            mine, count = parts[self.rank]
            self._nccl.allGather(mine, call.array.data.ptr, count * size, byte, stream)
            return
        with self._group():
            for rank, (at, count) in enumerate(parts):
                if count:
                    self._nccl.broadcast(at, at, count * size, byte, rank, stream)

    def _broadcast(self, call: Call, stream: int) -> None:
        at = call.array.data.ptr
        self._nccl.broadcast(at, at, call.array.nbytes, self._library.NCCL_UINT8, call.peer, stream)

    def _all_to_all(self, call: Call, stream: int) -> None:
        size, byte = call.array.itemsize, self._library.NCCL_UINT8
        leaving = _parts(call.array, call.counts)
        arriving = _parts(call.out, call.out_counts)
        with self._group():
            for rank, ((at, count), (to, awaited)) in enumerate(zip(leaving, arriving)):
                if count:
                    self._nccl.send(at, count * size, byte, rank, stream)
                if awaited:
                    self._nccl.recv(to, awaited * size, byte, rank, stream)


class _OnStream(Request):
    """What runs on a stream beside; waiting for it lets the current stream wait, not the host."""

    def __init__(self, cuda: Any, event: Any, call: Call, finish: Finish) -> None:
        self._cuda, self._event, self._finish = cuda, event, finish
        self._call: Call | None = call  # whose memory must not be used again before

    def wait(self) -> None:
        if self._call is None:
            return
        self._cuda.get_current_stream().wait_event(self._event)
        self._finish()
        self._call, self._finish = None, nothing

    def done(self) -> bool:
        if self._call is not None and self._event.done:
            self.wait()
        return self._call is None


def _ready(call: Call) -> tuple[Call, Finish]:
    """``call`` with arrays of types that NCCL has, and what puts the result back."""
    array, finish = reducible(call.array, _WIDER) if call.op else (call.array, nothing)
    if call.kind != "reduce_scatter":
        return call._replace(array=array), finish
    out, finish = reducible(call.out, _WIDER)
    return call._replace(array=array, out=out), finish


def _parts(array: Array, counts: tuple[int, ...]) -> list[tuple[int, int]]:
    """Where each rank's part of ``array`` begins in memory, and its number of elements."""
    places = Call("gather_into", array, counts=counts).places
    return [(array.data.ptr + at * array.itemsize, count) for at, count in zip(places, counts)]


def _tell_who_shares(comm: Communicator, gpus: tuple[str, ...]) -> None:
    host = socket.gethostname()
    here = [gpu for gpu in gpus if gpu.startswith(f"{host} ")]
    if comm.local_rank == 0 and len(set(here)) < len(here):
        several = len(set(here)) > 1
        sys.stderr.write(
            f"minigrad: {len(here)} ranks on {host} share {len(set(here))} GPU{'s' * several}: "
            "this works, but they take turns; start one rank a GPU for speed\n"
        )
