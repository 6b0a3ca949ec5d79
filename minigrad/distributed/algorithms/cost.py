"""How long a schedule takes, by the alpha-beta-gamma model, and which algorithm is fastest.

A message of n bytes takes α + βn, and adding n bytes γn. A rank sends one message at a time and
receives one meanwhile; a round lasts until the busiest rank is ready. The model of Thakur,
Rabenseifner & Gropp 2005, §3, for any schedule.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minigrad.distributed.algorithms.catalogue import ALGORITHMS, all_reduce
from minigrad.distributed.algorithms.schedule import Schedule
from minigrad.errors import InputError

__all__ = ["Load", "Rates", "fastest", "fit", "load", "predict"]


class Rates(NamedTuple):
    """``alpha`` in seconds a message, ``beta`` in seconds a byte sent, ``gamma`` a byte added."""

    alpha: float
    beta: float
    gamma: float = 0.0


class Load(NamedTuple):
    """What the busiest rank of each round sends or receives, and adds, over all rounds."""

    messages: int
    sent: int
    added: int


def load(schedule: Schedule, itemsize: int = 4) -> Load:
    """The load of ``schedule``, for elements of ``itemsize`` bytes."""
    messages = sent = added = 0
    for each in schedule.rounds:
        ends: Counter[tuple[str, int]] = Counter()
        moved: Counter[tuple[str, int]] = Counter()
        sums: Counter[int] = Counter()
        for t in each:
            for end in (("from", t.source), ("to", t.target)):
                ends[end] += 1
                moved[end] += t.elements
            sums[t.target] += t.elements * (t.action == "reduce")
        messages += max(ends.values())
        sent += max(moved.values())
        added += max(sums.values())
    return Load(messages, sent * itemsize, added * itemsize)


def predict(schedule: Schedule, rates: Rates, itemsize: int = 4) -> float:
    """Seconds that ``schedule`` takes, for elements of ``itemsize`` bytes."""
    return sum(amount * rate for amount, rate in zip(load(schedule, itemsize), rates))


def fastest(
    ranks: int, size: int, rates: Rates, itemsize: int = 4, nodes: Sequence[int] | None = None
) -> str:
    """The algorithm that should be the fastest for an all-reduce of ``size`` elements."""

    def seconds(name: str) -> float:
        return predict(all_reduce(name, ranks, size, nodes), rates, itemsize)

    return min(ALGORITHMS, key=seconds)


def fit(measured: Sequence[tuple[Schedule, float]], itemsize: int = 4) -> Rates:
    """The rates that come nearest to the ``measured`` seconds of some schedules, none below 0.

    Least squares of the relative errors, so that short messages count as much as long ones. Raises
    :class:`InputError` where nothing, or no time, was measured.
    """
    loads = np.array([load(schedule, itemsize) for schedule, _ in measured], np.float64)
    seconds = np.array([time for _, time in measured])
    if not seconds.size or not (seconds > 0).all():
        raise InputError(f"rates are fitted to times above 0 of some schedules; got {seconds}")
    scaled = loads.reshape(-1, 3) / seconds[:, None]
    best, least = np.zeros(3), np.inf
    for chosen in itertools.product((False, True), repeat=3):  # few enough to try which are 0
        columns = np.flatnonzero(chosen)
        found = np.zeros(3)
        found[columns] = np.linalg.lstsq(scaled[:, columns], np.ones(seconds.size))[0]
        error = float(((scaled @ found - 1) ** 2).sum())
        if (found >= 0).all() and error < least:
            best, least = found, error
    return Rates(*best.tolist())
