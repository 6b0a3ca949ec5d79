"""Sending less than the gradients: for :class:`~minigrad.distributed.reducers.Bucketed`.

    DataParallel(model, optimizer, comm, reducer=Bucketed(compression=PowerSGD(2)))

:class:`Float16` halves what is sent. :class:`TopK` and :class:`PowerSGD` send far less, and each
rank keeps what it has not sent, to add it to its next gradient: so everything arrives in the end
(error feedback, Seide et al. 2014).

What is kept is not saved: a run that goes on from a checkpoint begins with nothing kept, and what
had not been sent by then is lost. A gradient that is not finite arrives as one on all ranks, and
what was kept for its bucket is dropped, since it would spoil all later steps.

``bytes_sent`` counts the bytes that this rank has handed over to be summed or gathered; without
compression that would be the size of the gradients. Each rank makes a compression of its own, for
one model. The ranks wait for buckets in the order in which they began them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.distributed.call import Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.reducers import Bucket
from minigrad.errors import InputError
from minigrad.kernels.casting import to_float, to_half
from minigrad.kernels.compression import top_k
from minigrad.shares import shares

__all__ = ["Float16", "PowerSGD", "TopK"]

_TOP = 12  # of float16's exponents, which end with 15, that of the last sum's largest number

_QUIET = np.errstate(
    over="ignore", invalid="ignore"
)  # the gradient's norm tells of what is not finite


class Float16:
    """Gradients as float16, each rounded once, and so is their sum, which is formed in float32.

    A bucket is multiplied by a power of two first, so that the largest of its last sum would be
    about 2^12 (Micikevicius et al. 2018 scale the loss to this end). Then numbers from 8 times
    that largest down to 2^-26 of it keep float16's 11 bits, and those below 2^-37 of it become 0.
    Where a number overflows, and the first time, all ranks send the bucket once more, whole, so
    that is not lost. MPI has no sum of float16: each rank adds up a part of the bucket, which the
    others send it, and sends the sum to all.
    """

    def __repr__(self) -> str:
        return "Float16()"

    def __init__(self) -> None:
        self.bytes_sent = 0
        self._shifts: dict[tuple[int, int], int | None] = {}

    @_QUIET
    def start(self, comm: Communicator, bucket: Bucket, gradient: Array) -> Request:
        """Begin to send a bucket's ``gradient`` (n,) at half precision.

        After ``wait`` on what comes back it holds the sum over ranks. A bucket's first gradient,
        from which its shift is learned, goes whole.
        """
        key = _key(bucket)
        shift = self._shifts.get(key)
        if shift is None:
            self.bytes_sent += gradient.nbytes
            whole = comm.start_all_reduce(gradient)
            return _Then([whole], lambda: self._learn(key, gradient))
        xp = array_module(gradient)
        half = xp.empty(gradient.size, np.float16)
        _narrow(gradient, half, 2.0**shift)
        self.bytes_sent += half.nbytes
        ends = np.cumsum(shares(half.size, comm.size)).tolist()
        parts = xp.split(half, ends[:-1])
        mine = parts[comm.rank]
        arriving = [mine if r == comm.rank else xp.empty_like(mine) for r in range(comm.size)]
        others = [rank for rank in range(comm.size) if rank != comm.rank]
        requests = [comm.start_receive(arriving[rank], rank) for rank in others if mine.size]
        requests += [comm.start_send(parts[rank], rank) for rank in others if parts[rank].size]

        @_QUIET
        def finish() -> None:
            mine[...] = sum(part.astype(np.float32) for part in arriving)
            comm.gather_into(half)
            exponent = _exponent(half)
            if exponent is None:
                self.bytes_sent += gradient.nbytes
                comm.all_reduce(gradient)
                self._learn(key, gradient)
                return
            _widen(half, gradient, 2.0**-shift)
            self._shifts[key] = _bounded(shift + _TOP - exponent)

        return _Then(requests, finish)

    def _learn(self, key: tuple[int, int], total: Array) -> None:
        largest = float(abs(total).max()) if total.size else 0.0
        known = 0 < largest < math.inf
        self._shifts[key] = _bounded(_TOP + 1 - math.frexp(largest)[1]) if known else None


class TopK:
    """Of each bucket the entries of largest magnitude, a ``ratio`` of all, and at least one
    (Stich, Cordonnier & Jaggi 2018, "Sparsified SGD with memory").

    Each rank chooses by itself, and sends indices and values to all; so p ranks receive p times as
    much, and a sum of all p is up to p times as dense. Raises :class:`InputError` for a ratio that
    is not above 0 and at most 1.
    """

    def __repr__(self) -> str:
        return f"TopK({self.ratio})"

    def __init__(self, ratio: float = 0.01) -> None:
        if not 0 < ratio <= 1:
            raise InputError(f"TopK sends a part of the gradient, above 0 and at most 1: {ratio}")
        self.ratio = ratio
        self.bytes_sent = 0
        self._residuals: dict[tuple[int, int], Array] = {}

    @_QUIET
    def start(self, comm: Communicator, bucket: Bucket, gradient: Array) -> Request:
        """Begin to send the largest elements of a bucket's ``gradient`` (n,).

        After ``wait`` on what comes back it holds the sum over ranks of what was sent.
        """
        xp, n = array_module(gradient), gradient.size
        key = _key(bucket)
        if key not in self._residuals:
            self._residuals[key] = xp.zeros_like(gradient)
        residual = self._residuals[key]
        k = min(n, max(1, round(self.ratio * n)))
        indices = xp.empty((comm.size, k), np.int32 if n < 1 << 31 else np.int64)
        values = xp.empty((comm.size, k), gradient.dtype)
        indices[comm.rank], values[comm.rank] = top_k(gradient, residual, k)
        self.bytes_sent += indices[0].nbytes + values[0].nbytes
        requests = [comm.start_gather_into(a.reshape(-1)) for a in (indices, values)]

        @_QUIET
        def finish() -> None:
            gradient.fill(0)
            for chosen, value in zip(indices, values):
                gradient[chosen] += value
            if not xp.isfinite(values).all():
                residual.fill(0)

        return _Then(requests, finish)


class PowerSGD:
    """Each matrix of gradients as P̂·Qᵀ of a low ``rank`` (Vogels, Karimireddy & Jaggi 2019).

    One step of the power method: with M a rank's gradient (m, n) and what it kept, P = ΣM·Q is
    summed over the ranks and made orthonormal, Q = ΣMᵀ·P̂ is summed, and ΣM becomes P̂·Qᵀ; each
    rank keeps M − P̂·P̂ᵀM. The next step begins with this Q, the first with random numbers from
    ``seed``, the same on all ranks. What has one axis, and matrices that are no larger than their
    factors, rank·(m + n), are sent whole; further axes count as n.

    Every rank multiplies for itself. That gives the same bits where processors and BLAS are alike;
    where they are not, :meth:`DataParallel.check_replicas` tells. Raises :class:`InputError` for a
    rank below 1.
    """

    def __repr__(self) -> str:
        return f"PowerSGD({self.rank}, seed={self.seed})"

    def __init__(self, rank: int = 2, seed: int = 0) -> None:
        if rank < 1:
            raise InputError(f"PowerSGD needs a rank of at least 1, not {rank}")
        self.rank = rank
        self.seed = seed
        self.bytes_sent = 0
        self._matrices: dict[tuple[int, int], list[_Matrix]] = {}

    @_QUIET
    def start(self, comm: Communicator, bucket: Bucket, gradient: Array) -> Request:
        """Begin to send low-rank factors of a bucket's ``gradient`` (n,).

        After ``wait`` on what comes back it holds the sum over ranks of what was sent.
        """
        xp, key = array_module(gradient), _key(bucket)
        if key not in self._matrices:
            self._matrices[key] = self._prepare(bucket, gradient)
        matrices = self._matrices[key]
        places = {matrix.place.start for matrix in matrices}
        start = bucket.part.start
        whole = [
            gradient[span.start - start : span.stop - start]
            for span in bucket.spans
            if span.start - start not in places
        ]
        for matrix in matrices:
            matrix.m += gradient[matrix.place].reshape(matrix.m.shape)
        factors = [matrix.m @ matrix.q for matrix in matrices]
        message = _joined(xp, [*factors, *whole])
        self.bytes_sent += message.nbytes

        @_QUIET
        def finish() -> None:
            *sums, rest = _cut(message, factors)
            for part, into in zip(_cut(rest, whole), whole):
                into[...] = part
            if not matrices:
                return
            p = [xp.linalg.qr(total)[0] for total in sums]
            mine = [matrix.m.T @ p_hat for matrix, p_hat in zip(matrices, p)]
            factor = _joined(xp, mine)
            self.bytes_sent += factor.nbytes
            comm.all_reduce(factor)
            for matrix, p_hat, own, total in zip(matrices, p, mine, _cut(factor, mine)):
                gradient[matrix.place] = (p_hat @ total.T).reshape(-1)
                matrix.m -= p_hat @ own.T
                matrix.begin_with(total)
            if not xp.isfinite(factor).all():
                del self._matrices[key]

        return _Then([comm.start_all_reduce(message)], finish)

    def _prepare(self, bucket: Bucket, gradient: Array) -> list[_Matrix]:
        xp = array_module(gradient)
        dtype = np.promote_types(gradient.dtype, np.float32)
        found = []
        for span in bucket.spans:
            m, size = (span.shape or (1,))[0], span.stop - span.start
            n = size // max(1, m)
            if len(span.shape) > 1 and self.rank * (m + n) < size:
                rng = np.random.default_rng([self.seed, bucket.arena, span.start])
                first = xp.asarray(rng.standard_normal((n, self.rank)), dtype)
                at = span.start - bucket.part.start
                place = slice(at, at + size)
                found.append(_Matrix(place, xp.zeros((m, n), dtype), first, first))
        return found


@dataclass
class _Matrix:
    """One matrix of a bucket: its place there, what is kept of it (m, n), and Q (n, rank)."""

    place: slice
    m: Array
    first: Array
    q: Array

    def begin_with(self, q: Array) -> None:
        """Take the columns of ``q``, scaled to 1; a column of zeros, which would remain one, is
        taken from the first Q."""
        xp = array_module(q)
        largest = abs(q).max(axis=0)
        dead = largest == 0
        self.q = xp.where(dead, self.first, q / xp.where(dead, 1, largest))


class _Then(Request):
    """What is left to do after some requests, which may communicate itself."""

    def __init__(self, requests: Iterable[Request], finish: Callable[[], None]) -> None:
        self._requests = list(requests)
        self._finish: Callable[[], None] | None = finish

    def wait(self) -> None:
        if self._finish is not None:
            for request in self._requests:
                request.wait()
            finish, self._finish = self._finish, None
            finish()

    def done(self) -> bool:
        return self._finish is None


def _key(bucket: Bucket) -> tuple[int, int]:
    return bucket.arena, bucket.part.start


def _narrow(x: Array, half: Array, scale: float) -> None:
    if x.dtype == np.float32:
        to_half(x, half, scale)
    else:
        half[...] = x * scale


def _widen(half: Array, x: Array, scale: float) -> None:
    if x.dtype == np.float32:
        to_float(half, x, scale)
    else:
        x[...] = half
        x *= scale


def _exponent(half: Array) -> int | None:
    """The largest magnitude as a power of two, rounded down; ``None`` where it is not finite."""
    if half.size == 0:
        return _TOP
    bits = int((half.view(np.uint16) & 0x7FFF).max())
    if bits >= 0x7C00:
        return None
    return (bits >> 10) - 15 if bits else _TOP


def _bounded(shift: int) -> int:
    """So that both 2^shift and its inverse are numbers of float32."""
    return min(max(shift, -120), 120)


def _joined(xp: Any, arrays: list[Array]) -> Array:
    return xp.concatenate([array.reshape(-1) for array in arrays]) if arrays else xp.empty(0)


def _cut(whole: Array, like: list[Array]) -> list[Array]:
    """The parts of a 1-D array in the shapes of ``like``, and what is left behind them."""
    ends = np.cumsum([array.size for array in like]).tolist()
    *parts, rest = array_module(whole).split(whole, ends)
    return [*(part.reshape(array.shape) for part, array in zip(parts, like)), rest]
