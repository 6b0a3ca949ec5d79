"""What is written out beside what a communicator does itself: on threads, and as an MPI job."""

from __future__ import annotations

import re
import sys

import numpy as np

from minigrad.distributed import world
from minigrad.distributed.algorithms import ALGORITHMS, WrittenOut, all_reduce
from minigrad.distributed.algorithms.run import SEGMENT
from minigrad.shares import shares


def brought(rank, size, dtype="float32"):
    """What ``rank`` brings: numbers of very different size, so that the order of a sum shows."""
    generator = np.random.default_rng([rank, size])
    numbers = generator.normal(size=size) * 10.0 ** generator.integers(-3, 4, size)
    return numbers > 0 if dtype == "bool" else numbers.astype(dtype)


def added(found, size, ranks, dtype="float32"):
    """What a schedule's ``sums`` say, computed by Python."""
    x = [brought(rank, size, dtype) for rank in range(ranks)]
    total = np.empty_like(x[0])
    for start, stop, text in found:
        code = re.sub(r"\d+", r"x[\g<0>][a:b]", text)
        total[start:stop] = eval(code, {"x": x, "a": start, "b": stop})
    return total


def compare(comm, inner, counts, dtype, exact):
    """All that is written out, beside the inner communicator's own."""
    size, own = sum(counts), slice(sum(counts[: comm.rank]), sum(counts[: comm.rank + 1]))

    def same(found, wanted):
        eps = 0.0 if exact or wanted.dtype.kind != "f" else comm.size * np.finfo(wanted.dtype).eps
        scale = max((abs(brought(r, size)).max(initial=0) for r in range(comm.size)), default=0)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=eps * comm.size * scale)
        return inner.all_gather_text(np.ascontiguousarray(found).tobytes().hex())

    for op in ("sum", "max", "min") if dtype != "bool" else ("max", "min"):
        x, y = (brought(comm.rank, size, dtype) for _ in range(2))
        comm.all_reduce(x, op)
        inner.all_reduce(y, op)
        assert len(set(same(x, y))) == 1
        whole = brought(comm.rank, size, dtype)
        out, theirs = (np.empty(counts[comm.rank], dtype) for _ in range(2))
        comm.start_reduce_scatter(whole, out, op, counts).wait()
        inner.reduce_scatter(whole, theirs, op, counts)
        same(out, theirs)
        assert whole.tobytes() == brought(comm.rank, size, dtype).tobytes()
        if exact:
            assert out.tobytes() == x[own].tobytes()
        comm.gather_into(whole, counts)
        others = brought(comm.rank, size, dtype)
        inner.gather_into(others, counts)
        assert whole.tobytes() == others.tobytes()


def main():
    """Under mpirun: every algorithm beside MPI's own, with segments and without."""
    inner = world()
    for name in ALGORITHMS:
        comm = WrittenOut(inner, name, str(inner.rank // 2))
        comm._runner.segment = 2048  # so that a short message is several segments
        cases = ((2, "int64"), (1000, "float64"), (101, "float16"))
        for number, (n, dtype) in enumerate(cases):
            first = (n, *[0] * (inner.size - 1))
            compare(comm, inner, first if number == 1 else shares(n, inner.size), dtype, False)
        x = brought(inner.rank, 777)
        comm.all_reduce(x)
        nodes = [rank // 2 for rank in range(inner.size)]
        wanted = added(all_reduce(name, inner.size, 777, nodes).sums, 777, inner.size)
        assert x.tobytes() == wanted.tobytes()
        comm._runner.segment = SEGMENT
        x = np.full(1 << 19, inner.rank, np.float32)  # longer than a segment
        comm.all_reduce(x)
        assert (x == inner.size * (inner.size - 1) / 2).all()
    sys.stdout.write("equal\n")


if __name__ == "__main__":
    main()
