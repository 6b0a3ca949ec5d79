"""Contestants that do the same work, run in turn; what comes out are ratios.

A machine's speed drifts: other programs, clock rates, caches. So contestants alternate, A B C
A B C …, and a ratio is taken within each round, where both its times were measured side by side;
reported is the median over the rounds. Python's garbage collector stays on, as in real life.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ROUNDS", "Clock", "Result", "Row", "Spread", "Times", "Work", "agree", "compare",
    "host_clock", "optional_jax", "optional_torch", "spread",
]  # fmt: skip

Work = Callable[[], Any]
"""One repetition; what it returns, as a float, must be the same for all contestants."""

Clock = Callable[[Work, int], float]
"""How many seconds so many repetitions of some work take."""

ROUNDS = 15
AT_LEAST = 4e-3  # seconds a round of one contestant lasts, so that the clock's grain is no matter


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The median and quartiles of ``values``."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else 3 * [values[0]]
    return Spread(median, low, high)


@dataclass(frozen=True)
class Row:
    """One line of a result: ``value`` in ``unit``; met if it is at most ``goal``, or, where more is
    better, ``at_least``."""

    what: str
    value: Spread
    unit: str = "times"
    goal: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; ``None`` where there is none."""
        if self.goal is None:
            return None
        ahead = self.value.median - self.goal
        return ahead >= 0 if self.at_least else ahead <= 0


@dataclass(frozen=True)
class Times:
    """Seconds per repetition of each contestant, one number a round."""

    seconds: Mapping[str, Sequence[float]]

    def ratio(self, a: str, b: str, what: str, goal: float | None = None) -> list[Row]:
        """The row for ``a``'s time over ``b``'s; none where a contestant was absent."""
        if a not in self.seconds or b not in self.seconds:
            return []
        ratios = [x / y for x, y in zip(self.seconds[a], self.seconds[b], strict=True)]
        return [Row(f"{what}: {a} / {b}", spread(ratios), goal=goal)]

    def share(
        self,
        a: str,
        moved: float,
        copy: tuple[str, float],
        what: str,
        goal: float | None = None,
    ) -> Row:
        """The row for the rate at which ``a`` moves its bytes, ``moved`` per repetition, as a share
        of the rate of ``copy``: a contestant's name, and the bytes that it reads and writes."""
        name, copied = copy
        shares = [
            (moved / x) / (copied / y)
            for x, y in zip(self.seconds[a], self.seconds[name], strict=True)
        ]
        return Row(f"{what}: {a}'s share of the copy rate", spread(shares), "", goal, at_least=True)

    def medians(self, what: str) -> dict[str, float]:
        """Microseconds per repetition, for the record: they hold for one machine on one day."""
        return {f"{what}: {name}": statistics.median(s) * 1e6 for name, s in self.seconds.items()}


@dataclass
class Result:
    """What a benchmark found."""

    title: str
    rows: list[Row] = field(default_factory=list)
    microseconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def agree(contestants: Mapping[str, Work], *, times: int = 3, tolerance: float = 1e-4) -> None:
    """Run each contestant ``times`` times; raise unless all return the same numbers."""
    first: list[float] | None = None
    for name, work in contestants.items():
        numbers = [float(work()) for _ in range(times)]
        first = numbers if first is None else first
        for mine, theirs in zip(numbers, first, strict=True):
            if not math.isclose(mine, theirs, rel_tol=tolerance):
                raise AssertionError(
                    f"the contestants do not compute the same: {next(iter(contestants))} gave "
                    f"{first}, {name} {numbers}"
                )


def host_clock(work: Work, repetitions: int) -> float:
    """By the host's clock."""
    began = time.perf_counter()
    for _ in range(repetitions):
        work()
    return time.perf_counter() - began


def compare(
    contestants: Mapping[str, Work],
    *,
    budget: float = 3.0,
    rounds: int = ROUNDS,
    clock: Clock = host_clock,
    rest: float = 0.0,
) -> Times:
    """Time the contestants in turn, at least ``rounds`` rounds, more as far as ``budget`` seconds
    allow; each repeats its work equally often, for 4 ms or longer.

    Before its turn each works once untimed, so that what the one before it left in the caches
    does not count. Before that all ``rest`` so many seconds: threads of the one before, which
    wait for more work in a loop, have gone to sleep then.
    """
    for work in contestants.values():
        work()
    quickest = min(min(clock(work, 1) for _ in range(3)) for work in contestants.values())
    repetitions = max(1, math.ceil(AT_LEAST / quickest))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + budget
    while len(seconds[next(iter(seconds))]) < rounds or time.perf_counter() < end:
        for name, work in contestants.items():
            time.sleep(rest)
            work()
            seconds[name].append(clock(work, repetitions) / repetitions)
    return Times(seconds)


def optional_torch(threads: int = 1) -> Any:
    """PyTorch, on so many ``threads``, or ``None`` where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    return torch


def optional_jax() -> tuple[Any, Any] | None:
    """JAX and Optax on one core of the CPU, or ``None`` where one of them is not installed.

    XLA takes the size of its pool of threads from NPROC; with the flag alone it was seen on a core
    and a half. The dispatch of a step by a second thread is a second core, too.
    """
    if None in (importlib.util.find_spec("jax"), importlib.util.find_spec("optax")):
        return None
    os.environ["NPROC"] = "1"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    jax = importlib.import_module("jax")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return jax, importlib.import_module("optax")
