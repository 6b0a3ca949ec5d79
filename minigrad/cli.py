"""The command ``minigrad`` and the parts that it hands over to.

A person's mistake ends with one sentence on stderr and exit code 2, without a traceback
(``--debug`` shows it), on one rank or many.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from minigrad import __version__
from minigrad.distributed.host import launched_rank
from minigrad.errors import InputError, MissingExtra, unknown
from minigrad.launch import Parser

__all__ = ["main"]

_COMMANDS = {
    "train": "train a classifier on digits, breast_cancer, wine, iris or a CSV file",
    "explain": "step through forward and backward of a computation: minigrad explain digits",
    "ask": "answer a question of the articles by an experiment; without one, list them",
    "tutorial": "run one of the fourteen tutorials; without a number, list them",
    "check": "check your answers to a tutorial's exercises: minigrad check 4",
    "articles": "list every formula, claim and erratum of the articles with its test",
    "demo": "show one idea of distributed training; without a name, list the demos",
    "launch": "start N ranks with the right mpiexec: minigrad launch -n N train digits",
    "plan": "predict which computers a training needs: memory and time of each layout of ranks",
    "doctor": "show what is installed, and what to do about what is missing",
}
_PARTS = {
    "check": "exercises",
    "demo": "demos",
    "explain": "explanation",
    "tutorial": "tutorials",
}
"""The part of minigrad whose ``main`` is a command, where the two have different names."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    # what follows "launch" and its own --debug is the job's
    end = words.index("launch") + 2 if "launch" in words[:2] else len(words)
    debug = "--debug" in words[:end]
    words = [word for word in words[:end] if word != "--debug"] + words[end:]
    try:
        command, rest = _command(words)
        if command == "train":
            return _train(rest)
        part = importlib.import_module(f"minigrad.{_PARTS.get(command, command)}")
        return int(part.main(rest))
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
    parser = Parser(
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
    from minigrad.train.together import or_end_the_job, together

    parser = Parser(
        prog="minigrad train",
        description="Train a classifier; results go to runs/NAME. Alone, or under mpirun -n N.",
    )
    add_options(parser)
    given = vars(parser.parse_args(words))
    resume = given.pop("resume", False)
    first = None if resume else Settings(**given)
    elastic, timeout = given.get("elastic", False), given.get("timeout", TIMEOUT)
    comm = elastic_world() if elastic else world(timeout)
    with or_end_the_job(comm):
        with together(comm):  # a folder may be there for one rank and not for another
            settings = first or resumed(given)
        return train(settings, comm, resume=resume)
