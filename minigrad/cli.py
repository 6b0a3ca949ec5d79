"""The command ``minigrad``: train, launch, doctor.

A person's mistake ends with one sentence on stderr and exit code 2, without a traceback
(``--debug`` shows it), on one rank or many.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from minigrad import __version__, launch
from minigrad.distributed.host import launched_rank
from minigrad.errors import InputError, MissingExtra, SharedError, unknown

__all__ = ["main"]

_COMMANDS = {
    "train": "train a classifier on digits, breast_cancer, wine, iris or a CSV file",
    "launch": "start N ranks with the right mpiexec: minigrad launch -n N train digits",
    "doctor": "show what is installed, and what to do about what is missing",
    "plan": "predict which computers a training needs: memory and time of each layout of ranks",
    "demo": "show one idea of distributed training; without a name, list the demos",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    # what follows "launch" and its own --debug is the job's
    end = words.index("launch") + 2 if "launch" in words[:2] else len(words)
    debug = "--debug" in words[:end]
    words = [word for word in words[:end] if word != "--debug"] + words[end:]
    try:
        command, rest = _command(words)
        if command == "launch":
            return launch.main(rest)
        if command == "doctor":
            from minigrad import doctor

            return doctor.main(rest)
        if command == "plan":
            from minigrad import plan

            return plan.main(rest)
        if command == "demo":
            from minigrad import demos

            return demos.main(rest)
        return _train(rest)
    except KeyboardInterrupt:
        print("minigrad: interrupted", file=sys.stderr)
        return 130
    except (InputError, MissingExtra) as error:
        if debug:
            raise
        if launched_rank(os.environ) == 0:  # all ranks raise it; one tells
            print(f"minigrad: {error}", file=sys.stderr)
        return 2


def _command(words: Sequence[str]) -> tuple[str, list[str]]:
    listing = "\n".join(f"  {name:<8} {text}" for name, text in _COMMANDS.items())
    parser = launch.Parser(
        prog="minigrad",
        description="A deep-learning framework small enough to read.",
        usage="minigrad [--version] COMMAND …",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"commands:\n{listing}\n\n'minigrad COMMAND --help' shows what a command takes.",
    )
    parser.add_argument("--version", action="version", version=f"minigrad {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the tracebacks of errors")
    parser.add_argument("command", help=argparse.SUPPRESS)
    command = parser.parse_args(words[:1] or ["--help"]).command
    if command not in _COMMANDS:
        raise unknown("command", command, _COMMANDS)
    return command, list(words[1:])


def _train(words: Sequence[str]) -> int:
    from minigrad.distributed import elastic_world, world
    from minigrad.distributed.mpi import TIMEOUT
    from minigrad.recipe import resumed, train
    from minigrad.settings import Settings, add_options
    from minigrad.train import together

    parser = launch.Parser(
        prog="minigrad train",
        description="Train a classifier; results go to runs/NAME. Alone, or under mpirun -n N.",
    )
    add_options(parser)
    given = vars(parser.parse_args(words))
    resume = given.pop("resume", False)
    first = None if resume else Settings(**given)
    elastic, timeout = given.get("elastic", False), given.get("timeout", TIMEOUT)
    comm = elastic_world() if elastic else world(timeout)
    try:
        with together(comm):  # a folder may be there for one rank and not for another
            settings = first or resumed(given)
        return train(settings, comm, resume=resume)
    except SharedError:
        raise
    except (InputError, MissingExtra) as error:  # on this rank alone: the others wait for it
        if comm.size == 1:
            raise
        print(f"minigrad: rank {comm.rank}: {error}", file=sys.stderr)
        comm.abort(2)
