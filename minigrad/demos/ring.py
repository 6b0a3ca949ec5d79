"""A13 (D2 §2.5): parallel computing over MPI. An all-reduce along a ring, from send and receive.

The buffer is cut in as many parts as there are ranks. In p − 1 rounds partial sums travel around
the ring, in p − 1 more the results do: each rank sends 2(p − 1)/p of the buffer, and no algorithm
can do with less (Patarasuk & Yuan 2009).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from minigrad.demos.common import Counted, library, seconds, table, tell, worst
from minigrad.distributed import Communicator
from minigrad.distributed.algorithms import WrittenOut, all_reduce, draw, lower_bound

__all__ = ["demo"]

_SHOWN = 6  # ranks, in print and picture
_SIZES = {"4 KiB": 1 << 12, "256 KiB": 1 << 18, "4 MiB": 1 << 22}


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    ranks, own = comm.size, library(comm)
    plan = all_reduce("ring", min(ranks, _SHOWN), 2 * min(ranks, _SHOWN))
    tell(comm, str(plan), "")

    counted = Counted(comm)
    ring = WrittenOut(counted, "ring")
    x = np.random.default_rng(comm.rank).normal(size=1200 * ranks)
    ours, theirs = x.copy(), x.copy()
    counted.calls.clear()
    ring.all_reduce(ours)
    bound = lower_bound(ranks, x.size) * x.itemsize
    tell(
        comm,
        f"{x.nbytes:,} bytes of float64: each rank sent {counted.calls['send']} messages, "
        f"{counted.sent:,} bytes; the lower bound is {bound:,.0f}",
        f"(through a root, that one sends {x.nbytes * (ranks - 1):,})",
    )
    comm.all_reduce(theirs)
    whole, same = np.rint(8 * x), np.rint(8 * x)
    ring.all_reduce(whole)
    comm.all_reduce(same)
    exact, rounded = worst(comm, whole, same), worst(comm, ours, theirs)
    tell(
        comm,
        f"largest difference from the sum by {own}: {exact:g} for whole numbers, {rounded:.0e} for "
        "others,",
        "where it shows in which order three or more are added",
        "",
    )
    rows: list[tuple[object, ...]] = [("buffer", "ring", own, "ratio")]
    for size, nbytes in _SIZES.items():
        buffer = np.zeros(nbytes // 4, np.float32)
        times = [seconds(comm, partial(by.all_reduce, buffer)) for by in (ring, comm)]
        micro = [f"{1e6 * each:,.0f} µs" for each in times]
        rows.append((size, *micro, f"{times[0] / times[1]:.2f}"))
    tell(comm, table(*rows))
    if comm.rank == 0:
        draw(plan, folder / "ring.png")
