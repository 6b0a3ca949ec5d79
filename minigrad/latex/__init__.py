"""Formulas as LaTeX from the code that runs, so that what is shown is what is computed."""

from __future__ import annotations

from minigrad.latex.expression import latex
from minigrad.latex.plain import plain
from minigrad.latex.source import formula_of, source_of

__all__ = ["formula_of", "latex", "plain", "source_of"]
