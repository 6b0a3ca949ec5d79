r"""The formulas of ops and of their gradient rules, in LaTeX; \bar{x} stands for dL/dx.

A rule that is one expression is translated from its source (:mod:`minigrad.latex`), so it cannot
drift. What is here is what no translation gives: forwards as the field writes them, and rules of
several statements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from minigrad.explanation.graph import Contribution, Vertex
from minigrad.latex import formula_of

__all__ = ["FORWARD", "RULES", "forward_formula", "rule_formula"]

Given = Mapping[str, Any]
"""The plain arguments of one application, by name; arrays are there as they are."""


def _cases(first: str, condition: str, other: str) -> str:
    return (
        rf"\begin{{cases}} {first} & \text{{if }} {condition} \\ {other} & \text{{otherwise}} "
        r"\end{cases}"
    )


def _clip(given: Given) -> str:
    inner = "x" if given["low"] is None else r"\max(x,\ \mathrm{low})"
    return inner if given["high"] is None else rf"\min({inner},\ \mathrm{{high}})"


def _smoothed(given: Given) -> str:
    label = r"z_{\mathrm{labels}}"
    if given["smoothing"]:
        share = f"{given['smoothing']:g}"
        label = rf"(1 - {share})\,{label} - {share}\,\overline{{z}}"
    return rf"\ln \sum_k e^{{z_k}} - {label},\quad z = \mathrm{{logits}}"


def _turned(x: str) -> Callable[[Given], str]:
    return lambda given: (
        rf"{x}^{{\top}}" if given["axes"] is None else rf"\operatorname{{transpose}}({x})"
    )


def _spread_of(power: str) -> Callable[[Given], str]:
    def formula(given: Given) -> str:
        n = f"n - {given['ddof']}" if given["ddof"] else "n"
        return power % rf"\frac{{1}}{{{n}}} \sum_k (x_k - \mu)^{{2}}"

    return formula


def _per_count(formula: str) -> Callable[[Given], str]:
    return lambda given: formula % (f"(n - {given['ddof']})" if given["ddof"] else "n")


FORWARD: dict[str, str | Callable[[Given], str]] = {
    "abs": r"|x|",
    "add": r"a + b",
    "all_reduce": r"\sum_{r} x^{(r)}",
    "astype": r"x",
    "bias_gelu": r"\operatorname{gelu}(z + b)",
    "bias_relu": r"\max(z + b,\ 0)",
    "binary_cross_entropy": r"\max(z, 0) - z\,t + \ln(1 + e^{-|z|})",
    "broadcast_to": r"x",
    "clip": _clip,
    "concatenate": r"[\,t_0,\ t_1,\ \ldots\,]",
    "copy_to_ranks": r"x",
    "cos": r"\cos x",
    "cross_entropy": _smoothed,
    "cumsum": r"y_i = \sum_{j \le i} x_j",
    "dense": lambda given: r"x\,W" if given["b"] is None else r"x\,W + b",
    "div": r"\frac{a}{b}",
    "dropout": r"\frac{x \odot \mathrm{mask}}{1 - \mathrm{rate}}",
    "einsum": r"\sum t_0\,t_1 \cdots",
    "elu": _cases("x", "x > 0", r"\alpha\,(e^{x} - 1)"),
    "embedding": r"W_{\mathrm{ids}}",
    "exp": r"e^{x}",
    "expand_dims": r"x",
    "expm1": r"e^{x} - 1",
    "flip": r"x_{n-1-i}",
    "gather_from_ranks": r"[\,x^{(0)},\ x^{(1)},\ \ldots\,]",
    "gelu": r"\frac{x}{2}\left(1 + \tanh\left(\sqrt{\tfrac{2}{\pi}}\,"
    r"(x + 0.044715\,x^{3})\right)\right)",
    "getitem": r"x_{\mathrm{index}}",
    "huber": _cases(r"d^{2}/2", r"|d| \le \delta", r"\delta\,(|d| - \delta/2)"),
    "layer_norm": r"\frac{x - \mu}{\sqrt{\sigma^{2} + \epsilon}} \odot \mathrm{scale} + "
    r"\mathrm{shift}",
    "leaky_relu": _cases("x", "x > 0", r"\mathrm{slope}\,x"),
    "log": r"\ln x",
    "log1p": r"\ln(1 + x)",
    "log_softmax": r"x - \ln \sum_k e^{x_k}",
    "logsumexp": r"\ln \sum_k e^{x_k}",
    "matmul": r"a\,b",
    "max": r"\max_k x_k",
    "maximum": r"\max(a, b)",
    "mean": r"\frac{1}{n} \sum_k x_k",
    "min": r"\min_k x_k",
    "minimum": r"\min(a, b)",
    "mul": r"a \cdot b",
    "neg": r"-x",
    "norm": r"\sqrt{\sum_k x_k^{2}}",
    "pad": r"\operatorname{pad}(x)",
    "pow": r"a^{b}",
    "prelu": _cases("x", "x > 0", r"\mathrm{slope}\,x"),
    "prod": r"\prod_k x_k",
    "reduce_from_ranks": r"\sum_{r} x^{(r)}",
    "relu": r"\max(x, 0)",
    "reshape": r"x",
    "scatter": r"y_{\mathrm{index}} = x",
    "scatter_to_ranks": r"x^{(r)}",
    "sigmoid": r"\frac{1}{1 + e^{-x}}",
    "silu": r"x\,\sigma(x)",
    "sin": r"\sin x",
    "softmax": r"\frac{e^{x_i}}{\sum_k e^{x_k}}",
    "softplus": r"\ln(1 + e^{x})",
    "sqrt": r"\sqrt{x}",
    "square": r"x^{2}",
    "squeeze": r"x",
    "stack": r"[\,t_0,\ t_1,\ \ldots\,]",
    "std": _spread_of(r"\sqrt{%s}"),
    "sub": r"a - b",
    "sum": r"\sum_k x_k",
    "swapaxes": r"x^{\top}",
    "tanh": r"\tanh x",
    "to": r"x",
    "transpose": _turned("x"),
    "var": _spread_of("%s"),
    "where": _cases("a", r"\mathrm{condition}", "b"),
}
"""The right side of y = …, by the name of the op."""

_G = r"\bar{y}"
_RANKS = {
    ("all_reduce", "x"): rf"\sum_{{r}} {_G}^{{(r)}}",
    ("copy_to_ranks", "x"): rf"\sum_{{r}} {_G}^{{(r)}}",
    ("gather_from_ranks", "x"): rf"{_G}^{{(r)}}",
    ("reduce_from_ranks", "x"): _G,
    ("scatter_to_ranks", "x"): rf"[\,{_G}^{{(0)}},\ {_G}^{{(1)}},\ \ldots\,]",
}
_SAME = {(name, "x"): _G for name in ("expand_dims", "reshape", "squeeze", "to")}
RULES: dict[tuple[str, str], str | Callable[[Given], str]] = {
    **_RANKS,
    **_SAME,
    ("bias_gelu", "b"): rf"{_G} \odot \operatorname{{gelu}}'(z + b)",
    ("bias_gelu", "z"): rf"{_G} \odot \operatorname{{gelu}}'(z + b)",
    ("bias_relu", "b"): rf"{_G}\,[y > 0]",
    ("bias_relu", "z"): rf"{_G}\,[y > 0]",
    ("clip", "x"): rf"{_G}\,[\mathrm{{low}} \le x \le \mathrm{{high}}]",
    ("concatenate", "tensors"): rf"{_G}_{{\mathrm{{its\ part}}}}",
    ("cross_entropy", "logits"): rf"{_G}\,(\operatorname{{softmax}}(\mathrm{{logits}}) - t)",
    ("cumsum", "x"): rf"\sum_{{j \ge i}} {_G}_j",
    ("dense", "W"): rf"x^{{\top}}\,{_G}",
    ("dropout", "x"): rf"\frac{{{_G} \odot \mathrm{{mask}}}}{{1 - \mathrm{{rate}}}}",
    ("einsum", "tensors"): rf"\sum {_G}\,\prod_{{\mathrm{{others}}}} t",
    ("embedding", "weight"): rf"\sum_{{i:\ \mathrm{{ids}}_i = \mathrm{{row}}}} {_G}_i",
    ("gelu", "x"): rf"{_G} \odot \operatorname{{gelu}}'(x)",
    ("getitem", "x"): rf"\bar{{x}}_{{\mathrm{{index}}}} \mathrel{{+}}= {_G}",
    ("layer_norm", "scale"): rf"{_G} \odot \frac{{x - \mu}}{{\sqrt{{\sigma^{{2}} + \epsilon}}}}",
    ("layer_norm", "shift"): _G,
    ("layer_norm", "x"): r"\frac{h - \operatorname{mean}(h) - z\,\operatorname{mean}(h\,z)}"
    rf"{{\sqrt{{\sigma^{{2}} + \epsilon}}}},\quad h = {_G} \odot \mathrm{{scale}},"
    r"\quad z = \frac{x - \mu}{\sqrt{\sigma^{2} + \epsilon}}",
    ("logsumexp", "x"): rf"{_G}\,e^{{x - y}}",
    ("matmul", "a"): rf"{_G}\,b^{{\top}}",
    ("matmul", "b"): rf"a^{{\top}}\,{_G}",
    ("max", "x"): rf"{_G}\,\frac{{[x = y]}}{{\sum_k [x_k = y]}}",
    ("mean", "x"): rf"\frac{{1}}{{n}}\,{_G}",
    ("min", "x"): rf"{_G}\,\frac{{[x = y]}}{{\sum_k [x_k = y]}}",
    ("norm", "x"): rf"{_G}\,\frac{{x}}{{y}}",
    ("pad", "x"): rf"{_G}_{{\mathrm{{inside}}}}",
    ("pow", "a"): rf"{_G}\,b\,a^{{b - 1}}",
    ("pow", "b"): rf"{_G}\,y\,\ln a",
    ("prod", "x"): rf"{_G}\,\prod_{{k \ne i}} x_k",
    ("silu", "x"): rf"{_G}\,\sigma(x)\,(1 + x\,(1 - \sigma(x)))",
    ("stack", "tensors"): rf"{_G}_{{\mathrm{{its\ part}}}}",
    ("std", "x"): _per_count(rf"{_G}\,\frac{{x - \mu}}{{%s\,y}}"),
    ("sum", "x"): _G,
    ("swapaxes", "x"): rf"{_G}^{{\top}}",
    ("transpose", "x"): _turned(_G),
    ("var", "x"): _per_count(rf"{_G}\,\frac{{2}}{{%s}}\,(x - \mu)"),
}
"""The right side of \bar{argument} = …, by op and argument, where the code is more than that."""


def forward_formula(vertex: Vertex) -> str:
    """y = …; of an op that is not minigrad's, its name and its arguments."""
    op = vertex.op
    assert op is not None
    right = FORWARD.get(op.name) if _own(vertex) else None
    if right is None:
        name = op.name.replace("_", r"\_")
        right = rf"\operatorname{{{name}}}({', '.join(map(_upright, op.inputs or op.names))})"
    text = right if isinstance(right, str) else right(_given(vertex))
    return text if text.startswith("y_") else f"y = {text}"


