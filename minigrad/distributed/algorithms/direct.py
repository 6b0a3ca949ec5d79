"""All-reduce in two rounds: through a root, and directly between all pairs in rank order."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.distributed.algorithms.schedule import Round, Transfer, places

__all__ = ["ordered", "root"]


def root(counts: Sequence[int]) -> list[Round]:
    """All send everything to rank 0, which adds it up and sends the result to all.

    The "aggregate on the main device" of article D4 §3.3. Rank 0 receives and sends p − 1 whole
    buffers, while the others wait.
    """
    others, size = range(1, len(counts)), sum(counts)
    return [
        [Transfer(rank, 0, 0, size, "reduce") for rank in others],
        [Transfer(0, rank, 0, size, "copy") for rank in others],
    ]


def ordered(counts: Sequence[int]) -> list[Round]:
    """Every rank sends part j to rank j, which adds all up in rank order and sends the sum out.

    Each element is x₀ + x₁ + x₂ + … from the left, wherever it lies and whatever the parts, so a
    reduce-scatter has the very bits of an all-reduce. It sends as little as a ring, but every rank
    sends to all others at once.
    """
    ranks, cuts = range(len(counts)), places(counts)
    pairs = [(a, b) for a in ranks for b in ranks if a != b]
    return [
        [Transfer(a, b, cuts[b], cuts[b + 1], "reduce") for a, b in pairs],
        [Transfer(a, b, cuts[a], cuts[a + 1], "copy") for a, b in pairs],
    ]
