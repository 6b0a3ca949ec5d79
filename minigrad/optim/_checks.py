"""What a hyper-parameter may be, and the sentence for one that is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeAlias

from minigrad.errors import InputError, unknown

__all__ = [
    "Check",
    "checked",
    "count",
    "flag",
    "fraction",
    "non_negative",
    "one_of",
    "positive",
    "rate",
]

Check: TypeAlias = Callable[[str, Any], Any]
"""``check(what, value)`` gives the value as a plain Python one, or raises ``InputError``."""


def positive(what: str, value: Any) -> float:
    """A finite number above 0."""
    return _number(what, value, "a number above 0", lambda x: 0 < x < math.inf)


def non_negative(what: str, value: Any) -> float:
    """A finite number, 0 or above."""
    return _number(what, value, "0 or a number above it", lambda x: 0 <= x < math.inf)


def fraction(what: str, value: Any) -> float:
    """A number in [0, 1)."""
    return _number(what, value, "at least 0 and below 1", lambda x: 0 <= x < 1)


def count(what: str, value: Any) -> int:
    """A whole number, 1 or above."""
    return int(_number(what, value, "a whole number above 0", lambda x: x >= 1 and x % 1 == 0))


def flag(what: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{what} is {value!r}, but must be True or False")
    return value


def one_of(*choices: str) -> Check:
    """A check for one of the names in ``choices``."""

    def check(what: str, value: Any) -> str:
        if value not in choices:
            raise unknown(what, str(value), choices)
        return str(value)

    return check


def rate(what: str, value: Any) -> Any:
    """A learning rate: a number above 0, or a schedule, which is called with the step."""
    return value if callable(value) else positive(what, value)


def checked(
    values: Mapping[str, Any], checks: Mapping[str, Check], owner: str, where: str = ""
) -> dict[str, Any]:
    """``values``, each through the check of its name; an unknown name raises ``InputError``."""
    for name in values:
        if name not in checks:
            raise unknown(f"hyper-parameter of {owner}{where}", name, checks)
    return {name: checks[name](f"{owner}: {name}{where}", value) for name, value in values.items()}


def _number(what: str, value: Any, expected: str, accept: Callable[[float], bool]) -> float:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not accept(float(value)):
        raise InputError(f"{what} is {value!r}, but must be {expected}")
    return float(value)  # a NumPy scalar would turn float32 arrays into float64
