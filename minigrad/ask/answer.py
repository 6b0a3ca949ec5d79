"""What an experiment hands back."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Answer"]


class Answer(NamedTuple):
    """What was measured by name, what it says in three sentences of each language, and a
    matplotlib Figure of :func:`minigrad.figure.new_figure`."""

    numbers: dict[str, float]
    en: tuple[str, str, str]
    zh: tuple[str, str, str]
    figure: Any
