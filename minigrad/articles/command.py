"""``minigrad articles``: the ledger, what of the articles is checked, by which test, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import minigrad
from minigrad.articles.items import KINDS
from minigrad.articles.ledger import Row, ledger
from minigrad.language import columns, language
from minigrad.parser import Parser, spoken

__all__ = ["main"]

_WORDS = {
    "en": {
        "item": "item", "title": "title", "where": "article", "code": "code", "tests": "test",
        "tutorials": "tutorial", "state": "state", "sum": "all",
        "checked": "checked", "open": "open", "untested": "without a test", "colon": ": ",
        "none": "Nothing is open.",
        "help": "List every formula, algorithm, program, question and erratum of the articles: "
        "where it is, in which code, by which test it is checked, and in which tutorial.",
        "epilog": "The tests: python -m pytest tests/documents -v. The exit code is 1 if an item "
        "that should have a test has none.",
        "only": "only what is not checked yet", "markdown": "as tables in Markdown",
    },
    "zh": {
        "item": "条目", "title": "标题", "where": "文章", "code": "代码", "tests": "测试",
        "tutorials": "教程", "state": "状态", "sum": "合计",
        "checked": "已验证", "open": "未完成", "untested": "缺少测试", "colon": "：",
        "none": "没有未完成的条目。",
        "help": "列出文章的全部公式、算法、程序、问题与勘误：出自何处，在哪段代码中，"
        "由哪个测试验证，在哪篇教程里。",
        "epilog": "运行测试：python -m pytest tests/documents -v。"
        "若应有测试的条目没有测试，退出码为 1。",
        "only": "只列出尚未验证的条目", "markdown": "输出为 Markdown 表格",
    },
}  # fmt: skip
_LISTED = ("code", "tests", "tutorials")
_STATES = ("checked", "open", "untested")


def main(words: Sequence[str] | None = None, *, root: Path | None = None) -> int:
    """Print the ledger of the clone at ``root``, by default the one that holds this package.

    The exit code is 1 where an item that is not open has no test, else 0. Raises
    :class:`InputError` where there is no clone, and as :func:`ledger` does.
    """
    say = _WORDS[lang := spoken(words)]
    parser = Parser(
        prog="minigrad articles", description=say["help"], epilog=say["epilog"], lang=lang
    )
    parser.add_language()
    parser.add_argument("--open", action="store_true", help=say["only"])
    parser.add_argument("--markdown", action="store_true", help=say["markdown"])
    given = parser.parse_args(words)
    lang = language(given.lang)
    clone = Path(minigrad.__file__).parents[1] if root is None else root
    rows = ledger(clone)
    shown = [row for row in rows if row.state != "checked"] if given.open else rows
    parts = (_markdown if given.markdown else _text)(shown, rows, lang)
    print("\n\n".join(part for part in parts if part))
    return 1 if any(row.state == "untested" for row in rows) else 0


def _text(shown: Sequence[Row], rows: Sequence[Row], lang: str) -> list[str]:
    """A block for each kind, below each item where it is found; then the counts."""
    say = _WORDS[lang]
    heads = [(row.item.id, row.item.where, row.item.title(lang), say[row.state]) for row in shown]
    lines = dict(zip((row.item.id for row in shown), columns(heads).splitlines()))
    parts = []
    for letter, names in KINDS.items():
        block = [
            f"  {line}"
            for row in shown
            if row.item.kind == letter
            for line in (lines[row.item.id], *(f"    {text}" for text in _details(row, lang)))
        ]
        parts.append("\n".join([names[lang], *block]) if block else "")
    return [*(parts if shown else [say["none"]]), columns(_counts(rows, lang))]


def _details(row: Row, lang: str) -> list[str]:
    say = _WORDS[lang]
    if row.item.is_open:
        return [row.item.reason(lang)]
    named = [(say[name], _first(getattr(row, name))) for name in _LISTED]
    return [f"{name}{say['colon']}{text}" for name, text in named if text]


def _markdown(shown: Sequence[Row], rows: Sequence[Row], lang: str) -> list[str]:
    say = _WORDS[lang]
    head = [say[name] for name in ("item", "where", "title", *_LISTED, "state")]
    table = [
        [
            row.item.id,
            row.item.where,
            row.item.title(lang),
            *(_first(getattr(row, name), "`") for name in _LISTED),
            say["colon"].join(filter(None, (say[row.state], row.item.reason(lang)))),
        ]
        for row in shown
    ]
    counts = _counts(rows, lang)
    return [_table([head, *table]) if shown else say["none"], _table(counts)]


def _counts(rows: Sequence[Row], lang: str) -> list[list[str]]:
    """How many items of each kind are in each state; a state that none is in is left out."""
    say = _WORDS[lang]
    number = Counter((row.item.kind, row.state) for row in rows)
    number.update(("sum", row.state) for row in rows)
    states = [s for s in _STATES if s != "untested" or number["sum", s]]
    kinds = {letter: names[lang] for letter, names in KINDS.items()} | {"sum": say["sum"]}
    return [
        ["", *(say[state] for state in states)],
        *([name, *(str(number[k, state]) for state in states)] for k, name in kinds.items()),
    ]


def _first(texts: Sequence[str], quote: str = "") -> str:
    """The first, and how many more there are."""
    more = f" +{len(texts) - 1}" if len(texts) > 1 else ""
    return f"{quote}{texts[0]}{quote}{more}" if texts else ""


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
