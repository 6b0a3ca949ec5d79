"""How anything is divided among ranks: the first ones get one more where it does not divide."""

from __future__ import annotations

from minigrad.errors import InputError

__all__ = ["share", "shares"]


def share(total: int, rank: int, size: int) -> tuple[int, int]:
    """``(start, stop)``: the part of ``range(total)`` that is ``rank``'s among ``size``.

    The parts are consecutive, in rank order, and cover everything once; their lengths differ by
    at most one, the first ranks having the longer ones. Where ``total < size`` some are empty.
    """
    if not 0 <= rank < size:
        raise InputError(f"rank {rank} of {size}: ranks go from 0 to the number of ranks less one")
    least, extra = divmod(total, size)
    start = rank * least + min(rank, extra)
    return start, start + least + (rank < extra)


def shares(total: int, size: int) -> tuple[int, ...]:
    """How many of ``total`` things each of ``size`` ranks gets: (3, 3, 2) of 8 among 3."""
    least, extra = divmod(total, size)
    return (least + 1,) * extra + (least,) * (size - extra)
