"""The errata: what an article prints, and what is so, in both languages."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from minigrad.articles.printed import Printed, printed

__all__ = ["ERRATA", "Erratum"]


@dataclass(frozen=True)
class Erratum:
    """What is ``printed``, perhaps in several sections; what is so, in ``en`` and ``zh``; and the
    right ``formulas`` in LaTeX, if there are any."""

    printed: tuple[Printed, ...]
    en: str
    zh: str
    formulas: tuple[str, ...]

    def text(self, language: str) -> str:
        """What is so, in ``"en"`` or ``"zh"``."""
        return self.zh if language == "zh" else self.en


def _read() -> dict[str, Erratum]:
    text = (files("minigrad.articles") / "errata.toml").read_text(encoding="utf-8")
    return {
        id: Erratum(
            tuple(map(printed, item["printed"])),
            item["en"],
            item["zh"],
            tuple(item.get("formulas", ())),
        )
        for id, item in tomllib.loads(text).items()
    }


ERRATA = _read()
"""By the id of the item, "E3"."""
