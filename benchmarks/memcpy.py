"""The floor of all that memory bounds: moving as many bytes, and doing nothing with them."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Work
from minigrad.backend import aligned_zeros
from minigrad.kernels.build import host_library
from minigrad.kernels.source import Source

__all__ = ["memcpy"]

FILE = Path(__file__).with_suffix(".cpp")


def memcpy(moved: int, threads: int = 1) -> Work | None:
    """Reads ``moved``/2 bytes and writes as many, on so many threads of the OpenMP that kernels/
    is compiled with. ``None`` without a compiler."""
    library = _compiled()
    if library is None:
        return None
    length = moved // 2
    to, origin = (aligned_zeros(np, length, np.uint8) for _ in range(2))
    to[:], origin[:] = 1, 2  # now each has memory of its own
    move = library.move
    given = (
        ctypes.c_void_p(to.ctypes.data), ctypes.c_void_p(origin.ctypes.data),
        ctypes.c_longlong(length), ctypes.c_int(threads),
    )  # fmt: skip

    def work(_keep: Any = origin) -> Any:
        move(*given)
        return to

    return work


@cache
def _compiled() -> ctypes.CDLL | None:
    text = FILE.read_text(encoding="utf-8")
    return host_library(Source(FILE.stem, FILE, {FILE.name: text}, {}, {}), "float32")
