"""The command ``minigrad``: train, launch, doctor.

A person's mistake ends with one sentence on stderr and exit code 2, without a traceback
(``--debug`` shows it), on one rank or many.
"""

from __future__ import annotations

import argparse
import dataclasses
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
    from minigrad.distributed import world
    from minigrad.recipe import resumed, train
    from minigrad.settings import Settings

    parser = launch.Parser(
        prog="minigrad train",
        argument_default=argparse.SUPPRESS,  # what is not given: a run's own, or the default
        description="Train a classifier; results go to runs/NAME. Alone, or under mpirun -n N.",
    )
    parser.add_argument("data", help="digits, breast_cancer, wine, iris, or csv")
    parser.add_argument("path", nargs="?", help="the file, where data is csv")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    for field in dataclasses.fields(Settings):
        if field.name in ("data", "path"):
            continue
        option = "--" + field.name.replace("_", "-")
        text = field.metadata["help"]
        if isinstance(field.default, bool):
            parser.add_argument(option, action="store_true", help=text)
        else:
            default = field.default
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
            parser.add_argument(
                option,
                type=_sizes if isinstance(default, tuple) else type(default),
                metavar=field.metadata.get("metavar", type(default).__name__.upper()),
                help=f"{text} (default: {shown})" if shown not in ("", 0) else text,
            )
    given = vars(parser.parse_args(words))
    resume = given.pop("resume", False)
    settings = resumed(given) if resume else Settings(**given)
    comm = world()
    try:
        return train(settings, comm, resume=resume)
    except SharedError:
        raise
    except (InputError, MissingExtra) as error:  # on this rank alone: the others wait for it
        if comm.size == 1:
            raise
        print(f"minigrad: rank {comm.rank}: {error}", file=sys.stderr)
        comm.abort(2)


def _sizes(text: str) -> tuple[int, ...]:
    """``"128,64"`` as (128, 64); ``""`` as ()."""
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}': give whole numbers, such as 128,64") from error
