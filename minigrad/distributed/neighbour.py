"""Shards that outlive their rank: each rank keeps a copy of the next one's."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.distributed.communicator import Communicator

__all__ = ["NeighbourCopy", "ShardsLost"]


class ShardsLost(RuntimeError):
    """A shard is gone together with its copy; the message says whose, and what to do."""


@dataclass(frozen=True)
class _Kept:
    step: int
    own: np.ndarray
    next: np.ndarray


class NeighbourCopy:
    """State that is divided among the ranks of ``comm``, each part of it in two memories.

    The ranks form a ring, and each holds a copy of the shard of the rank after it. Of two rounds
    the copies are kept, so that a rank that is lost while copies are sent takes none with it.
    Memory: four shards a rank.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._kept: list[_Kept] = []

    def keep(self, step: int, shard: Array) -> None:
        """Keep ``shard`` (any shape, which may differ by rank), this rank's state after ``step``.

        Called by all ranks for the same steps, and at least one collective call lies between two
        steps, so that none is two rounds ahead. A step that is kept again takes its own place.
        """
        own = np.array(to_numpy(shard), order="C")
        theirs = own
        if self._comm.size > 1:
            shape = np.empty(own.ndim, np.int64)
            self._exchange(np.array(own.shape, np.int64), shape)
            theirs = np.empty(shape, own.dtype)
            self._exchange(own, theirs)
        earlier = [kept for kept in self._kept if kept.step != step]
        self._kept = [*earlier[-1:], _Kept(step, own, theirs)]

    def restore(self, comm: Communicator) -> tuple[int, list[Array]]:
        """``(step, shards)``: the newest step that all have kept, and the shards of all ranks that
        there were, in their order, on every rank of ``comm``, the ones that are left.

        Raises :class:`ShardsLost`, on all of them, where a rank and the one before it are gone.
        """
        said = json.dumps([self._comm.rank, [kept.step for kept in self._kept]])
        found = dict(map(json.loads, comm.all_gather_text(said)))
        common = set.intersection(*map(set, found.values()))
        size = self._comm.size
        holders = {
            r: next((h for h in (r, (r - 1) % size) if h in found), None) for r in range(size)
        }
        lost = [rank for rank, holder in holders.items() if holder is None]
        if lost or not common:
            what = (
                f"the shards of ranks {', '.join(map(str, lost))} and their copies on the ranks "
                "before them are gone"
                if lost
                else "no step is kept by all ranks that are left"
            )
            raise ShardsLost(f"{what}; go back to the last checkpoint (--resume)")
        step = max(common)
        kept = next(kept for kept in self._kept if kept.step == step)
        shards = []
        order = sorted(found)
        for rank in range(size):
            root = order.index(holders[rank])
            mine = kept.own if rank == self._comm.rank else kept.next
            shape = json.loads(comm.broadcast_text(json.dumps(mine.shape), root))
            shard = mine.copy() if comm.rank == root else np.empty(shape, kept.own.dtype)
            comm.broadcast(shard, root)
            shards.append(shard)
        return step, shards

    def _exchange(self, mine: np.ndarray, theirs: np.ndarray) -> None:
        """Send ``mine`` to the rank before, and fill ``theirs`` from the rank after."""
        comm = self._comm
        sending = comm.start_send(mine, (comm.rank - 1) % comm.size)
        comm.receive(theirs, (comm.rank + 1) % comm.size)
        sending.wait()
