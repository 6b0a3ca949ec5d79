"""Which line of a program a communication came from."""

from __future__ import annotations

from pathlib import Path
from types import FrameType

__all__ = ["call_site"]

_COMMUNICATORS = {
    "addresses", "board", "call", "call_site", "checked", "communicator", "elastic", "meeting",
    "mpi", "nccl", "run", "serial", "staging", "threads", "traced", "watch", "written_out",
}  # fmt: skip
_PACKAGE = str(Path(__file__).parent)


def call_site(frame: FrameType | None) -> str:
    """Where the code outside of the communicators is, that led to ``frame``: "FILE:LINE, in F"."""
    while frame is not None:
        path = frame.f_code.co_filename
        if not (path.startswith(_PACKAGE) and Path(path).stem in _COMMUNICATORS):
            return f"{path}:{frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return "an unknown place"
