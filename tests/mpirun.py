"""Start real MPI jobs from tests, and kill their ranks: ``from mpirun import mpirun``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
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


def until_epoch(epoch: int, folder: Path, job: subprocess.Popen[str], timeout: float = 60) -> None:
    """Return once the training that ``job`` runs has finished ``epoch`` epochs."""
    log, give_up = folder / "history.jsonl", time.monotonic() + timeout
    while not (log.exists() and log.read_text().count("\n") >= epoch):
        assert job.poll() is None, job.communicate(timeout=10)
        assert time.monotonic() < give_up, f"{epoch} epochs took {timeout} s"
        time.sleep(0.01)


def kill_rank(rank: int, marker: str) -> None:
    """SIGKILL to each process that is ``rank`` of a launcher's job and has ``marker`` among its
    words; skips the test where processes cannot be looked at."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("there is no /proc to find a rank's process in")
    signs = {f"{name}={rank}".encode() for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK")}
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if marker.encode() in words and signs & {
                *(process / "environ").read_bytes().split(b"\0")
            }:
                os.kill(int(process.name), signal.SIGKILL)
                found += 1
    assert found == 1, f"{found} processes are rank {rank} of {marker}"


def mpirun(
    n: int,
    *python_args: str,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    elastic: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run ``python *python_args`` on ``n`` ranks; ``env`` is added to this environment.

    Skips the test, with the reason, where there is no working MPI, or with ``elastic`` none that
    outlives a killed rank. A job that hangs is killed after ``timeout`` seconds and fails the test.
    """
    launcher = _launcher()
    if isinstance(launcher, str):
        pytest.skip(launcher)
    if elastic and launcher.family != "Open MPI":
        pytest.skip(f"{launcher.family} ends the job when a rank is killed; Open MPI does not")
    paths = [ROOT, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environ = outside_mpi(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    arguments, settings = command(
        n,
        python_args,
        launcher=launcher,
        cores=core_count(),
        environ=environ | dict(env or {}),
        root=hasattr(os, "geteuid") and os.geteuid() == 0,
        elastic=elastic,
    )
    try:
        return subprocess.run(
            arguments, env=settings, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"{n} ranks hung for {timeout} s: {error.stdout!r} {error.stderr!r}")
