"""Calls in formulas: which function is meant, and which of them stand for plain syntax."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import NamedTuple

from minigrad.latex.piece import FACTOR, POWER, SUM, Piece
from minigrad.latex.symbols import FENCES, FUNCTIONS, operator, symbol

__all__ = ["Called", "applied", "called", "plain"]

_MODULES = ("xp", "np", "numpy", "math", "cp", "cupy")
_SPELLED: dict[str, type[ast.operator]] = {
    "add": ast.Add, "subtract": ast.Sub, "multiply": ast.Mult, "divide": ast.Div,
    "power": ast.Pow, "pow": ast.Pow, "matmul": ast.MatMult, "product": ast.MatMult,
    "dot": ast.MatMult, "true_divide": ast.Div,
}  # fmt: skip
_REDUCTIONS = ("sum", "mean", "max", "min", "prod", "var", "std")
_UNSAID = ("keepdims", "out", "dtype")


class Called(NamedTuple):
    """A function by name, with what it is applied to; a method's object comes first."""

    name: str
    args: list[ast.expr]
    keywords: dict[str, ast.expr]
    dotted: bool


def called(node: ast.Call) -> Called | None:
    """What ``node`` calls, without the array module; None where it is no function with a name."""
    args = [arg for arg in node.args if not _is_module(arg)]
    if any(isinstance(arg, ast.Starred) for arg in args):
        return None
    keywords = {k.arg: k.value for k in node.keywords if k.arg and k.arg not in _UNSAID}
    if len(keywords) < sum(k.arg not in _UNSAID for k in node.keywords):
        return None  # **h
    func = node.func
    if isinstance(func, ast.Name):
        if func.id == "within" and args and isinstance(args[0], ast.Name):
            return Called(args[0].id, args[1:], keywords, False)
        return Called(func.id, args, keywords, False)
    if not isinstance(func, ast.Attribute):
        return None
    return Called(
        func.attr, args if _is_module(func.value) else [func.value, *args], keywords, True
    )


def plain(call: Called) -> ast.expr | None:
    """The operator, power or choice that a call spells out, if it does."""
    name, args = call.name, call.args
    if call.keywords:
        return None
    match name, args:
        case ("where", [test, then, other]):
            return ast.IfExp(test, then, other)
        case (_, [a, b]) if name in _SPELLED:
            return ast.BinOp(a, _SPELLED[name](), b)
        case ("square", [x]):
            return ast.BinOp(x, ast.Pow(), ast.Constant(2))
        case ("negative" | "neg", [x]):
            return ast.UnaryOp(ast.USub(), x)
        case ("log1p", [x]):
            return ast.Call(ast.Name("log"), [ast.BinOp(ast.Constant(1), ast.Add(), x)], [])
        case ("expm1", [x]):
            return ast.BinOp(ast.Call(ast.Name("exp"), [x], []), ast.Sub(), ast.Constant(1))
        case ("transpose", [x]):
            return ast.Attribute(x, "T")
        case ("swapaxes", [x, a, b]) if {ast.unparse(a), ast.unparse(b)} == {"-1", "-2"}:
            return ast.Attribute(x, "T")
    return None


def applied(call: Called, text: Callable[..., str], names: Mapping[str, str]) -> Piece:
    """The function with its arguments; ``text(node, level, first)`` translates these."""
    name, args, keywords = call.name, call.args, dict(call.keywords)
    if len(args) == 1 and not keywords:
        if name == "exp":
            return Piece(f"e^{{{text(args[0])}}}", POWER)
        if name == "sqrt":
            return Piece(rf"\sqrt{{{text(args[0])}}}")
        if name in FENCES:
            left, right = FENCES[name]
            return Piece(rf"\left{left}{text(args[0])}\right{right}")
    head = names.get(name) or FUNCTIONS.get(name) or operator(name)
    if name in _REDUCTIONS:
        axis = keywords.pop("axis", None)
        if call.dotted and len(args) == 2:
            args, axis = args[:1], args[1]
        if axis is not None and ast.unparse(axis) != "None":
            word = "" if isinstance(axis, ast.Name) else r"\text{axis }"
            head += f"_{{{word}{text(axis)}}}"
        if name == "sum" and len(args) == 1 and not keywords:
            return Piece(f"{head} {text(args[0], SUM, False)}", SUM)
    inner = [text(arg) for arg in args]
    inner += [f"{symbol(key)} = {text(value)}" for key, value in keywords.items()]
    return Piece(rf"{head}\left({', '.join(inner)}\right)", FACTOR)


def _is_module(node: ast.expr) -> bool:
    """``xp``, ``np.linalg``, ``array_module(v)``."""
    if isinstance(node, ast.Attribute):
        return _is_module(node.value)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "array_module"
    return isinstance(node, ast.Name) and node.id in _MODULES
