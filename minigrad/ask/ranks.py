"""Ranks for an experiment: processes under mpiexec, or threads of this one.

``python -m minigrad.ask.ranks MODULE:FUNCTION ARGUMENTS`` is what each rank's process runs.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from minigrad.distributed import Communicator, world
from minigrad.distributed.host import for_child, outside_mpi
from minigrad.distributed.threads import run_ranks
from minigrad.errors import InputError, MissingExtra
from minigrad.launch import job

__all__ = ["Kind", "on_ranks"]

Kind: TypeAlias = Literal["processes", "threads"]
Work: TypeAlias = Callable[..., dict[str, float]]


def on_ranks(
    n: int, work: Work, *arguments: Any, threads: bool = False, timeout: float = 60
) -> tuple[dict[str, float], Kind]:
    """``work(comm, *arguments)`` on ``n`` ranks: what it gave on rank 0, and what ranks were.

    They are processes where there is an MPI, unless ``threads`` are wanted. ``work`` is a public
    function of a module; the ``arguments`` are what JSON can hold.
    """
    if not threads:
        words = [
            "-m",
            "minigrad.ask.ranks",
            f"{work.__module__}:{work.__qualname__}",
            json.dumps(arguments),
        ]
        environ = for_child(outside_mpi(os.environ))
        try:
            command, environ = job(n, words, environ)
        except (InputError, MissingExtra):
            threads = True
    if threads:
        return run_ranks(n, lambda comm: work(comm, *arguments))[0], "threads"
    try:
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{n} ranks took more than {timeout:g} s; 'minigrad doctor' tells whether MPI works"
        ) from error
    if done.returncode:
        last = (done.stderr.strip() or "without a word").splitlines()[-1]
        raise InputError(f"{n} ranks failed ({last}); 'minigrad doctor' tells whether MPI works")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found, "processes"


def _main(where: str, arguments: str) -> None:
    module, _, function = where.partition(":")
    work: Work = getattr(importlib.import_module(module), function)
    comm: Communicator = world()
    found = work(comm, *json.loads(arguments))
    if comm.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
