"""Whether ops record a graph: is_recording, no_grad."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

__all__ = ["is_recording", "mode", "no_grad"]

P = ParamSpec("P")
R = TypeVar("R")


class _Mode(threading.local):
    recording = True


mode = _Mode()


def is_recording() -> bool:
    """Whether ops record a graph in this thread.

    >>> mg.is_recording()
    True
    """
    return mode.recording


class no_grad:  # noqa: N801 - the field's name for it
    """Ops inside record no graph: ``with no_grad(): …``, or ``@no_grad()`` on a function.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> with mg.no_grad():
    ...     y = 2 * w
    >>> y.requires_grad
    False
    """

    def __init__(self) -> None:
        self._outer: list[bool] = []

    def __enter__(self) -> None:
        self._outer.append(mode.recording)
        mode.recording = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        mode.recording = self._outer.pop()

    def __call__(self, f: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(f)
        def without(*args: P.args, **kwargs: P.kwargs) -> R:
            with no_grad():
                return f(*args, **kwargs)

        return without
