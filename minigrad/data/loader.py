"""Batches of the whole job, and each rank's share of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.errors import InputError
from minigrad.shares import share

__all__ = ["Batch", "DataLoader"]


@dataclass(frozen=True, eq=False)
class Batch:
    """One rank's share of a global batch (or micro-batch) of ``total`` rows.

    ``rows`` (total,) are the rows of ``source`` that the global batch consists of, ``index`` is
    its number in the epoch, and ``sample`` the number in the epoch of its first sample. This
    rank's own rows are ``rows[first : first + count]``; hence ``sample + first`` numbers its first
    sample the same way for every number of ranks, and with or without micro-batches.

    >>> loader = data.DataLoader(np.arange(5), batch_size=5, shuffle=False, rank=1, size=2)
    >>> (batch,) = loader.epoch(0)
    >>> batch.total, batch.first, batch.count, batch.x
    (5, 3, 2, array([3, 4]))
    """

    source: tuple[Array, ...]
    rows: Array
    index: int
    sample: int
    rank: int
    size: int

    @property
    def total(self) -> int:
        """Rows of the global batch, over all ranks."""
        return len(self.rows)

    @property
    def first(self) -> int:
        """The position within the global batch of this rank's first row."""
        return share(len(self.rows), self.rank, self.size)[0]

    @property
    def count(self) -> int:
        """This rank's rows; may be 0 in an epoch's last batch."""
        start, stop = share(len(self.rows), self.rank, self.size)
        return stop - start

    @cached_property
    def arrays(self) -> tuple[Array, ...]:
        """This rank's rows of each array, (count, …): contiguous copies, made when first asked."""
        start, stop = share(len(self.rows), self.rank, self.size)
        own = self.rows[start:stop]
        return tuple(array.take(own, axis=0) for array in self.source)

    @property
    def x(self) -> Array:
        """The first array's rows, (count, …)."""
        return self.arrays[0]

    @property
    def y(self) -> Array:
        """The second array's rows, (count, …)."""
        return self.arrays[1]

    @property
    def number(self) -> int:
        """The number in the epoch of this rank's first sample."""
        return self.sample + self.first

    def split(self, micro_batches: int) -> tuple[Batch, ...]:
        """The global batch cut into consecutive global micro-batches, this rank's share of each.

        Micro-batch j holds the global rows ``share(total, j, micro_batches)``, and rank r has the
        rows ``share(…, r, size)`` of those: what a micro-batch consists of does not depend on the
        number of ranks. (The rows a rank gets here are therefore not those of its share of the
        whole batch.) None is globally empty: a batch of few rows gives fewer micro-batches, the
        same number on every rank. Gradients of *summed* losses, added up over micro-batches and
        ranks and divided by this batch's ``total``, are the gradient of one batch on one process.
        """
        if micro_batches < 1:
            raise InputError(f"{micro_batches} micro-batches were asked for: give at least 1")
        pieces = min(micro_batches, self.total)
        spans = (share(self.total, piece, pieces) for piece in range(pieces))
        return tuple(
            replace(self, rows=self.rows[start:stop], sample=self.sample + start)
            for start, stop in spans
        )


class DataLoader:
    """Seeded batches of rows of ``arrays``, which all have the same length.

    ``batch_size`` is the global one: a batch is shared among ``size`` ranks. Epoch ``e`` visits
    the rows in an order that ``seed`` and ``e`` alone determine (``shuffle=False``: as they lie),
    so it is the same for any number of ranks and after a restart. The last batch of an epoch is
    smaller where the rows do not divide evenly, and left out with ``drop_last``.

    Raises :class:`InputError` for arrays that are empty or of different lengths, a batch smaller
    than the number of ranks, and fewer rows than ranks.

    >>> loader = data.DataLoader(np.arange(5), batch_size=2, shuffle=False)
    >>> [batch.x for batch in loader.epoch(0)]
    [array([0, 1]), array([2, 3]), array([4])]
    """

    def __init__(
        self,
        *arrays: Array,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        size: int = 1,
        drop_last: bool = False,
    ) -> None:
        lengths = [len(array) for array in arrays]
        if not lengths or 0 in lengths or len(set(lengths)) > 1:
            raise InputError(
                f"arrays of {', '.join(map(str, lengths)) or 'no'} rows: give at least one array, "
                "not empty, and all of the same length"
            )
        self.samples = lengths[0]
        if batch_size < 1:
            raise InputError(f"batch size {batch_size}: give at least 1")
        if seed < 0:
            raise InputError(f"seed {seed}: give a whole number that is not negative")
        share(0, rank, size)
        if self.samples < size:
            raise InputError(
                f"{size} ranks share {self.samples} samples, but each needs at least one; "
                f"start at most {self.samples} ranks"
            )
        if batch_size < size:
            raise InputError(
                f"a batch of {batch_size} is shared among {size} ranks, but each needs at least "
                f"one row; give a batch size of at least {size}, or start fewer ranks"
            )
        if drop_last and batch_size > self.samples:
            raise InputError(
                f"drop_last leaves no batch: {self.samples} samples do not fill one of "
                f"{batch_size}; give a smaller batch size"
            )
        self._xp = array_module(*arrays, op="DataLoader")
        self.arrays = arrays
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.size = size
        self.drop_last = drop_last

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This rank's share of each batch of an epoch, from batch number ``start`` on."""
        if epoch < 0 or not 0 <= start <= len(self):
            raise InputError(
                f"epoch {epoch}, batch {start}: epochs count from 0, batches from 0 to {len(self)}"
            )
        order = self._order(epoch)
        return (self._batch(order, index) for index in range(start, len(self)))

    def _order(self, epoch: int) -> Array:
        order: Array = (
            np.random.default_rng([self.seed, epoch]).permutation(self.samples)
            if self.shuffle
            else np.arange(self.samples)
        )
        return self._xp.asarray(order)

    def _batch(self, order: Array, index: int) -> Batch:
        sample = index * self.batch_size
        rows = order[sample : sample + self.batch_size]
        return Batch(self.arrays, rows, index, sample, self.rank, self.size)
