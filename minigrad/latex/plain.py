"""LaTeX as plain text, for terminals: Unicode for symbols, a/b for fractions."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["plain"]

_SYMBOLS = {
    r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\delta": "δ", r"\epsilon": "ε",
    r"\eta": "η", r"\theta": "θ", r"\lambda": "λ", r"\mu": "μ", r"\sigma": "σ", r"\pi": "π",
    r"\sum": "Σ", r"\prod": "Π", r"\cdots": "⋯", r"\cdot": "·", r"\odot": "⊙", r"\times": "×",
    r"\le": "≤", r"\ge": "≥", r"\neq": "≠", r"\ne": "≠", r"\leftarrow": "←", r"\top": "ᵀ",
    r"\ldots": "…", r"\infty": "∞", r"\quad": "  ", r"\ ": " ", r"\,": " ", r"\;": " ",
    r"\left": " ", r"\right": "", r"\_": "_", r"\{": "{", r"\}": "}", r"\|": "‖", r"\lVert": "‖",
    r"\rVert": "‖", r"\lvert": "|", r"\rvert": "|", r"\mid": "|", r"\lfloor": "⌊",
    r"\rfloor": "⌋", r"\lnot": "¬", r"\land": "∧", r"\lor": "∨", r"\bmod": "mod",
    r"\varepsilon": "ε", r"\rho": "ρ", r"\xi": "ξ", r"\tau": "τ", r"\phi": "φ", r"\psi": "ψ",
}  # fmt: skip
_ACCENTS = {"bar": "\u0304", "overline": "\u0304", "hat": "\u0302", "tilde": "\u0303"}
_POWERS = str.maketrans("0123456789+-()in", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁱⁿ")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}^_]|[^\\{}^_]")


def plain(latex: str) -> str:
    """``latex`` as a line of text: ``\\frac{a}{b}`` becomes a/b, ``\\bar{y}`` ȳ, x^{2} x².

    >>> from minigrad.latex import plain
    >>> plain(r"\\theta - \\eta\\,g")
    'θ - η g'
    """
    text, rest = _group(_TOKEN.findall(latex))
    assert not rest, f"unbalanced braces in {latex}"
    text = re.sub(r" {2,}", " ", text).replace("( ", "(").replace(" )", ")").strip()
    return unicodedata.normalize("NFC", text)  # ȳ as one character, where there is one


def _group(tokens: list[str]) -> tuple[str, list[str]]:
    """The text up to the closing brace, and the tokens after it."""
    text = ""
    while tokens:
        token, tokens = tokens[0], tokens[1:]
        if token == "}":
            break
        if token == "{":
            inner, tokens = _group(tokens)
            text += inner
        elif token in (r"\frac", r"\tfrac"):
            above, tokens = _argument(tokens)
            below, tokens = _argument(tokens)
            text += f"{_bracketed(above)}/{_bracketed(below)}"
        elif token == r"\sqrt":
            inner, tokens = _argument(tokens)
            text += f"√{_bracketed(inner)}"
        elif token == "^":
            power, tokens = _argument(tokens)
            small = power.translate(_POWERS)
            raised = power == "ᵀ" or not set(power) - set("0123456789+-()in")
            text += small if raised else f"^({power})" if "_" in power else f"^{_bracketed(power)}"
        elif token == "_":
            index, tokens = _argument(tokens)
            text += f"_{_bracketed(index)}"
        elif token[1:] in _ACCENTS:
            inner, tokens = _argument(tokens)
            text += inner + _ACCENTS[token[1:]] if len(inner) == 1 else f"∂L/∂{inner}"
        elif token in (r"\begin", r"\end"):
            _, tokens = _argument(tokens)
            text += "{ " if token == r"\begin" else " }"
        elif token == r"\\":
            text += "; "
        elif token == "&":
            text += " "
        elif token in (r"\mathrm", r"\operatorname", r"\text", r"\mathbf", r"\mathrel"):
            inner, tokens = _argument(tokens)
            text += inner
        elif token.startswith("\\"):
            text += _SYMBOLS.get(token, token[1:])
        else:
            text += token
    return text, tokens


def _argument(tokens: list[str]) -> tuple[str, list[str]]:
    """What a command applies to: a group, or the next token."""
    tokens = tokens[next((i for i, token in enumerate(tokens) if token != " "), 0) :]
    if not tokens:
        return "", tokens
    if tokens[0] == "{":
        return _group(tokens[1:])
    text, _ = _group(tokens[:1])
    return text, tokens[1:]


def _bracketed(text: str) -> str:
    """``text`` in parentheses where it is more than one factor."""
    depth, open_ = 0, False
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        open_ |= depth == 0 and letter in " +-·⊙/"
    return f"({text})" if open_ else text
