"""One body for every communicator: each rank works out what all ranks must have, and compares."""

from __future__ import annotations

import sys
import time
from functools import reduce
from typing import Any

import numpy as np

from minigrad.backend import to_numpy
from minigrad.distributed import Communicator
from minigrad.shares import shares

FLOATS = ("float16", "float32", "float64")
OTHERS = ("int8", "int32", "int64", "uint8", "uint64", "bool")
SHAPES = ((), (0,), (1,), (7,), (3, 4), (2, 0, 3), (5, 2, 3))
KINDS = {"sum": "iuf", "max": "iubf", "min": "iubf"}
COMBINE = {"sum": np.add, "max": np.maximum, "min": np.minimum}


def of_rank(rank: int, dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """What rank ``rank`` brings; every rank can ask."""
    numbers = np.random.default_rng([seed, rank]).normal(scale=20, size=shape)
    return np.asarray(numbers > 0 if dtype == "bool" else np.abs(numbers).astype(dtype))


def parts_and_back(
    comm: Communicator,
    brought: list[np.ndarray],
    wanted: np.ndarray,
    op: str,
    rounding: bool,
    start: bool,
    xp: Any,
) -> int:
    """Reduce-scatter by parts of any length, and gather them again."""
    flat = xp.array(brought[comm.rank].reshape(-1))
    cuts = np.random.default_rng(flat.size).integers(0, flat.size + 1, comm.size - 1)
    for counts in (None, np.diff([0, *sorted(cuts), flat.size]).tolist()):
        length = shares(flat.size, comm.size) if counts is None else counts
        first = sum(length[: comm.rank])
        mine = slice(first, first + length[comm.rank])
        whole, out = xp.zeros_like(flat), xp.empty(length[comm.rank], flat.dtype)
        if start:
            comm.start_reduce_scatter(flat, out, op, counts).wait()
            whole[mine] = out
            comm.start_gather_into(whole, counts).wait()
        else:
            comm.reduce_scatter(flat, out, op, counts)
            whole[mine] = out
            comm.gather_into(whole, counts)
        eps = comm.size * float(np.finfo(wanted.dtype).eps) if rounding else 0
        np.testing.assert_array_equal(to_numpy(flat), brought[comm.rank].reshape(-1))
        np.testing.assert_allclose(to_numpy(whole), wanted.reshape(-1), rtol=eps)
    return 2


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
                    compared += parts_and_back(comm, brought, wanted, op, rounding, start, xp)
            root = len(shape) % comm.size
            for start in (False, True):
                x = xp.array(brought[comm.rank])
                comm.start_broadcast(x, root).wait() if start else comm.broadcast(x, root)
                same(x, brought[root])
        for rows in ([1] * comm.size, [rank % 3 for rank in ranks], [0] * comm.size):
            for row in ((), (2,), (2, 3), (0,)):
                parts = comm.all_gather(
                    xp.array(of_rank(comm.rank, dtype, (rows[comm.rank], *row)))
                )
                for rank, part in enumerate(parts):
                    same(part, of_rank(rank, dtype, (rows[rank], *row)))
                    part[...] = 0  # a copy of its own, which nobody else sees
                sent = [of_rank(comm.rank, dtype, (rows[to], *row), to) for to in ranks]
                for rank, part in enumerate(comm.all_to_all([xp.array(x) for x in sent])):
                    same(part, of_rank(rank, dtype, (rows[comm.rank], *row), comm.rank))
        right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
        for shape in SHAPES if comm.size > 1 else ():
            x = xp.zeros(shape, dtype)
            asked = comm.start_receive(x, left, tag=3)
            later = comm.start_send(xp.array(of_rank(comm.rank, dtype, shape, 1)), right, tag=4)
            comm.send(xp.array(of_rank(comm.rank, dtype, shape)), right, tag=3)
            asked.wait()
            same(x, of_rank(left, dtype, shape))
            comm.receive(x, left, tag=4)
            later.wait()
            same(x, of_rank(left, dtype, shape, 1))
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

    color, key = comm.rank % 2, -comm.rank
    part = comm.split(color, key)
    members = [rank for rank in reversed(ranks) if rank % 2 == color]
    assert (part.size, part.rank) == (len(members), members.index(comm.rank))
    x = xp.array(of_rank(comm.rank, "int64", (9,)))
    part.all_reduce(x)
    same(x, sum(of_rank(rank, "int64", (9,)) for rank in members))
    assert part.all_gather_text(str(comm.rank)) == [str(rank) for rank in members]
    alone = comm.split(comm.rank)
    assert (alone.size, alone.rank) == (1, 0)
    alone.all_reduce(x)
    alone.barrier()

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
