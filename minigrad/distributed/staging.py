"""How arrays on a GPU reach MPI: as they are where it can read them there, else by way of the host.

On the host they lie in pinned memory, from and to which the GPU copies while the host does other
things. To pin is slow, so CuPy keeps such memory for the next array of the same size.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from minigrad.backend import Array, array_module, device_of
from minigrad.distributed.host import outside_mpi
from minigrad.errors import SharedError

__all__ = ["CHUNK", "SWITCH", "Finish", "cuda_aware", "in_chunks", "nothing", "reducible", "staged"]

CHUNK = 4 * 2**20
"""Bytes that are copied while MPI reduces as many others."""

SWITCH = "MINIGRAD_CUDA_AWARE"
"""The variable that says 0 or 1 in place of the probe."""

Finish = Callable[[], None]

_FLOAT16 = {"e": "f"}

# Both a message and arithmetic: some libraries know how to move a GPU's memory, but not to add it.
_PROBE = """
import cupy
from mpi4py import MPI
x, y, z = cupy.arange(4.0), cupy.zeros(4), cupy.zeros(4)
cupy.cuda.get_current_stream().synchronize()
MPI.COMM_SELF.Sendrecv(x, 0, 0, y, 0, 0)
MPI.COMM_SELF.Allreduce(x, z)
MPI.SUM.Reduce_local(y, z)
assert z.tolist() == [0, 2, 4, 6]
"""


def staged(
    array: Array,
    brought: slice | None = slice(None),
    result: bool = True,
    direct: bool = False,
) -> tuple[Array, Finish]:
    """``array`` where MPI can use it, and what brings MPI's result back to where ``array`` lives.

    Only its elements ``brought`` have their values there; without ``result`` nothing comes back.
    A NumPy array is passed on, and with ``direct`` so is a CuPy array, once its stream is at rest.
    """
    if device_of(array) == "cpu":
        return array, nothing
    stream = array_module(array).cuda.get_current_stream()
    if direct:
        stream.synchronize()
        return array, nothing
    host = _pinned(array)
    if brought is not None:
        array.reshape(-1)[brought].get(stream=stream, out=host.reshape(-1)[brought])

    def bring_back() -> None:
        array.set(host, stream=stream)
        stream.synchronize()

    return host, bring_back if result else nothing


def in_chunks(array: Array, reduce: Callable[[np.ndarray], None], chunk: int = CHUNK) -> None:
    """``reduce`` a CuPy array in place, ``chunk`` bytes after the other, on the host.

    While a chunk is reduced, the next ones are on their way to the host and the last one is on its
    way back.
    """
    cuda = array_module(array).cuda
    flat, host = array.reshape(-1), _pinned(array).reshape(-1)
    step = max(1, chunk // array.itemsize)
    parts = [slice(first, first + step) for first in range(0, array.size, step)]
    down, up = cuda.Stream(non_blocking=True), cuda.Stream(non_blocking=True)
    down.wait_event(cuda.get_current_stream().record())
    arrivals = []
    for part in parts:
        flat[part].get(stream=down, out=host[part], blocking=False)
        arrivals.append(down.record())
    try:
        for part, arrival in zip(parts, arrivals):
            arrival.synchronize()
            reduce(host[part])
            flat[part].set(host[part], stream=up)
    finally:  # when the host's memory is another's, no copy may be under way
        down.synchronize()
        up.synchronize()


def reducible(array: Array, wider: Mapping[str, str] = _FLOAT16) -> tuple[Array, Finish]:
    """``array`` as a type that can be reduced, and what puts the result back into ``array``.

    ``wider`` are the letters of the dtypes that cannot be, each with that of one that can.
    """
    letter = array.dtype.char
    if letter == "?":
        return array.view(np.uint8), nothing
    if letter not in wider:
        return array, nothing
    wide = array.astype(wider[letter])

    def put_back() -> None:
        with np.errstate(over="ignore"):
            array[...] = wide

    return wide, put_back


def nothing() -> None:
    """What is left to do where all is done."""


def cuda_aware(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this MPI takes CuPy arrays as they are: as :data:`SWITCH` says, or as it turns out.

    It is tried out in a process of its own, since an MPI that cannot dies of it; the answer is
    kept. Raises :class:`SharedError` where the variable says neither 0 nor 1.
    """
    given = environ.get(SWITCH, "")
    if given not in ("", "0", "1"):
        raise SharedError(
            f"{SWITCH} is '{given}': set it to 1 (this MPI takes GPU arrays), to 0 (it does not), "
            "or leave it out to have that tried out"
        )
    return given == "1" if given else _probe()


@cache
def _probe(timeout: float = 60) -> bool:
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=outside_mpi(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def _pinned(array: Array) -> np.ndarray:
    """Host memory for ``array``, of the same shape and dtype; what it holds is anything."""
    memory = array_module(array).cuda.alloc_pinned_memory(max(1, array.nbytes))
    return np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
