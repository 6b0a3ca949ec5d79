"""Communicators: one rank, ranks as threads, ranks as MPI processes. No mpi4py until it is used."""

import importlib

from minigrad.distributed.call import Call, RankError, Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.elastic import ElasticCommunicator, RanksLost, elastic_world, outlive
from minigrad.distributed.failure import end_job_before_world
from minigrad.distributed.mpi import MPICommunicator, world
from minigrad.distributed.neighbour import NeighbourCopy, ShardsLost
from minigrad.distributed.serial import SerialCommunicator, Wrapper
from minigrad.distributed.threads import ThreadCommunicator

__all__ = [
    "Call",
    "Communicator",
    "ElasticCommunicator",
    "MPICommunicator",
    "NeighbourCopy",
    "RankError",
    "RanksLost",
    "Request",
    "SerialCommunicator",
    "ShardsLost",
    "ThreadCommunicator",
    "Wrapper",
    "elastic_world",
    "outlive",
    "world",
]

_ABOVE = {
    "Bucketed": "reducers",
    "CheckedCommunicator": "checked",
    "ColumnParallelDense": "tensor_parallel",
    "DataParallel": "data_parallel",
    "Flat": "reducers",
    "LocalSGD": "averaging",
    "Mesh": "mesh",
    "Naive": "reducers",
    "ParallelMLP": "tensor_parallel",
    "ParameterServer": "averaging",
    "Pipeline": "pipeline",
    "RowParallelDense": "tensor_parallel",
    "Trace": "traced",
    "WrittenOut": "algorithms",
    "ZeRO": "zero",
    "arrange": "layout",
}
"""What stands above the layers and optimizers, and is imported when asked for."""


def __getattr__(name: str) -> object:
    if name in _ABOVE:
        return getattr(importlib.import_module(f"minigrad.distributed.{_ABOVE[name]}"), name)
    raise AttributeError(f"module 'minigrad.distributed' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ABOVE})


end_job_before_world()