def rule_formula(contribution: Contribution) -> str:
    """The gradient rule as a formula; "" for one of several statements that has none here."""
    source, (argument, _, place) = contribution.source, contribution.argument.partition("[")
    assert source.op is not None
    right = RULES.get((source.op.name, argument)) if _own(source) else None
    if right is None:
        right = formula_of(contribution.rule, {"g": _G})
        if right is None:
            return ""
    text = right if isinstance(right, str) else right(_given(source))
    if "+}=" in text:
        return text
    short = _upright(argument)
    over = rf"\bar{{{short}}}" if len(short) == 1 else rf"\overline{{{short}}}"
    return f"{over}{f'_{{{place[:-1]}}}' if place else ''} = {text}"


def _own(vertex: Vertex) -> bool:
    """Whether the op is minigrad's, and these tables speak of it."""
    return vertex.op is not None and vertex.op.forward.__module__.startswith("minigrad.")


def _given(vertex: Vertex) -> dict[str, Any]:
    return {a.name: a.constant if a.vertex is None else a.vertex.value for a in vertex.arguments}


def _upright(name: str) -> str:
    """A name of several letters stands upright."""
    escaped = name.replace("_", r"\_")
    return name if re.fullmatch(r"\w", name) else rf"\mathrm{{{escaped}}}"
