"""Which language a person is spoken to in: English or Chinese."""

from __future__ import annotations

import os
from collections.abc import Mapping

from minigrad.errors import unknown

__all__ = ["LANGUAGES", "language"]

LANGUAGES = ("en", "zh")


def language(given: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """``"en"`` or ``"zh"``: what was ``given``, else Chinese where the locale (LC_ALL, LC_MESSAGES,
    LANG, the first that is set) is, else English.

    Raises :class:`InputError` for other languages.
    """
    if given is not None:
        if given not in LANGUAGES:
            raise unknown("language", given, LANGUAGES)
        return given
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environ[name] for name in names if environ.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"
