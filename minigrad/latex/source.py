"""The source text of a rule, and its formula."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

from minigrad.errors import InputError
from minigrad.latex.expression import latex

__all__ = ["formula_of", "source_of"]


def source_of(rule: Callable[..., Any]) -> str:
    """The source text of a function, dedented; of a lambda it alone, whatever is on its line.

    "" where no source can be found: in an interactive session, for a builtin, or where the file
    has changed since it was imported and another text stands there now.
    """
    rule = inspect.unwrap(rule)
    code = getattr(rule, "__code__", None)
    if code is None:
        return ""
    if code.co_name == "<lambda>":
        lines = linecache.getlines(code.co_filename, getattr(rule, "__globals__", None))
        return _lambda(code, "".join(lines))
    try:
        return textwrap.dedent(inspect.getsource(rule)).rstrip()
    except (OSError, TypeError):
        return ""


def formula_of(rule: Callable[..., Any], names: Mapping[str, str] | None = None) -> str | None:
    """LaTeX of what a lambda, or a function of one ``return``, gives; None where it is longer,
    holds what is no formula, or has no source. ``names`` as in :func:`latex`.

    >>> from minigrad.latex import formula_of
    >>> formula_of(optim.sgd_step)
    '\\\\theta - \\\\eta\\\\,g'
    """
    source = source_of(rule)
    if not source:
        return None
    try:
        if inspect.unwrap(rule).__name__ == "<lambda>":
            parsed = ast.parse(f"({source}\n)", mode="eval").body
            return latex(parsed.body, names) if isinstance(parsed, ast.Lambda) else None
        (function,) = ast.parse(source).body
        body = function.body if isinstance(function, ast.FunctionDef) else []
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]  # the docstring
        if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
            return None
        return latex(body[0].value, names)
    except (InputError, SyntaxError):
        return None


@lru_cache(maxsize=1024)
def _lambda(code: CodeType, text: str) -> str:
    """Of the lambdas that begin on the code's line and take its arguments, the innermost whose
    body holds all of the code's positions."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ""
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Lambda)
        and node.lineno == code.co_firstlineno
        and _arguments(node.args) == code.co_varnames[: len(_arguments(node.args))]
        and len(_arguments(node.args)) == _count(code)
    ]
    spots = [
        ((line, column), (last, end))
        for line, last, column, end in code.co_positions()
        if None not in (line, last, column, end) and end
    ]
    around = [
        node
        for node in found
        if all(_start(node.body) <= first and last <= _end(node.body) for first, last in spots)
    ]
    if not spots and len(found) > 1:
        return ""  # python -X no_debug_ranges: they cannot be told apart
    if not around:
        return ""
    node = max(around, key=_start)
    line = text.splitlines()[node.lineno - 1]
    indent = line[: len(line) - len(line.lstrip())]
    return (ast.get_source_segment(text, node) or "").replace(f"\n{indent}", "\n")


def _arguments(a: ast.arguments) -> tuple[str, ...]:
    plain = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return (*plain, *(arg.arg for arg in (a.vararg, a.kwarg) if arg))


def _count(code: CodeType) -> int:
    stars = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_argcount + code.co_kwonlyargcount + stars


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0
