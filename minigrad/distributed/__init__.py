"""Communicators: one rank, ranks as threads, ranks as MPI processes. No mpi4py until it is used."""

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
