r"""The formulas of ops and of their gradient rules, in LaTeX; \bar{x} stands for dL/dx.

A rule that is one expression is translated from its source (:mod:`minigrad.latex`), so it cannot
drift. What is here is what no translation gives: forwards as the field writes them, and rules of
several statements.
"""

from __future__ import annotations

from minigrad.autograd import Op
from minigrad.explanation.graph import Contribution
from minigrad.latex import formula_of

__all__ = ["FORWARD", "RULES", "forward_formula", "rule_formula"]

FORWARD = {
    "abs": r"|x|",
    "add": r"a + b",
    "all_reduce": r"\sum_{r} x^{(r)}",
    "astype": r"x",
    "bias_gelu": r"\operatorname{gelu}(z + b)",
    "bias_relu": r"\max(z + b,\ 0)",
    "binary_cross_entropy": r"\max(z, 0) - z\,t + \ln(1 + e^{-|z|})",
    "broadcast_to": r"x",
    "clip": r"\min(\max(x,\ \mathrm{low}),\ \mathrm{high})",
    "concatenate": r"[\,t_0,\ t_1,\ \ldots\,]",
    "copy_to_ranks": r"x",
    "cos": r"\cos x",
    "cross_entropy": r"\ln \sum_k e^{z_k} - z_{\mathrm{label}}",
    "cumsum": r"y_i = \sum_{j \le i} x_j",
    "dense": r"x\,W + b",
    "div": r"\frac{a}{b}",
    "dropout": r"\frac{x \odot \mathrm{mask}}{1 - \mathrm{rate}}",
    "einsum": r"\sum t_0\,t_1 \cdots",
    "elu": r"\begin{cases} x & x > 0 \\ \alpha\,(e^{x} - 1) & x \le 0 \end{cases}",
    "embedding": r"W_{\mathrm{ids}}",
    "exp": r"e^{x}",
    "expand_dims": r"x",
    "expm1": r"e^{x} - 1",
    "flip": r"x_{n-1-i}",
    "gather_from_ranks": r"[\,x^{(0)},\ x^{(1)},\ \ldots\,]",
    "gelu": r"\frac{x}{2}\left(1 + \tanh\left(\sqrt{\tfrac{2}{\pi}}\,"
    r"(x + 0.044715\,x^{3})\right)\right)",
    "getitem": r"x_{\mathrm{index}}",
    "huber": r"\begin{cases} d^{2}/2 & |d| \le \delta \\ "
    r"\delta\,(|d| - \delta/2) & |d| > \delta \end{cases}",
    "layer_norm": r"\frac{x - \mu}{\sqrt{\sigma^{2} + \epsilon}} \odot \mathrm{scale} + "
    r"\mathrm{shift}",
    "leaky_relu": r"\begin{cases} x & x > 0 \\ \mathrm{slope}\,x & x \le 0 \end{cases}",
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
    "mul": r"a \odot b",
    "neg": r"-x",
    "norm": r"\sqrt{\sum_k x_k^{2}}",
    "pad": r"x",
    "pow": r"a^{b}",
    "prelu": r"\begin{cases} x & x > 0 \\ \mathrm{slope}\,x & x \le 0 \end{cases}",
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
    "std": r"\sqrt{\frac{1}{n} \sum_k (x_k - \mu)^{2}}",
    "sub": r"a - b",
    "sum": r"\sum_k x_k",
    "swapaxes": r"x^{\top}",
    "tanh": r"\tanh x",
    "to": r"x",
    "transpose": r"x^{\top}",
    "var": r"\frac{1}{n} \sum_k (x_k - \mu)^{2}",
    "where": r"\begin{cases} a & \mathrm{condition} \\ b & \mathrm{else} \end{cases}",
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
_SAME = {
    (name, "x"): _G
    for name in ("astype", "broadcast_to", "expand_dims", "reshape", "squeeze", "to")
}
RULES = {
    **_RANKS,
    **_SAME,
    ("bias_gelu", "b"): rf"{_G} \odot \operatorname{{gelu}}'(z + b)",
    ("bias_gelu", "z"): rf"{_G} \odot \operatorname{{gelu}}'(z + b)",
    ("bias_relu", "b"): rf"{_G}\,[y > 0]",
    ("bias_relu", "z"): rf"{_G}\,[y > 0]",
    ("binary_cross_entropy", "z"): rf"{_G}\,(\sigma(z) - t)",
    ("clip", "x"): rf"{_G}\,[\mathrm{{low}} \le x \le \mathrm{{high}}]",
    ("concatenate", "tensors"): rf"{_G}_{{\mathrm{{part\ of\ }} t}}",
    ("cross_entropy", "logits"): rf"{_G}\,(\operatorname{{softmax}}(z) - t)",
    ("cumsum", "x"): rf"\sum_{{j \ge i}} {_G}_j",
    ("dense", "W"): rf"x^{{\top}}\,{_G}",
    ("dropout", "x"): rf"\frac{{{_G} \odot \mathrm{{mask}}}}{{1 - \mathrm{{rate}}}}",
    ("einsum", "tensors"): rf"\sum {_G}\,\prod_{{\mathrm{{others}}}} t",
    ("embedding", "weight"): rf"\sum_{{i:\ \mathrm{{ids}}_i = \mathrm{{row}}}} {_G}_i",
    ("gelu", "x"): rf"{_G} \odot \operatorname{{gelu}}'(x)",
    ("getitem", "x"): rf"\bar{{x}}_{{\mathrm{{index}}}} \mathrel{{+}}= {_G}",
    ("layer_norm", "scale"): rf"{_G} \odot \frac{{x - \mu}}{{\sqrt{{\sigma^{{2}} + \epsilon}}}}",
    ("layer_norm", "shift"): _G,
    ("layer_norm", "x"): r"\frac{h - \overline{h} - z\,\overline{h z}}"
    rf"{{\sqrt{{\sigma^{{2}} + \epsilon}}}},\quad h = {_G} \odot \mathrm{{scale}}",
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
    ("scatter", "x"): rf"{_G}_{{\mathrm{{index}}}}",
    ("silu", "x"): rf"{_G}\,\sigma(x)\,(1 + x\,(1 - \sigma(x)))",
    ("softplus", "x"): rf"{_G}\,\sigma(x)",
    ("stack", "tensors"): rf"{_G}_{{\mathrm{{part\ of\ }} t}}",
    ("std", "x"): rf"{_G}\,\frac{{x - \mu}}{{n\,y}}",
    ("sum", "x"): _G,
    ("swapaxes", "x"): rf"{_G}^{{\top}}",
    ("transpose", "x"): rf"{_G}^{{\top}}",
    ("var", "x"): rf"{_G}\,\frac{{2}}{{n}}\,(x - \mu)",
}
"""The right side of \bar{argument} = …, by op and argument, where the code is more than that."""


def forward_formula(op: Op) -> str:
    """y = …; of an op that is not minigrad's, its name and its arguments."""
    right = FORWARD.get(op.name) if op.forward.__module__.startswith("minigrad.") else None
    if right is None:
        name = op.name.replace("_", r"\_")
        arguments = ", ".join(n.replace("_", r"\_") for n in op.inputs or op.names)
        right = rf"\operatorname{{{name}}}({arguments})"
    return right if right.startswith("y_") else f"y = {right}"


def rule_formula(contribution: Contribution) -> str:
    """The gradient rule as a formula; "" for one of several statements that has none here."""
    op, argument = contribution.source.op, contribution.argument.partition("[")[0]
    assert op is not None
    right = (
        RULES.get((op.name, argument)) if op.forward.__module__.startswith("minigrad.") else None
    )
    if right is None:
        right = formula_of(contribution.rule, {"g": _G})
    if right is None or "+}=" in right:
        return right or ""
    short = argument.replace("_", r"\_")
    over = rf"\bar{{{short}}}" if len(short) == 1 else rf"\overline{{\mathrm{{{short}}}}}"
    return f"{over} = {right}"
