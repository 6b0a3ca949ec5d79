"""The algorithms by name: as schedules, and explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minigrad.distributed.algorithms.butterfly import doubling, rabenseifner
from minigrad.distributed.algorithms.direct import ordered, root
from minigrad.distributed.algorithms.ring import ring
from minigrad.distributed.algorithms.schedule import Collective, Round, Schedule
from minigrad.distributed.algorithms.tree import hierarchical, tree
from minigrad.errors import InputError, unknown
from minigrad.shares import shares

__all__ = ["ALGORITHMS", "all_reduce", "explain", "lower_bound", "schedule"]

_BUILDERS: dict[str, Callable[[Sequence[int]], list[Round]]] = {
    "root": root,
    "tree": tree,
    "doubling": doubling,
    "ring": ring,
    "rabenseifner": rabenseifner,
    "ordered": ordered,
}

ALGORITHMS = (*_BUILDERS, "hierarchical")
"""On every rank all give the same bits; all but "ring" and "hierarchical" (where it has more than
two nodes) give an element the same bits wherever it lies in the buffer."""


def schedule(
    name: str, collective: Collective, counts: Sequence[int], nodes: Sequence[int] | None = None
) -> Schedule:
    """The schedule of ``collective`` by algorithm ``name``, with parts of ``counts`` elements.

    ``nodes``, the node of each rank, is for "hierarchical", and by default one for all. Raises
    :class:`InputError` for an unknown name or parts that cannot be.
    """
    if name not in ALGORITHMS:
        raise unknown("algorithm", name, ALGORITHMS)
    counts = tuple(counts)
    if not counts or min(counts) < 0:
        raise InputError(f"counts are {counts}; give a number, 0 or above, for each rank")
    if name == "hierarchical":
        rounds = hierarchical(counts, [0] * len(counts) if nodes is None else nodes)
    else:
        rounds = _BUILDERS[name](counts)
    whole = Schedule(name, "all_reduce", counts, tuple(map(tuple, rounds)))
    return whole if collective == "all_reduce" else whole.derive(collective, counts)


def all_reduce(name: str, ranks: int, size: int, nodes: Sequence[int] | None = None) -> Schedule:
    """The schedule of an all-reduce of ``size`` elements on ``ranks`` ranks."""
    if ranks < 1 or size < 0:
        raise InputError(
            f"an all-reduce of {size} elements on {ranks} ranks; give 0 and 1 at least"
        )
    return schedule(name, "all_reduce", shares(size, ranks), nodes)


def lower_bound(ranks: int, size: int) -> float:
    """Elements that some rank must send at least in an all-reduce: 2(p − 1)/p of the buffer
    (Patarasuk & Yuan 2009)."""
    return 2 * (ranks - 1) / ranks * size


def explain(
    name: str, ranks: int, size: int, dtype: str = "float32", nodes: Sequence[int] | None = None
) -> str:
    """The schedule of an all-reduce as a table, with what it sends and in which order it adds.

    >>> from minigrad.distributed import algorithms
    >>> print(algorithms.explain("ring", ranks=2, size=4))
    ring: all_reduce of 4 elements on 2 ranks, 2 rounds (+> is added there, => replaces)
    round  rank 0 sends  rank 1 sends
    1      2:4 +> 1      0:2 +> 0
    2      0:2 => 1      2:4 => 0
    <BLANKLINE>
    rank 0 sends 2 messages, 16 bytes, 1.00 times the lower bound
    rank 1 sends 2 messages, 16 bytes, 1.00 times the lower bound
    lower bound 2(p − 1)/p: 16 bytes for some rank
    elements 0:4 are 0+1
    """
    plan = all_reduce(name, ranks, size, nodes)
    width = np.dtype(dtype).itemsize
    bound = lower_bound(ranks, size)
    lines = [str(plan), ""]
    for rank in range(ranks):
        sent = plan.elements_sent(rank)
        share = f", {sent / bound:.2f} times the lower bound" if bound else ""
        lines.append(
            f"rank {rank} sends {plan.messages(rank)} messages, {sent * width} bytes{share}"
        )
    lines.append(f"lower bound 2(p − 1)/p: {bound * width:g} bytes for some rank")
    lines += [f"elements {start}:{stop} are {sum_}" for start, stop, sum_ in plan.sums]
    return "\n".join(lines)
