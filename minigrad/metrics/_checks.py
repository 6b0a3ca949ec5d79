"""What both accumulators ask of their input."""

from __future__ import annotations

from minigrad.backend import Array
from minigrad.errors import InputError

__all__ = ["check_classes", "check_lengths", "no_samples"]


def check_classes(classes: int) -> int:
    """``classes``; raises :class:`InputError` below 2."""
    if classes < 2:
        raise InputError(f"classes is {classes}, and there must be at least 2 to tell apart")
    return int(classes)


def check_lengths(labels: Array, name: str, values: Array) -> None:
    """Raise :class:`InputError` unless there are as many ``values`` as labels."""
    if len(labels) != len(values):
        raise InputError(
            f"{len(labels)} labels came with {len(values)} {name}; give one of each for a sample"
        )


def no_samples() -> InputError:
    """The error of a measure that was asked for before anything was counted."""
    return InputError("there are no samples to measure; call update with at least one first")
