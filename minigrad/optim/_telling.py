"""What the explanations of updates say, in both languages, and how their tables look."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from minigrad.errors import InputError, require
from minigrad.language import LANGUAGES
from minigrad.latex import latex

__all__ = ["NAMES", "formula", "math", "say", "shown", "symbols", "table", "written"]

NAMES = {
    "l1": r"\lambda_{1}", "l2": r"\lambda_{2}", "weight_decay": r"\lambda", "momentum": r"\mu",
    "clip_value": "c", "scale": "s",
}  # fmt: skip
"""Symbols of hyper-parameters in formulas."""

_TEXTS = {
    "title": ("{rule}: update {t} of {what}", "{rule}：{what} 的第 {t} 次更新"),
    "elements": (" (element by element)", "（逐元素）"),
    "before": ("before", "更新前"),
    "line": ("line", "行"),
    "formula": ("formula", "公式"),
    "numbers": ("with numbers", "代入数值"),
    "why": ("what it is", "含义"),
    "rate": ("the learning rate of this update", "本次更新的学习率"),
    "scaled": ("the gradient, scaled", "缩放梯度"),
    "clipped": ("each element of the gradient clipped", "逐元素裁剪梯度"),
    "penalised": ("the penalties join the gradient", "把惩罚项加入梯度"),
    "decayed": ("decoupled weight decay", "解耦的权重衰减"),
    "rule": ("the optimizer's own formula", "优化器自身的公式"),
    "threshold": ("the soft threshold of proximal L1", "近端 L1 的软阈值"),
    "sides": ("{kind}: two conventions, θ after each update", "{kind}：两种约定，每次更新后的 θ"),
    "step": ("update", "更新"),
    "difference": ("relative difference", "相对差"),
    "parts": (
        "they part at update {step}: a relative difference above {tolerance:g}",
        "两者在第 {step} 次更新时出现分歧：相对差超过 {tolerance:g}",
    ),
    "agree": (
        "they agree in all {steps} updates, to a relative difference of {tolerance:g}",
        "两者在全部 {steps} 次更新中一致：相对差不超过 {tolerance:g}",
    ),
}


def say(lang: str, key: str, **facts: Any) -> str:
    """The text ``key`` in one of ``LANGUAGES``."""
    return _TEXTS[key][LANGUAGES.index(lang)].format(**facts)


def shown(value: Any) -> str:
    """A number, or an array in one line, to six digits."""
    if np.ndim(value) == 0:
        return format(float(value), ".6g")
    return f"[{', '.join(shown(part) for part in value)}]"


def symbols(value: Any, alone: bool = False) -> str:
    """LaTeX of a value: negative numbers in parentheses, unless they stand ``alone``; arrays as
    matrices of up to two axes."""
    if np.ndim(value) == 0:
        number = ast.Constant(abs(float(shown(value))))
        if float(value) >= 0 or np.isnan(value):
            return latex(number)
        return f"-{latex(number)}" if alone else rf"\left(-{latex(number)}\right)"
    rows = np.atleast_2d(value) if np.ndim(value) < 3 else [np.ravel(value)]
    lines = [" & ".join(symbols(number, alone=True) for number in row) for row in rows]
    return r"{\begin{bmatrix} " + r" \\ ".join(lines) + r" \end{bmatrix}}"


def formula(expression: ast.expr | None, names: Mapping[str, str] = NAMES) -> str:
    """LaTeX of an expression; "" for what is no formula."""
    try:
        return "" if expression is None else latex(expression, names)
    except InputError:
        return ""


def written(expression: ast.expr, values: Mapping[str, Any]) -> str:
    """The expression as code, with numbers for its names."""

    class Numbers(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.Name:
            if node.id not in values:
                return node
            text = shown(values[node.id])
            return ast.Name(f"({text})" if text.startswith("-") else text)

    return ast.unparse(Numbers().visit(copy.deepcopy(expression)))


def math(text: str) -> str:
    """MathML of a formula; :class:`MissingExtra` without latex2mathml."""
    converter = require("latex2mathml.converter", "explain")
    found = str(converter.convert(text)) if text else ""
    return found.replace("<math ", '<math displaystyle="true" ', 1)  # fractions in full size


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], foot: str = "") -> str:
    """An HTML table; the cells are HTML, all else is escaped. It takes the page's own colours."""
    line = "border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent);"
    cell = f"text-align: left; vertical-align: middle; padding: 0.35em 0.8em; {line}"
    header = "".join(f'<th scope="col" style="{cell}">{escape(text)}</th>' for text in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{cell}">{text}</td>' for text in row) + "</tr>"
        for row in rows
    )
    return (
        '<div style="overflow-x: auto; color: inherit"><table style="border-collapse: collapse">'
        f'<caption style="text-align: left; font-weight: bold; padding: 0.4em 0">{escape(title)}'
        f"</caption><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
        + (f"<p>{escape(foot)}</p>" if foot else "")
        + "</div>"
    )
