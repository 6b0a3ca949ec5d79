"""Communicators: one rank, ranks as threads, ranks as MPI processes. No mpi4py until it is used."""

import importlib

from minigrad.distributed.communicator import Communicator, RankError, Request, SerialCommunicator
from minigrad.distributed.mpi import MPICommunicator, world
from minigrad.distributed.threads import ThreadCommunicator

__all__ = [
    "Communicator",
    "MPICommunicator",
    "RankError",
    "Request",
    "SerialCommunicator",
    "ThreadCommunicator",
    "world",
]


def __getattr__(name: str) -> object:
    """``DataParallel`` stands above the layers and optimizers, so it is imported when asked for."""
    if name == "DataParallel":
        return importlib.import_module("minigrad.distributed.data_parallel").DataParallel
    raise AttributeError(f"module 'minigrad.distributed' has no attribute '{name}'")
