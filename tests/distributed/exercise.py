"""One body for every communicator: each rank works out what all ranks must have, and compares."""

from __future__ import annotations

import sys
import time
from functools import reduce
from typing import Any

import numpy as np

from minigrad.backend import to_numpy
from minigrad.distributed import Communicator

FLOATS = ("float16", "float32", "float64")
OTHERS = ("int8", "int32", "int64", "uint8", "uint64", "bool")
SHAPES = ((), (0,), (1,), (7,), (3, 4), (2, 0, 3), (5, 2, 3))
KINDS = {"sum": "iuf", "max": "iub", "min": "iub"}
COMBINE = {"sum": np.add, "max": np.maximum, "min": np.minimum}


def of_rank(rank: int, dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """What rank ``rank`` brings; every rank can ask."""
    numbers = np.random.default_rng([seed, rank]).normal(scale=20, size=shape)
    return np.asarray(numbers > 0 if dtype == "bool" else np.abs(numbers).astype(dtype))


def exercise(comm: Communicator, xp: Any = np) -> int:
    """Every collective on every dtype and shape; returns how many comparisons were made."""
    ranks = range(comm.size)
    compared = 0

    def same(got: Any, wanted: np.ndarray, rounding: bool = False) -> None:
        nonlocal compared
        compared += 1
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
        if rounding:
            eps = float(np.finfo(wanted.dtype).eps)
            np.testing.assert_allclose(to_numpy(got), wanted, rtol=comm.size * eps)
        else:
            np.testing.assert_array_equal(to_numpy(got), wanted)

    def same_bits(got: Any) -> None:
        every = comm.all_gather_text(to_numpy(got).tobytes().hex())
        assert len(set(every)) == 1

    for dtype in FLOATS + OTHERS:
        for shape in SHAPES:
            brought = [of_rank(rank, dtype, shape) for rank in ranks]
            for op, combine in COMBINE.items():
                if np.dtype(dtype).kind not in KINDS[op]:
                    continue
                wide = np.float64 if dtype in FLOATS else brought[0].dtype
                wanted = np.asarray(reduce(combine, [x.astype(wide) for x in brought]))
                wanted = wanted.astype(dtype)
                rounding = op == "sum" and dtype in FLOATS
                for start in (False, True):
                    x = xp.array(brought[comm.rank])
                    if start:
                        comm.start_all_reduce(x, op).wait()
                    else:
                        comm.all_reduce(x, op)
                    same(x, wanted, rounding)
                    same_bits(x)
            root = len(shape) % comm.size
            x = xp.array(brought[comm.rank])
            comm.broadcast(x, root)
            same(x, brought[root])
        for rows in ([1] * comm.size, [rank % 3 for rank in ranks], [0] * comm.size):
            for row in ((), (2,), (2, 3), (0,)):
                parts = comm.all_gather(
                    xp.array(of_rank(comm.rank, dtype, (rows[comm.rank], *row)))
                )
                for rank, part in enumerate(parts):
                    same(part, of_rank(rank, dtype, (rows[rank], *row)))
                    part[...] = 0  # a copy of its own, which nobody else sees
        comm.barrier()

    x = xp.full(2, 40000, np.float16)
    comm.all_reduce(x)
    same(x, np.full(2, 40000 if comm.size == 1 else np.inf, np.float16))

    started = [(xp.array(of_rank(comm.rank, "int64", (50,), s)), s) for s in range(8)]
    requests = [comm.start_all_reduce(x) for x, _ in started]
    order = np.random.default_rng(comm.rank).permutation(len(requests))
    for place in order:
        if place % 2:
            requests[place].wait()
        else:
            while not requests[place].done():
                pass
        x, seed = started[place]
        same(x, sum(of_rank(rank, "int64", (50,), seed) for rank in ranks))
        requests[place].wait()

    x = xp.array(of_rank(comm.rank, "float32", (300_000,)))
    comm.all_reduce(x)
    same_bits(x[:1000])
    same_bits(x.sum()[None])

    texts = ["", "loss 0,3 ∇θ", "日本語\n" * 100]
    told = comm.all_gather_text(texts[comm.rank % 3])
    assert told == [texts[rank % 3] for rank in ranks]

    other = comm.duplicate().duplicate()
    x, y, z = (xp.array(of_rank(comm.rank, "int64", (9,), seed)) for seed in range(3))
    starts = [lambda: other.start_all_reduce(x), lambda: comm.start_all_reduce(y)]
    requests = [start() for start in starts[:: -1 if comm.rank % 2 else 1]]
    comm.all_reduce(z)
    for request in requests:
        request.wait()
    for seed, got in enumerate((x, y, z)):
        same(got, sum(of_rank(rank, "int64", (9,), seed) for rank in ranks))
    for root in ranks:
        assert comm.broadcast_text(f"from {comm.rank} é", root) == f"from {root} é"
    return compared


if __name__ == "__main__":
    from minigrad.backend import module_for
    from minigrad.distributed import world

    comm = world()
    assert exercise(comm, module_for(sys.argv[1])) > 400
    print(f"{comm.rank}/{comm.size} {comm.local_rank}/{comm.local_size}")
    time.sleep(0.2 * (comm.rank == comm.size - 1))
    sys.exit(9)
