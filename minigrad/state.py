"""States: mappings of names to arrays, as Modules and optimizers save and load them."""

from __future__ import annotations

from collections.abc import Mapping

from minigrad.backend import Array
from minigrad.errors import InputError

__all__ = ["check_names"]


def check_names(expected: Mapping[str, Array], given: Mapping[str, Array], what: str) -> None:
    """Raise :class:`InputError` unless ``given`` has the names, shapes and dtypes of ``expected``.

    The sentence begins with ``what`` and lists all that differs.
    """
    faults = [f"missing: {name}" for name in expected if name not in given]
    faults += [f"unexpected: {name}" for name in given if name not in expected]
    for name, mine in expected.items():
        theirs = given.get(name, mine)
        if theirs.shape != mine.shape:
            faults.append(f"{name}: shape {theirs.shape} given, {mine.shape} expected")
        if theirs.dtype != mine.dtype:
            faults.append(f"{name}: {theirs.dtype} given, {mine.dtype} expected")
    if faults:
        raise InputError(f"{what}: {'; '.join(faults)}; load it into what it was saved from")
