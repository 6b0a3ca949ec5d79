"""What docs/formulas.toml says of the articles' formulas, with those drawn that stand in code."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from minigrad.latex import latex, source_of

__all__ = ["FILE", "Formula", "drawn", "formulas"]

FILE = Path(__file__).parent / "formulas.toml"
_NAMES = {"lr": r"\eta_0", "end": r"\eta_e", "decay": r"\text{decay}", "T": "T"}
"""How the fields of a schedule are written."""


@dataclass(frozen=True)
class Formula:
    """What is computed for an item (LaTeX, a line each), how it is called, and a note."""

    lines: tuple[str, ...]
    call: str
    en: str
    zh: str

    def note(self, language: str) -> str:
        """The note in ``"en"`` or ``"zh"``."""
        return self.zh if language == "zh" else self.en


@cache
def formulas() -> dict[str, Formula]:
    """All of them, by the id of the ledger's item."""
    return {
        id: Formula(
            tuple(
                line
                for given in item["formulas"]
                for line in ([given] if isinstance(given, str) else drawn(**given))
            ),
            item["call"].strip("\n"),
            item["en"],
            item["zh"],
        )
        for id, item in tomllib.loads(FILE.read_text(encoding="utf-8")).items()
    }


def drawn(
    code: str,
    given: Mapping[str, Any] | None = None,
    left: str = r"\theta",
    arrow: str = "",
    names: Mapping[str, str] | None = None,
) -> Iterator[str]:
    r"""LaTeX of the assignments of a function, ``code`` its dotted name, and of what it returns.

    Branches are taken as the values ``given`` say; of several results the first is shown, as
    ``left``, after a sign that ``arrow`` can set. ``names`` are written so: see :func:`latex`.
    """
    (function,) = ast.parse(source_of(_found(code))).body
    assert isinstance(function, ast.FunctionDef)
    settings = {"self": None, **(given or {})}
    written = _NAMES | dict(names or {})
    # θ is replaced; anything else that is returned is a value
    sign = arrow or (r"\leftarrow" if left == r"\theta" else "=")
    for statement in _taken(function.body, settings):
        simple = _Plain(settings).visit(statement)
        if isinstance(simple, ast.Assign) and isinstance(simple.targets[0], ast.Name):
            name = latex(simple.targets[0].id, written)
            yield rf"{name} \leftarrow {latex(simple.value, written)}"
        if isinstance(simple, ast.Return) and simple.value is not None:
            value = simple.value
            first = value.elts[0] if isinstance(value, ast.Tuple) else value
            yield f"{left} {sign} {latex(first, written)}"


def _found(code: str) -> Any:
    parts = code.split(".")
    found: Any = import_module(".".join(parts[:2]))
    for name in parts[2:]:
        found = getattr(found, name)
    return getattr(found, "__wrapped__", found)


def _taken(body: list[ast.stmt], given: Mapping[str, Any]) -> Iterator[ast.stmt]:
    """The statements that are run, up to the first return."""
    for statement in body:
        if isinstance(statement, ast.If):
            taken = statement.body if _value(statement.test, given) else statement.orelse
            yield from _taken(taken, given)
            if taken and isinstance(taken[-1], ast.Return):
                return
        else:
            yield statement


def _value(test: ast.expr, given: Mapping[str, Any]) -> bool:
    return bool(eval(ast.unparse(test), {}, dict(given)))


class _Plain(ast.NodeTransformer):
    """``self.lr`` is ``lr``, and a choice that the settings decide is what they choose."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return ast.Name(node.attr)
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        return self.visit(node.body if _value(node.test, self.given) else node.orelse)
