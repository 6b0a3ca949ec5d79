"""Which test, which code and which tutorial an item has, read from the files that say so.

A test says it in its marker, ``@pytest.mark.article("F3", code="minigrad.optim.SGD")``: ids of one
or more items, and where the code is that it holds to them. A tutorial says it in a line of its
docstring, ``Articles: C1, E15``. Files are parsed and never run, so nothing optional is needed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from minigrad.articles.items import ITEMS, Item
from minigrad.errors import InputError, unknown

__all__ = ["Mark", "Row", "ledger", "marks"]

_TESTS, _TUTORIALS = Path("tests", "documents"), Path("tutorials")
_TUTORIAL_LINE = re.compile(r"^\s*Articles:(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Mark:
    """A marker of one test: the ``ids`` it names, the ``code`` it holds ("" where there is none),
    and the ``test``, as pytest calls it."""

    ids: tuple[str, ...]
    code: str
    test: str


@dataclass(frozen=True)
class Row:
    """An item, with dotted names of code, tests ("file::name") and tutorials (files)."""

    item: Item
    code: tuple[str, ...]
    tests: tuple[str, ...]
    tutorials: tuple[str, ...]

    @property
    def state(self) -> str:
        """``"open"``: not built yet; ``"checked"`` by a test; else ``"untested"``."""
        if self.item.is_open:
            return "open"
        return "checked" if self.tests else "untested"


def ledger(root: Path) -> list[Row]:
    """A row for each item, from the tests and tutorials in the folder ``root``.

    Raises :class:`InputError` where it has no tests of the articles, as beside an installed
    package, and for a marker or tutorial that names an unknown item.
    """
    found = marks(root)
    tutorials = _tutorials(root)
    for place, ids in [*((mark.test, mark.ids) for mark in found), *tutorials.items()]:
        for id in ids:
            if id not in ITEMS:
                raise InputError(f"{place}: {unknown('item', id, ITEMS)}")
    return [
        Row(
            item,
            _distinct(mark.code for mark in found if id in mark.ids and mark.code),
            _distinct(mark.test for mark in found if id in mark.ids),
            tuple(place for place, ids in tutorials.items() if id in ids),
        )
        for id, item in ITEMS.items()
    ]


def marks(root: Path) -> list[Mark]:
    """The markers of all tests in ``root``, in the order of files and lines.

    Raises :class:`InputError` where there are no such tests, where a marker is not on a test, and
    where its arguments are not plain texts.
    """
    folder = root / _TESTS
    if not folder.is_dir():
        raise InputError(
            f"the ledger is read from the tests of the articles, and there is no folder {folder}: "
            "use a clone of the repository, installed with: python -m pip install -e ."
        )
    return [mark for path in sorted(folder.glob("test_*.py")) for mark in _marks_in(path, root)]


def _marks_in(path: Path, root: Path) -> list[Mark]:
    place = path.relative_to(root).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"), place)
    tests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    on_tests = [
        (call, f"{place}::{test.name}")
        for test in sorted(tests, key=lambda node: node.lineno)
        for decorator in test.decorator_list
        for call in _marker_calls(decorator)
    ]
    known = {id(call) for call, _ in on_tests}
    for call in _marker_calls(tree):
        if id(call) not in known:
            raise InputError(f"{place}, line {call.lineno}: put the marker 'article' on a test")
    return [_mark(call, test) for call, test in on_tests]


def _marker_calls(tree: ast.AST) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.article")
    ]


def _mark(call: ast.Call, test: str) -> Mark:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    texts = [node.value for node in given if isinstance(node, ast.Constant)]
    names = [keyword.arg for keyword in call.keywords]
    if not call.args or len(texts) != len(given) or names not in ([], ["code"]):
        raise InputError(
            f"{test}: the marker {ast.unparse(call)} needs the ids of items and perhaps a code=, "
            'all of them written out: article("F3", code="minigrad.optim.SGD")'
        )
    count = len(call.args)
    return Mark(tuple(map(str, texts[:count])), "".join(map(str, texts[count:])), test)


def _tutorials(root: Path) -> dict[str, tuple[str, ...]]:
    """The items of each tutorial that names any."""
    found = {}
    for path in sorted((root / _TUTORIALS).rglob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        ids = re.split(r"[,\s]+", " ".join(_TUTORIAL_LINE.findall(text)))
        if any(ids):
            found[path.relative_to(root).as_posix()] = _distinct(filter(None, ids))
    return found


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
