"""A stretch of LaTeX, and how tightly it holds together."""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "ADDITION", "ATOM", "FACTOR", "LOGIC", "POWER", "PRODUCT", "RELATION", "SUM", "Piece",
]  # fmt: skip

LOGIC, RELATION, ADDITION, SUM, PRODUCT, FACTOR, POWER, ATOM = range(8)
"""From loose to tight. SUM ends in a Σ, which would take in a factor that follows; a FACTOR, such
as a fraction, needs parentheses only as a base."""


class Piece(NamedTuple):
    """LaTeX and its level."""

    text: str
    level: int = ATOM

    def within(self, level: int, first: bool = True) -> str:
        """The text as an operand that must hold so tightly; only the ``first`` may bear a minus."""
        if self.level >= level and (first or not self.text.startswith("-")):
            return self.text
        left, right = "[]" if self.level <= RELATION else "()"
        return rf"\left{left}{self.text}\right{right}"
