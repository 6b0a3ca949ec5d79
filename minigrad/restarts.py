"""``minigrad launch --restarts N``: a job that dies of a failure is started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minigrad import checkpoint
from minigrad.errors import InputError, MissingExtra

__all__ = ["VARIABLE", "with_restarts"]

VARIABLE = "MINIGRAD_RESTART"
"""Tells each rank how often its job has been started before: 0 at first."""

_FINAL = (0, 2, 130, 143)
"""Exit codes of what has ended well, of a person's mistake, and of SIGINT and SIGTERM."""

_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


def with_restarts(
    start: Callable[[bool], tuple[Sequence[str], Mapping[str, str]]],
    restarts: int,
    saved: Path | None = None,
) -> int:
    """Run a job until it ends well, but start it at most ``restarts`` times again.

    ``start(resume)`` gives arguments and environment; ``resume`` is true once the job has written
    the checkpoint ``saved``. The result is the last exit code. A signal to this process is passed
    on, and ends it all.
    """
    before = _mark(saved)  # an earlier run's checkpoint is none of this job's
    job: subprocess.Popen[bytes] | None = None
    signals: list[int] = []
    waiting: list[int] = []

    def pass_on(*caught: Any) -> None:
        signals.extend(caught[:1])
        waiting.extend(caught[:1])
        with contextlib.suppress(IndexError):  # another call of this has passed them on
            while job is not None and waiting:
                job.send_signal(waiting.pop(0))

    known = [getattr(signal, name) for name in _PASSED_ON if hasattr(signal, name)]
    heard = [number for number in known if signal.getsignal(number) != signal.SIG_IGN]  # nohup
    handlers = {number: signal.signal(number, pass_on) for number in heard}
    code = attempt = 0
    try:
        while True:
            saves = _mark(saved) not in (None, before)
            if attempt:
                _tell(code, f"attempt {attempt + 1} of {restarts + 1}", saved if saves else None)
            arguments, environ = start(saves)
            # in a session of its own, so that Ctrl-C arrives once, from here
            job = subprocess.Popen(
                arguments, env={**environ, VARIABLE: str(attempt)}, start_new_session=True
            )
            pass_on()  # what came before there was a job
            code, job = job.wait(), None
            code = 128 - code if code < 0 else code
            if signals or code in _FINAL or attempt == restarts:
                return code
            attempt += 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _mark(saved: Path | None) -> tuple[int, int] | None:
    """What tells one checkpoint file from another of the same name."""
    try:
        found = os.stat(saved) if saved else None
    except OSError:
        return None
    return found and (found.st_ino, found.st_mtime_ns)


def _tell(code: int, attempt: str, saved: Path | None) -> None:
    where = "begins anew"
    if saved is not None:
        try:
            where = f"goes on after epoch {checkpoint.load(saved)[1]['run']['epoch']}"
        except (InputError, KeyError, MissingExtra):
            where = f"goes on from {saved}"
    print(
        f"minigrad launch: the job ended with code {code}; {attempt} {where}",
        file=sys.stderr,
        flush=True,
    )
