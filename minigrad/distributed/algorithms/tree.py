"""All-reduce along binomial trees, and in two levels: within a node, then between nodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from minigrad.distributed.algorithms.ring import ring_of
from minigrad.distributed.algorithms.schedule import Round, Transfer
from minigrad.errors import InputError
from minigrad.shares import shares

__all__ = ["hierarchical", "tree"]


def tree(counts: Sequence[int]) -> list[Round]:
    """Sums go up a binomial tree to rank 0 in log₂ p rounds, and the result down it in as many."""
    up = _up(range(len(counts)), sum(counts))
    return [*up, *_down(up)]


def hierarchical(counts: Sequence[int], nodes: Sequence[int]) -> list[Round]:
    """Up a tree to the first rank of each node, around a ring of these, and down the trees again.

    ``nodes``: the node of each rank. Between nodes each sends 2(n − 1)/n of one buffer for n nodes,
    however many ranks it has, which pays off where the network is slower than a node's memory.
    """
    if len(nodes) != len(counts):
        raise InputError(
            f"nodes names {len(nodes)} ranks' nodes, but there are {len(counts)} ranks"
        )
    size = sum(counts)
    groups: dict[int, list[int]] = {}
    for rank, node in enumerate(nodes):
        groups.setdefault(node, []).append(rank)
    leaders = [members[0] for members in groups.values()]
    at_once = itertools.zip_longest(*(_up(each, size) for each in groups.values()), fillvalue=[])
    up = [list(itertools.chain(*rounds)) for rounds in at_once]
    return [*up, *ring_of(leaders, shares(size, len(leaders))), *_down(up)]


def _up(members: Sequence[int], size: int) -> list[list[Transfer]]:
    """Sums from all ``members`` to the first one."""
    rounds = []
    d = 1
    while d < len(members):
        senders = range(d, len(members), 2 * d)
        rounds.append([Transfer(members[i], members[i - d], 0, size, "reduce") for i in senders])
        d *= 2
    return rounds


def _down(up: Sequence[Sequence[Transfer]]) -> list[Round]:
    """The way back of what went up."""
    return [
        [Transfer(t.target, t.source, t.start, t.stop, "copy") for t in each]
        for each in reversed(up)
    ]
