"""What a person is told when something is wrong: one sentence, no traceback needed."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any

__all__ = ["InputError", "MissingExtra", "SharedError", "require", "unknown"]


class InputError(ValueError):
    """A person's mistake: the message says what was given, what was expected and what to do."""


class SharedError(InputError):
    """A mistake that all ranks of a job raise together, so that one of them is enough to tell."""


class MissingExtra(ImportError):
    """An optional part is not installed; the message names the extra that brings it."""


def require(module: str, extra: str) -> Any:
    """Import an optional ``module``, or raise one sentence that names the ``extra`` to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"this needs {module.partition('.')[0]}, which could not be imported ({error}); "
            f"in minigrad's folder run: python -m pip install -e '.[{extra}]'"
        ) from error


def unknown(kind: str, given: str, choices: Iterable[str]) -> InputError:
    """The error for a name that is not among ``choices``; suggests the nearest one.

    >>> from minigrad.errors import unknown
    >>> unknown("colour", "gren", ["red", "green"])
    InputError("unknown colour 'gren': did you mean 'green'? choose one of green, red")
    """
    names = sorted(choices)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return InputError(f"unknown {kind} '{given}': {hint}choose one of {', '.join(names)}")
