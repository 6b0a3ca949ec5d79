"""Which language a person is spoken to in, English or Chinese, and how wide its letters are."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence

from minigrad.errors import unknown

__all__ = ["LANGUAGES", "columns", "language", "width"]

LANGUAGES = ("en", "zh")


def language(given: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """``"en"`` or ``"zh"``: what was ``given``, else Chinese where the locale (LC_ALL, LC_MESSAGES,
    LANG, the first that is set) is, else English.

    Raises :class:`InputError` for other languages.
    """
    if given is not None:
        if given.lower() not in LANGUAGES:
            raise unknown("language", given, LANGUAGES)
        return given.lower()
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environ[name] for name in names if environ.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def width(text: str) -> int:
    """Columns of a terminal that ``text`` takes: Chinese characters two each, accents none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def columns(rows: Sequence[Sequence[str]]) -> str:
    """A table, its columns as wide as their widest cells."""
    widths = [max(map(width, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(cell + " " * (w - width(cell)) for cell, w in zip(row, widths)).rstrip()
        for row in rows
    )
