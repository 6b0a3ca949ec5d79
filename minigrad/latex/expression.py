"""Python expressions as LaTeX, from their syntax tree, with the fewest parentheses."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby

from minigrad.errors import InputError
from minigrad.latex.calls import applied, called, plain
from minigrad.latex.piece import ADDITION, ATOM, FACTOR, LOGIC, POWER, PRODUCT, RELATION, SUM, Piece
from minigrad.latex.symbols import CONSTANTS, number, operator, symbol

__all__ = ["latex"]

_RELATIONS = {
    ast.Gt: ">", ast.Lt: "<", ast.GtE: r"\ge", ast.LtE: r"\le", ast.Eq: "=", ast.NotEq: r"\ne",
}  # fmt: skip
_LOGIC = {ast.And: r" \land ", ast.Or: r" \lor ", ast.BitAnd: r" \land ", ast.BitOr: r" \lor "}


def latex(expression: str | ast.expr, names: Mapping[str, str] | None = None) -> str:
    r"""LaTeX of a Python expression: ``g * y / (1 - beta1**t)`` is \frac{g\,y}{1 - \beta_{1}^{t}}.

    ``names`` gives the LaTeX of names where it should be another: ``{"g": r"\bar{y}"}``. Both ``*``
    and ``@`` are juxtaposition, equal neighbours a power; a comparison that is calculated with is
    an Iverson bracket; the array module, ``out=``, ``dtype=`` and ``keepdims=`` are not shown.
    Raises :class:`InputError` for what is no formula, such as a comprehension or a lambda.

    >>> from minigrad.latex import latex
    >>> latex("m / (1 - beta1**t)")
    '\\frac{m}{1 - \\beta_{1}^{t}}'
    """
    if isinstance(expression, str):
        try:
            expression = ast.parse(expression.strip(), mode="eval").body
        except (SyntaxError, ValueError) as error:
            raise InputError(f"{expression!r} is no Python expression: {error}") from error
    return _Translator(names or {}).piece(expression).text


class _Translator:
    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def piece(self, node: ast.expr) -> Piece:
        found: Callable[[ast.expr], Piece] | None = getattr(
            self, f"_{type(node).__name__.lower()}", None
        )
        if found is None:
            raise InputError(f"{ast.unparse(node)!r} cannot be written as a formula")
        return found(node)

    def text(self, node: ast.expr, level: int = LOGIC, first: bool = True) -> str:
        return self.piece(node).within(level, first)

    def _name(self, node: ast.Name) -> Piece:
        text = self.names.get(node.id) or symbol(node.id)
        return Piece(text, POWER if "^" in text else ATOM)

    def _constant(self, node: ast.Constant) -> Piece:
        value = node.value
        if value is None or value is Ellipsis or isinstance(value, bool):
            return Piece(r"\ldots" if value is Ellipsis else rf"\text{{{value}}}")
        if not isinstance(value, int | float):
            raise InputError(f"{value!r} cannot be written as a formula")
        text = number(value)
        return Piece(text, PRODUCT if "cdot" in text else POWER if "^" in text else ATOM)

    def _unaryop(self, node: ast.UnaryOp) -> Piece:
        if isinstance(node.op, ast.USub):
            operand = self.piece(node.operand)
            level = SUM if operand.level == SUM else PRODUCT
            return Piece("-" + operand.within(SUM, first=False), level)
        if isinstance(node.op, ast.UAdd):
            return self.piece(node.operand)
        return Piece(r"\lnot " + self.text(node.operand, FACTOR, first=False), LOGIC)

    def _binop(self, node: ast.BinOp) -> Piece:
        a, b = node.left, node.right
        match node.op:
            case ast.Add():
                return Piece(
                    f"{self.text(a, ADDITION)} + {self.text(b, ADDITION, False)}", ADDITION
                )
            case ast.Sub():
                return Piece(f"{self.text(a, ADDITION)} - {self.text(b, SUM, False)}", ADDITION)
            case ast.Mult() | ast.MatMult():
                return self._product(list(_factors(node, type(node.op))), type(node.op))
            case ast.Div():
                top, bottom = self.piece(a), self.text(b)
                if top.text.startswith("-") and top.level >= SUM:
                    return Piece(rf"-\frac{{{top.text[1:]}}}{{{bottom}}}", PRODUCT)
                return Piece(rf"\frac{{{top.within(LOGIC)}}}{{{bottom}}}", FACTOR)
            case ast.Pow():
                return Piece(f"{self.text(a, ATOM, False)}^{{{self.text(b)}}}", POWER)
            case ast.FloorDiv():
                inner = rf"\frac{{{self.text(a)}}}{{{self.text(b)}}}"
                return Piece(rf"\left\lfloor {inner}\right\rfloor")
            case ast.Mod():
                inner = rf"{self.text(a, FACTOR)} \bmod {self.text(b, FACTOR, False)}"
                return Piece(rf"\left({inner}\right)")
            case ast.BitAnd() | ast.BitOr():
                return self._logic(node.op, [a, b])
        raise InputError(f"{ast.unparse(node)!r} cannot be written as a formula")

    def _product(self, nodes: list[ast.expr], kind: type[ast.operator]) -> Piece:
        pieces: list[Piece] = []
        for key, equal in groupby(nodes, ast.dump):
            same = list(equal)
            if len(same) > 1 and kind is ast.Mult and key.startswith("Name("):
                pieces.append(Piece(f"{self.text(same[0], ATOM)}^{{{len(same)}}}", POWER))
            else:
                pieces += (self._factor(node, kind) for node in same)
        first, *rest = pieces
        if not rest:
            return first
        text = first.within(PRODUCT)
        for i, piece in enumerate(rest, 1):
            last = i == len(rest)
            factor = piece.within(SUM if last and piece.level == SUM else FACTOR, False)
            dot = factor[0].isdigit() or (text[-1].isdigit() and factor.startswith(r"\frac"))
            text += (r" \cdot " if dot else r"\,") + factor
        return Piece(text, SUM if pieces[-1].level == SUM else PRODUCT)

    def _factor(self, node: ast.expr, kind: type[ast.operator]) -> Piece:
        """A factor; a matrix product among numbers' products, or the other way round, in brackets:
        the two do not associate."""
        piece = self.piece(node)
        products = (ast.Mult, ast.MatMult)
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, products)
            and type(node.op) is not kind
        ):
            return Piece(rf"\left({piece.text}\right)", FACTOR)
        return piece

    def _compare(self, node: ast.Compare) -> Piece:
        text = self.text(node.left, ADDITION)
        for relation, operand in zip(node.ops, node.comparators):
            if type(relation) not in _RELATIONS:
                raise InputError(f"{ast.unparse(node)!r} cannot be written as a formula")
            text += f" {_RELATIONS[type(relation)]} {self.text(operand, ADDITION)}"
        return Piece(text, RELATION)

    def _boolop(self, node: ast.BoolOp) -> Piece:
        return self._logic(node.op, node.values)

    def _logic(self, op: ast.boolop | ast.operator, nodes: list[ast.expr]) -> Piece:
        return Piece(_LOGIC[type(op)].join(self.text(n, RELATION) for n in nodes), LOGIC)

    def _ifexp(self, node: ast.IfExp) -> Piece:
        rows, other = [], _choice(node)
        while isinstance(other, ast.IfExp):
            rows.append(rf"{self.text(other.body)} & \text{{if }} {self.text(other.test)}")
            other = _choice(other.orelse)
        rows.append(rf"{self.text(other)} & \text{{otherwise}}")
        return Piece(r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}", FACTOR)

    def _tuple(self, node: ast.Tuple | ast.List) -> Piece:
        return Piece(rf"\left({self._listed(node.elts)}\right)")

    _list = _tuple

    def _attribute(self, node: ast.Attribute) -> Piece:
        if node.attr in CONSTANTS:
            return Piece(CONSTANTS[node.attr])
        if node.attr in ("T", "mT"):
            return Piece(rf"{self.text(node.value, ATOM)}^{{\top}}", POWER)
        return Piece(rf"{operator(node.attr)}\left({self.text(node.value)}\right)", FACTOR)

    def _subscript(self, node: ast.Subscript) -> Piece:
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return self._name(ast.Name(node.slice.value))  # h["eta"]
        base = self.text(node.value, ATOM)
        base = f"{{{base}}}" if "_" in base else base
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return Piece(f"{base}_{{{self._listed(inner)}}}")

    def _slice(self, node: ast.Slice) -> Piece:
        ends = [node.lower, node.upper, *([node.step] if node.step else [])]
        return Piece(":".join(self.text(end, ADDITION) if end else "" for end in ends), RELATION)

    def _call(self, node: ast.Call) -> Piece:
        call = called(node)
        if call is None:
            raise InputError(f"{ast.unparse(node)!r} cannot be written as a formula")
        if (syntax := plain(call)) is not None:
            return self.piece(syntax)
        return applied(call, self.text, self.names)

    def _listed(self, nodes: list[ast.expr]) -> str:
        return ", ".join(self.text(node) for node in nodes)


def _factors(node: ast.expr, kind: type[ast.operator]) -> Iterator[ast.expr]:
    """What is multiplied: a(bc) and (ab)c are the same product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, kind):
        yield from _factors(node.left, kind)
        yield from _factors(node.right, kind)
    else:
        yield node


def _choice(node: ast.expr) -> ast.expr:
    """``xp.where(…)`` as the conditional expression that it is."""
    call = called(node) if isinstance(node, ast.Call) else None
    syntax = plain(call) if call else None
    return syntax if isinstance(syntax, ast.IfExp) else node
