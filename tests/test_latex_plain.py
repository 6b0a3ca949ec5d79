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
        (
            r"\begin{cases} a & \text{if } x > 0 \\ b & \text{otherwise} \end{cases}",
            "{ a if x > 0 ; b otherwise }",
        ),
        (r"\frac{(a + b) - (c + d)}{x}", "((a + b) - (c + d))/x"),
        (r"\frac{(a + b)}{x}", "(a + b)/x"),
        (r"\overline{\mathrm{logits}}", "∂L/∂logits"),
        (r"a \lor b", "a ∨ b"),
        (r"\operatorname{my\_op}(x)", "my_op(x)"),
        (r"\frac{x}{2}\left(1 + y\right)", "x/2 (1 + y)"),
    ],
)
def test_plain(latex, text):
    assert plain(latex) == unicodedata.normalize("NFC", text)


GIVEN = {"low": 0, "high": None, "smoothing": 0.1, "axes": None, "ddof": 1, "b": None}


@pytest.mark.parametrize("key", [*FORWARD, *RULES])
def test_no_command_is_left(key):
    latex = FORWARD[key] if isinstance(key, str) else RULES[key]
    latex = latex if isinstance(latex, str) else latex(GIVEN)
    assert "\\" not in plain(latex)
    assert plain(latex).count("(") == plain(latex).count(")")
