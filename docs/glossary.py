"""The words of docs/glossary.toml: as data, and as the page of the site."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

__all__ = ["Term", "markdown", "patterns", "terms"]

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "glossary.toml"
_WHERE = re.compile(r"D[0-4] §\d+(\.\d+)*")
_TITLE = {
    "en": "# Glossary\n\nThe words of minigrad and of the five articles, with the Chinese ones.",
    "zh": "# 术语表\n\nminigrad 与五篇文章的用语，按英文排序。",
}
_INDEX = "按中文的拼音查找："
_FIRST = "啊芭擦搭蛾发噶哈击喀垃妈拿哦啪期然撒塌挖昔压匝"
"""The first common character of each Pinyin letter below, in the order of GB 2312."""
_LETTERS = "ABCDEFGHJKLMNOPQRSTWXYZ"
_READ = {"调": "T", "重": "C", "阈": "Y"}
"""Characters that GB 2312 keeps under another reading, or not among the common ones."""
_ALSO = {"en": "Also: ", "zh": "又称："}
_ARTICLES = {"en": "Articles: ", "zh": "文章："}
_TUTORIAL = {"en": "Tutorial ", "zh": "教程 "}


@dataclass(frozen=True)
class Term:
    """An entry of docs/glossary.toml, whose first lines say what the fields are."""

    en: str
    zh: str
    means_en: str
    means_zh: str
    also: tuple[str, ...] = ()
    also_zh: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    tutorial: int | None = None
    check: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """What a reference can name: the English term and, where it differs, the Chinese one."""
        return (self.en,) if self.en.lower() == self.zh.lower() else (self.en, self.zh)


def terms(file: Path = FILE) -> tuple[Term, ...]:
    """The entries of ``file``, checked. Raises :class:`ValueError` with a sentence."""
    with file.open("rb") as stream:
        read = tomllib.load(stream)["term"]
    found: list[Term] = []
    taken: dict[str, str] = {}
    for entry in read:
        name = entry.get("en", "an entry without en")
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        try:
            term = Term(**fields)
        except TypeError as error:
            raise ValueError(f"{file.name}: {name}: {error}") from None
        if found and term.en.lower() < found[-1].en.lower():
            raise ValueError(f"{file.name}: '{term.en}' should stand before '{found[-1].en}'")
        for word in term.names:
            if word.lower() in taken:
                other = taken[word.lower()]
                raise ValueError(f"{file.name}: '{word}' is the name of '{other}' and '{term.en}'")
            taken[word.lower()] = term.en
        if bad := [place for place in term.where if not _WHERE.fullmatch(place)]:
            raise ValueError(f"{file.name}: {term.en}: where is like 'D2 §3.2', not '{bad[0]}'")
        if term.tutorial is not None and not 1 <= term.tutorial <= 14:
            raise ValueError(f"{file.name}: {term.en}: tutorial is 1 to 14, not {term.tutorial}")
        found.append(term)
    return tuple(found)


@cache
def patterns() -> tuple[tuple[Term, re.Pattern[str]], ...]:
    """Every term with a pattern that finds it in an English sentence, the longest first."""
    longest_first = sorted(terms(), key=lambda term: -len(term.en))
    return tuple((term, _pattern(term)) for term in longest_first)


def _pattern(term: Term) -> re.Pattern[str]:
    plain = re.sub(r"[\W_]", "", term.en).lower()
    forms = [term.en, *(w for w in term.also if re.sub(r"[\W_]", "", w).lower() == plain)]
    return re.compile(
        rf"(?<![\w-])(?:{'|'.join(map(_inflected, forms))})(?![\w-])",
        re.ASCII if term.en[0].isupper() else re.ASCII | re.IGNORECASE,
    )


def _inflected(form: str) -> str:
    """A pattern of singular and plural, with either spelling, with hyphens or without."""
    words = [re.escape(w) for w in re.split(r"[-\s]+", form)]
    words = [re.sub(r"is(?=(ation|ing|er|ed|e)$)", "i[sz]", w) for w in words]
    for ending, plural in (("y", "ies"), ("um", "a"), ("is", "es"), ("ix", "ices")):
        if words[-1].endswith(ending):
            words[-1] = f"{words[-1].removesuffix(ending)}(?:{ending}|{plural})"
            break
    else:
        words[-1] += "(?:s|es)?"
    return r"[-–\s]*".join(words)


def markdown(language: str, tutorials: Path = ROOT / "tutorials") -> str:
    """The glossary page in ``language`` ("en" or "zh"), as MyST Markdown.

    Every entry can be referred to by its English and by its Chinese term. It links to its
    tutorial where ``tutorials`` has that file.
    """
    entries = terms()
    pages = {int(path.name[:2]): path.stem for path in tutorials.glob("[0-9][0-9]_*.py")}
    parts = [_TITLE[language]]
    if language == "zh":
        names = sorted((_letter(term.zh), term.zh.encode("gb18030"), term.zh) for term in entries)
        parts.append(_INDEX)
        for letter, listed in groupby(names, key=lambda name: name[0]):
            links = " · ".join(f"{{term}}`{name}`" for _, _, name in listed)
            parts.append(f"**{letter}** {links}")
    for letter, group in groupby(entries, key=lambda term: term.en[0].upper()):
        body = "\n\n".join(_entry(term, language, pages) for term in group)
        parts.append(f"## {letter}\n\n````{{glossary}}\n{body}\n````")
    return "\n\n".join(parts) + "\n"


def _letter(name: str) -> str:
    """The Latin letter under which a reader looks for ``name``."""
    if name[0].isascii():
        return name[0].upper()
    codes = [character.encode("gb18030") for character in _FIRST]
    return _READ.get(name[0]) or _LETTERS[bisect_right(codes, name[0].encode("gb18030")) - 1]


def _entry(term: Term, language: str, pages: dict[int, str]) -> str:
    zh = language == "zh"
    names = term.names[::-1] if zh else term.names
    comma, facts = "、" if zh else ", ", []
    if term.also:
        facts.append(_ALSO[language] + comma.join(term.also))
    if term.where:
        facts.append(_ARTICLES[language] + comma.join(term.where))
    if term.tutorial is not None:
        text = f"{_TUTORIAL[language]}{term.tutorial}"
        page = pages.get(term.tutorial)
        facts.append(f"{{doc}}`{text} </tutorials/{page}>`" if page else text)
    lines = [term.means_zh if zh else term.means_en, *([" · ".join(facts)] if facts else [])]
    return "\n".join(names) + "\n" + "\n\n".join(f"  {line}" for line in lines)
