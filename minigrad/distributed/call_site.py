"""Which line of a program a communication came from."""

from __future__ import annotations

from pathlib import Path
from types import FrameType

__all__ = ["call_site", "outside"]

_PACKAGE = str(Path(__file__).parent)


def outside(frame: FrameType | None) -> FrameType | None:
    """The frame outside of this package that led to ``frame``."""
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame


def call_site(frame: FrameType | None) -> str:
    """Where the code outside of this package is, that led to ``frame``: "FILE:LINE, in F"."""
    frame = outside(frame)
    if frame is None:
        return "an unknown place"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
