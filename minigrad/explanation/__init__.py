"""Explanations: a computation that can be stepped through, forward and backward (D1 §3.2)."""

from minigrad.explanation.check import Check
from minigrad.explanation.explanation import Explanation, Step, explain
from minigrad.explanation.graph import Argument, Contribution, Vertex
from minigrad.explanation.ranks import RanksExplanation, explain_ranks

__all__ = [
    "Argument",
    "Check",
    "Contribution",
    "Explanation",
    "RanksExplanation",
    "Step",
    "Vertex",
    "explain",
    "explain_ranks",
    "main",
]


def main(words: list[str]) -> int:
    """The command ``minigrad explain``; the result is the exit code."""
    from minigrad.explanation.command import main as run

    return run(words)
