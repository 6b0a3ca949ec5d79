"""All-reduce between partners at distances 1, 2, 4, …: recursive doubling and halving.

Both need a power of two, q. Of other numbers of ranks, p, the first p − q pairs fold beforehand:
the odd rank gives all it has to the even one, sits out, and is sent the result at the end (Thakur,
Rabenseifner & Gropp 2005, §4.4).
"""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.distributed.algorithms.schedule import Action, Round, Transfer, places
from minigrad.shares import shares

__all__ = ["doubling", "rabenseifner"]


def doubling(counts: Sequence[int]) -> list[Round]:
    """Recursive doubling: in log₂ q rounds, partners exchange and add all they have.

    The fewest rounds, for messages so short that rounds are all that matters.
    """
    size, core = sum(counts), _core(len(counts))
    rounds = [
        [Transfer(rank, core[i ^ d], 0, size, "reduce") for i, rank in enumerate(core)]
        for d in _distances(len(core))
    ]
    return _folded(rounds, len(counts), size)


def rabenseifner(counts: Sequence[int]) -> list[Round]:
    """Rabenseifner's: a reduce-scatter by recursive halving, an all-gather by recursive doubling.

    In each round partners divide between them what they are both responsible for, and each adds
    what it gets of its own half; then the same backwards with copies. 2 log₂ q rounds, and of
    powers of two no more is sent than in a ring (Rabenseifner 2004; Thakur, Rabenseifner & Gropp
    2005, §4.4).
    """
    p, size = len(counts), sum(counts)
    core = _core(p)
    cuts = places(counts if len(core) == p else shares(size, len(core)))

    def exchange(d: int, action: Action) -> Round:
        for i, rank in enumerate(core):
            j = i ^ d
            first = (j if action == "reduce" else i) // d * d
            yield Transfer(rank, core[j], cuts[first], cuts[first + d], action)

    rounds: list[Round] = [
        *(exchange(d, "reduce") for d in reversed(_distances(len(core)))),
        *(exchange(d, "copy") for d in _distances(len(core))),
    ]
    return _folded(rounds, p, size)


def _core(p: int) -> list[int]:
    """The ranks that take part, a power of two of them."""
    q = 1 << (p.bit_length() - 1)
    return [rank for rank in range(p) if rank % 2 == 0 or rank >= 2 * (p - q)]


def _distances(q: int) -> list[int]:
    return [1 << k for k in range(q.bit_length() - 1)]


def _folded(rounds: Sequence[Round], p: int, size: int) -> list[Round]:
    idle = sorted(set(range(p)).difference(_core(p)))
    return [
        [Transfer(rank, rank - 1, 0, size, "reduce") for rank in idle],
        *rounds,
        [Transfer(rank - 1, rank, 0, size, "copy") for rank in idle],
    ]
