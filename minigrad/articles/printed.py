"""Formulas, lines of programs and sentences of the articles, as they are printed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

__all__ = ["PRINTED", "Printed", "printed"]

_KINDS: tuple[Literal["latex"], Literal["code"], Literal["text"]] = ("latex", "code", "text")


@dataclass(frozen=True)
class Printed:
    """What an article prints for an item of the ledger, and in which section.

    ``lines`` are LaTeX, lines of a program, or sentences in Chinese; of sentences ``en`` is the
    translation, line by line, which is ours.
    """

    where: str
    kind: Literal["latex", "code", "text"]
    lines: tuple[str, ...]
    en: tuple[str, ...] = ()


def printed(item: Mapping[str, Any]) -> Printed:
    """A quotation as it stands in a TOML file: ``where``, and one of the kinds."""
    (kind,) = (kind for kind in _KINDS if kind in item)
    return Printed(item["where"], kind, tuple(item[kind]), tuple(item.get("en", ())))


def _read() -> dict[str, Printed]:
    text = (files("minigrad.articles") / "printed.toml").read_text(encoding="utf-8")
    return {id: printed(item) for id, item in tomllib.loads(text).items()}


PRINTED = _read()
"""By the id of the item, "F3"."""
