"""Formulas as plain text, for terminals."""

import unicodedata

import pytest

from minigrad.explanation.formulas import FORWARD, RULES
from minigrad.latex import plain


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\frac{a}{b}", "a/b"),
        (r"\frac{a + 1}{b\,c}", "(a + 1)/(b c)"),
        (r"\bar{y}\,(1 - y^{2})", "ȳ (1 - y²)"),
        (r"x^{\top}\,\bar{y}", "xᵀ ȳ"),
        (r"\sqrt{\sum_k x_k^{2}}", "√(Σ_k x_k²)"),
        (r"e^{x_i}", "e^(x_i)"),
        (r"\theta - \eta \cdot \hat{m}", "θ - η · m̂"),
        (r"\begin{cases} a & x > 0 \\ b & x \le 0 \end{cases}", "{ a if x > 0 ; b if x ≤ 0 }"),
        (r"\operatorname{my\_op}(x)", "my_op(x)"),
        (r"\frac{x}{2}\left(1 + y\right)", "x/2 (1 + y)"),
    ],
)
def test_plain(latex, text):
    assert plain(latex) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("latex", [*FORWARD.values(), *RULES.values()])
def test_no_command_is_left(latex):
    assert "\\" not in plain(latex)
    assert plain(latex).count("(") == plain(latex).count(")")
