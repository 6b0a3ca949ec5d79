"""Start real MPI jobs from tests: ``from mpirun import mpirun``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from minigrad.distributed.host import core_count
from minigrad.errors import InputError, MissingExtra
from minigrad.launch import Launcher, command, find_launcher, outside_mpi

ROOT = str(Path(__file__).parent.parent)


@cache
def _launcher() -> Launcher | str:
    try:
        return find_launcher()
    except (InputError, MissingExtra) as error:
        return str(error)


def mpirun(
    n: int, *python_args: str, timeout: float = 60, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python *python_args`` on ``n`` ranks; ``env`` is added to this environment.

    Skips the test, with the reason, where there is no working MPI. A job that hangs is killed
    after ``timeout`` seconds and fails the test.
    """
    launcher = _launcher()
    if isinstance(launcher, str):
        pytest.skip(launcher)
    paths = [ROOT, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environ = outside_mpi(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    arguments, settings = command(
        n,
        python_args,
        launcher=launcher,
        cores=core_count(),
        environ=environ | dict(env or {}),
        root=hasattr(os, "geteuid") and os.geteuid() == 0,
    )
    try:
        return subprocess.run(
            arguments, env=settings, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"{n} ranks hung for {timeout} s: {error.stdout!r} {error.stderr!r}")
