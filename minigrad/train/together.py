"""What one rank cannot do, none goes on without: a person's mistake on some of the ranks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from minigrad.distributed.communicator import Communicator
from minigrad.errors import InputError, MissingExtra, SharedError

__all__ = ["or_end_the_job", "together"]


@contextmanager
def together(comm: Communicator) -> Iterator[None]:
    """A person's mistake that any rank meets in this block is raised on all ranks after it.

    So the job ends with one sentence instead of one per rank, or of ranks that wait for ever. The
    block must call no collectives, or the same ones on all ranks. Other exceptions pass through
    and end the job at once.
    """
    text, cause = "", None
    try:
        yield
    except (InputError, MissingExtra, OSError) as error:
        text, cause = str(error) or type(error).__name__, error
    first = next((text for text in comm.all_gather_text(text) if text), None)
    if first is not None:
        raise SharedError(first) from cause


@contextmanager
def or_end_the_job(comm: Communicator) -> Iterator[None]:
    """A person's mistake that this rank alone meets in this block is told, and ends all ranks with
    exit code 2, since the others wait for it. What all ranks raise together is passed on."""
    try:
        yield
    except SharedError:
        raise
    except (InputError, MissingExtra) as error:
        if comm.size == 1:
            raise
        print(f"minigrad: rank {comm.rank}: {error}", file=sys.stderr)
        comm.abort(2)
