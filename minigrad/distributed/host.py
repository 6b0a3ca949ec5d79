"""What this machine gives a rank: cores, threads, and whether a launcher started it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import minigrad

__all__ = [
    "cap_threads",
    "core_count",
    "cores",
    "for_child",
    "launched_rank",
    "launched_ranks",
    "outside_mpi",
    "thread_caps",
]

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("PMI_RANK", "PMIX_RANK", "PALS_RANKID")
_NUMBERS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> set[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def core_count() -> int:
    """How many cores this process may use."""
    return len(cores())


def launched_ranks(environ: Mapping[str, str]) -> int:
    """How many ranks an MPI launcher says it started: 1 without one, 0 if it does not say.

    Known are the variables of MPICH and its relatives, Open MPI, MVAPICH, Slurm's ``srun`` (those
    of a step: a batch script alone has one process whatever the size of its job) and PMIx.
    """
    for name in _SIZES:
        if environ.get(name, "").isdigit():
            return int(environ[name])
    return 0 if any(name in environ for name in _RANKS) else 1


def launched_rank(environ: Mapping[str, str]) -> int:
    """Which of a launcher's ranks this is, before MPI can be asked; 0 without a launcher."""
    found = (environ.get(name, "") for name in _NUMBERS)
    return next((int(number) for number in found if number.isdigit()), 0)


def outside_mpi(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without a launcher's marks, so that a child does not take itself for a rank."""
    marks = ("PMI_", "PMIX_", "OMPI_COMM_WORLD_", "HYDI_", "MPI_LOCAL", "PRTE_")
    return {name: value for name, value in environ.items() if not name.startswith(marks)}


def thread_caps(ranks: int, cores: int, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that share ``cores`` among ``ranks``; none of those that a person has set."""
    share = str(max(1, cores // max(1, ranks)))
    return {name: share for name in _THREADS if name not in environ}


def cap_threads(ranks: int) -> None:
    """Share this machine's cores among ``ranks`` ranks from here on, as far as nobody has yet.

    BLAS reads its variables when it is loaded, so a running one is told through threadpoolctl,
    where that is installed; the variables reach libraries that are loaded later.
    """
    caps = thread_caps(ranks, core_count(), os.environ)
    os.environ.update(caps)
    if len(caps) == len(_THREADS) and importlib.util.find_spec("threadpoolctl"):
        import threadpoolctl

        threadpoolctl.threadpool_limits(int(caps["OMP_NUM_THREADS"]))


def for_child(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` for a Python that imports this minigrad, installed or not, and nothing that lies
    in the folder it is started in, such as a learner's random.py.
    """
    root = str(Path(minigrad.__file__).parents[1])
    paths = [root, *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
