"""How a name in the code is written in a formula."""

from __future__ import annotations

import re

from minigrad.errors import InputError

__all__ = ["CONSTANTS", "FENCES", "FUNCTIONS", "number", "operator", "symbol"]

_GREEK_NAMES = """
alpha beta gamma delta zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega
Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"""
_GREEK = {name: rf"\{name}" for name in _GREEK_NAMES.split()}
_GREEK |= {"epsilon": r"\varepsilon", "lam": r"\lambda"}
_KNOWN = "sin cos tan sinh cosh tanh log arctan arcsin arccos max min"
FUNCTIONS = {name: rf"\{name}" for name in _KNOWN.split()}
FUNCTIONS |= {"sum": r"\sum", "maximum": r"\max", "minimum": r"\min", "sigmoid": r"\sigma"}
FENCES = {
    "abs": ("|", "|"), "norm": (r"\lVert ", r"\rVert"), "global_norm": (r"\lVert ", r"\rVert"),
    "floor": (r"\lfloor ", r"\rfloor"), "ceil": (r"\lceil ", r"\rceil"),
}  # fmt: skip
CONSTANTS = {"pi": r"\pi", "e": "e", "inf": r"\infty", "nan": r"\text{NaN}"}
_ACCENTS = ("hat", "bar", "tilde", "dot", "vec")


def symbol(name: str) -> str:
    """``beta1`` is β₁, ``m_hat`` is m̂, ``x_new`` has a subscript; other words stand upright.

    Raises :class:`InputError` for what is no Python name.
    """
    if not name.isidentifier():
        raise InputError(f"{name!r} is no name, so it cannot be a symbol of a formula")
    words = [word for word in name.split("_") if word] or ["_"]
    found = re.fullmatch(r"([^\W\d]+)(\d+)", words[0])
    head, indices = (found[1], [found[2]]) if found else (words[0], [])
    if head not in _GREEK and len(head) > 1:
        return _text(" ".join(words))
    base = _GREEK.get(head, head if head != "_" else r"\_")
    for word in words[1:]:
        if word in _ACCENTS:
            base = rf"\{word}{{{base}}}"
        else:
            indices.append(word if word.isdigit() or len(word) == 1 else _text(word))
    return f"{base}_{{{','.join(indices)}}}" if indices else base


def operator(name: str) -> str:
    """The name of a function: upright."""
    words = name.strip("_") or "_"
    letters = words.isascii() and words.isalpha()
    return rf"\operatorname{{{words}}}" if letters else _text(words.replace("_", " "))


def number(value: float) -> str:
    """A number of the code; 2.5e-07 is 2.5 · 10⁻⁷, and an integral one has no point."""
    if value != value or abs(value) == float("inf"):
        return r"\text{NaN}" if value != value else r"\infty" if value > 0 else r"-\infty"
    digits, _, exponent = repr(value).removesuffix(".0").partition("e")
    if not exponent:
        return digits
    power = rf"10^{{{int(exponent)}}}"
    return power if digits == "1" else rf"{digits} \cdot {power}"


def _text(words: str) -> str:
    return rf"\text{{{words}}}"
