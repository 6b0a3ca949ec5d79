"""Real MPI jobs on two hosts: ``from hosts import run, two_hosts``, as of benchmarks/hosts.py, but
skipping the test, with the reason, where this machine, this user or a missing MPI permits none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest
from mpirun import ROOT

from minigrad.errors import InputError, MissingExtra

if ROOT not in sys.path:
    sys.path.append(ROOT)
from benchmarks import hosts as machine
from benchmarks.hosts import Hosts, Job

__all__ = ["Hosts", "Job", "machine", "run", "two_hosts"]


@contextmanager
def two_hosts(mbit: int | None = 400) -> Iterator[Hosts]:
    """Two hosts joined at ``mbit`` Mbit/s; ``None`` for all there is."""
    with ExitStack() as stack:
        try:
            hosts = stack.enter_context(machine.two_hosts(mbit))
        except InputError as error:
            pytest.skip(str(error))
        yield hosts


def run(
    hosts: Hosts, n: int, *python_args: str, timeout: float = 60, env: Mapping[str, str] = {}
) -> Job:
    """Run ``python *python_args`` on ``n`` ranks, half on each host; a hang fails the test."""
    try:
        return machine.run(hosts, n, *python_args, timeout=timeout, env=env)
    except (InputError, MissingExtra) as error:
        pytest.skip(str(error))
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"{n} ranks hung for {timeout} s: {error.stdout!r} {error.stderr!r}")
