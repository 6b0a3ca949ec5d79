"""All-reduce along a ring, the one that sends least."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.distributed.algorithms.schedule import Action, Round, Transfer, places

__all__ = ["ring", "ring_of"]


def ring(counts: Sequence[int]) -> list[Round]:
    """p − 1 rounds in which partial sums of each part travel around, p − 1 that spread the results.

    Every rank sends 2(p − 1) parts of p: no algorithm can do with less than that share of the
    buffer (Patarasuk & Yuan 2009). A part's sum begins at another rank for each part, so an
    element's bits depend on its place.
    """
    return ring_of(range(len(counts)), counts)


def ring_of(members: Sequence[int], counts: Sequence[int]) -> list[Round]:
    """The ring of the ranks ``members``, of which the i-th ends up with part i summed."""
    p, cuts = len(members), places(counts)

    def hand_on(shift: int, action: Action) -> Round:
        """Every rank sends its successor the part ``shift`` before its own."""
        parts = [(i - shift) % p for i in range(p)]
        return [
            Transfer(members[i], members[(i + 1) % p], cuts[part], cuts[part + 1], action)
            for i, part in enumerate(parts)
        ]

    return [
        *(hand_on(step + 1, "reduce") for step in range(p - 1)),
        *(hand_on(step, "copy") for step in range(p - 1)),
    ]
