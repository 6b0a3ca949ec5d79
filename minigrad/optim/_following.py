"""Follow a teaching step while it runs: each of its lines, the values before it and its result."""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

__all__ = ["Executed", "followed"]

Pick = Callable[[Any], Any]


class Executed(NamedTuple):
    """A line that ran: ``name`` ← ``shown``, in which branches not taken are left out and helpers
    of one line written out; in ``filled`` other helpers have become names of ``before``, which
    holds the values. Both are None where the source cannot be found."""

    name: str
    source: str
    shown: ast.expr | None
    filled: ast.expr | None
    before: dict[str, Any]
    after: Any


def followed(
    function: Callable[..., Any], names: Sequence[str], pick: Pick, *args: Any, **keywords: Any
) -> tuple[Any, list[Executed]]:
    """What ``function`` returns, and its lines as they ran, that of the first of ``names`` last.

    ``names`` are those of its results; ``pick`` takes from a value what is to be shown. Where it
    hands over to another function with ``_step`` in its name, the lines are that one's. The
    function runs once, under Python's own tracing: what is told about is the computation itself.
    """
    watched: list[_Watched] = []
    own = getattr(function, "__code__", None)

    def on_call(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if frame.f_code is own or "_step" in frame.f_code.co_name:
            watched.append(_Watched(frame.f_code, names, pick))
            return watched[-1]
        return None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        value = function(*args, **keywords)
    finally:
        sys.settrace(before)
    lines = watched[-1].lines if watched else []
    if not any(line.name == names[0] for line in lines):
        results = dict(zip(names, value if isinstance(value, tuple) else (value,)))
        lines = [Executed(n, "", None, None, {}, pick(results[n])) for n in reversed(results)]
    return value, lines


class _Watched:
    """One call: told before each line that runs, and at the return."""

    def __init__(self, code: CodeType, names: Sequence[str], pick: Pick) -> None:
        self.names, self.pick = names, pick
        self.lines: list[Executed] = []
        self._waiting: list[Executed] = []
        self._now: ast.stmt | None = None
        self._first = code.co_firstlineno - 1
        self._text, self._statements = _statements(code)

    def __call__(self, frame: FrameType, event: str, value: Any) -> _Watched:
        if event == "line":
            line = frame.f_lineno - self._first
            around = [s for s in self._statements if s.lineno <= line <= (s.end_lineno or 0)]
            statement = around[-1] if around else None
            if statement is not self._now:
                self._finish(frame.f_locals)
                self._now = statement
                self._waiting = list(self._begin(statement, {**frame.f_globals, **frame.f_locals}))
        elif event == "return" and value is not None:
            results = value if isinstance(value, tuple) else (value,)
            self._finish(dict(zip(self.names, results)))
        return self

    def _begin(self, statement: ast.stmt | None, known: dict[str, Any]) -> Iterator[Executed]:
        parts: list[tuple[str, ast.expr]] = []
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                parts = [(name, value)]
            case ast.Return(value=ast.Tuple(elts=elements)):
                parts = list(zip(self.names, elements))[::-1]
            case ast.Return(value=ast.expr() as value):
                parts = [(self.names[0], value)]
        for name, expression in parts:
            told = name != self.names[0] or (self.lines and self.lines[-1].name == name)
            if told and isinstance(expression, ast.Name) and expression.id == name:
                continue
            if isinstance(expression, ast.Starred):
                continue
            source = ast.get_source_segment(self._text, expression) or ""
            shown = _Shown(known).visit(copy.deepcopy(expression))
            helpers = _Helpers(known)
            filled = helpers.visit(copy.deepcopy(shown))
            values = _numbers_in(known) | {k: v for k, v in known.items() if _is_number(v)}
            values |= helpers.values
            used = {node.id for node in ast.walk(filled) if isinstance(node, ast.Name)}
            before = {k: self.pick(values[k]) for k in used & set(values) if _is_number(values[k])}
            text = " ".join(source.split())
            yield Executed(name, f"{name} = {text}", shown, filled, before, None)

    def _finish(self, results: Mapping[str, Any]) -> None:
        for line in self._waiting:
            if _is_number(after := results.get(line.name)):
                self.lines.append(line._replace(after=self.pick(after)))
        self._waiting = []


class _Shown(ast.NodeTransformer):
    """The line as it is shown: what was not taken is left out, helpers of one line stand here."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = known

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        taken = self.known.get(node.test.id) if isinstance(node.test, ast.Name) else None
        if isinstance(taken, bool):
            return self.visit(node.body if taken else node.orelse)
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        match node:  # h["l2"]
            case ast.Subscript(value=ast.Name(), slice=ast.Constant(value=str(name))):
                return ast.Name(name)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        match node.func:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="array_module")), attr=name):
                node.func = ast.Name(name)
            case ast.Attribute(value=ast.Name(id=module), attr=name) if inspect.ismodule(
                self.known.get(module)
            ):
                node.func = ast.Name(name)
            case ast.Name(id=name) if (written := _one_line(self.known.get(name))) is not None:
                names, body = written
                given = dict(zip(names, (self.visit(argument) for argument in node.args)))
                return self.visit(_Replaced(given).visit(body))
        return self.generic_visit(node)


class _Replaced(ast.NodeTransformer):
    def __init__(self, given: Mapping[str, ast.expr]) -> None:
        self.given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.given.get(node.id, node))


class _Helpers(ast.NodeTransformer):
    """Longer helpers, ``trust_ratio(theta, r)``, look at whole tensors: their values are taken."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known
        self.values: dict[str, Any] = {}

    def visit_Call(self, node: ast.Call) -> Any:
        helper = self.known.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if isinstance(helper, FunctionType):
            code = compile(ast.fix_missing_locations(ast.Expression(node)), "<helper>", "eval")
            name = f"{helper.__name__}_{len(self.values)}"
            self.values[name] = eval(code, self.known)
            return ast.Name(name)
        return self.generic_visit(node)


def _one_line(function: Any) -> tuple[list[str], ast.expr] | None:
    """A helper's parameters and what it returns, if that is all it does."""
    if not isinstance(function, FunctionType) or function.__name__ == "array_module":
        return None
    _, statements = _statements(function.__code__)
    match [s for s in statements if not isinstance(s, ast.Expr)]:
        case [ast.Return(value=ast.expr() as value)] if statements:
            return list(inspect.signature(function).parameters), value
    return None


def _statements(code: CodeType) -> tuple[str, list[ast.stmt]]:
    """A function's source, and its statements from outer to inner; none without source."""
    try:
        text = textwrap.dedent("".join(inspect.getsourcelines(code)[0]))
        (function,) = ast.parse(text).body
    except (OSError, SyntaxError, ValueError):
        return "", []
    body = function.body if isinstance(function, ast.FunctionDef) else []
    return text, [s for node in body for s in ast.walk(node) if isinstance(s, ast.stmt)]


def _numbers_in(known: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that a mapping among the values holds: hyper-parameters, ``h["l2"]``."""
    mappings = [value for value in known.values() if isinstance(value, Mapping)]
    return {k: v for m in mappings for k, v in m.items() if isinstance(k, str) and _is_number(v)}


def _is_number(value: Any) -> bool:
    is_array = isinstance(getattr(value, "shape", None), tuple)
    return is_array or (isinstance(value, Real) and not isinstance(value, bool))
