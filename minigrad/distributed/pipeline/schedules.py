"""Pipeline schedules as data: what each stage does, in which order.

A schedule can be printed, drawn, timed and checked without any communicator. Which instruction
waits for which is not written down, as it follows: the forward of a micro-batch needs that of the
stage before, its backward needs its forward and the backward of the stage after.

Sources: Huang et al. 2019 (GPipe); Narayanan et al. 2019 (PipeDream, whose 1F1B is used here with a
flush after each batch, as in Narayanan et al. 2021, §2.2).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from minigrad.errors import InputError, unknown

__all__ = [
    "SCHEDULES", "Instruction", "Schedule", "check", "gpipe", "in_order", "make_schedule", "naive",
    "needs", "one_f_one_b", "peak_activations",
]  # fmt: skip


class Instruction(NamedTuple):
    """One micro-batch, counted from 0, through one stage, one way."""

    kind: Literal["forward", "backward"]
    micro_batch: int

    def __str__(self) -> str:
        return f"{self.kind[0].upper()}{self.micro_batch}"


Schedule: TypeAlias = Sequence[Sequence[Instruction]]
"""For each stage its instructions, in order."""


def naive(stages: int, micro_batches: int) -> Schedule:
    """Each micro-batch goes all the way forward and back before the next begins: one stage works
    at a time, and (p − 1)/p of the time is idle, however many micro-batches there are."""
    each = range(micro_batches)
    return [[do for m in each for do in (_forward(m), _backward(m))] for _ in range(stages)]


def gpipe(stages: int, micro_batches: int) -> Schedule:
    """All forwards, then all backwards, the last micro-batch first (Huang et al. 2019, fig. 2).

    >>> from minigrad.distributed import pipeline
    >>> print(pipeline.show(pipeline.gpipe(2, 3)))
    stage 0  F0  F1  F2  .   .   B2  B1  B0
    stage 1  .   F0  F1  F2  B2  B1  B0  .
    """
    each = range(micro_batches)
    return [[*map(_forward, each), *map(_backward, reversed(each))] for _ in range(stages)]


def one_f_one_b(stages: int, micro_batches: int) -> Schedule:
    """One forward, one backward, once the pipeline is full: idle for no less time than GPipe, but
    stage s keeps min(m, p − s) micro-batches alive instead of all m.

    >>> from minigrad.distributed import pipeline
    >>> print(pipeline.show(pipeline.one_f_one_b(2, 3)))
    stage 0  F0  F1  .   B0  F2  B1  .   B2
    stage 1  .   F0  B0  F1  B1  F2  B2  .
    """
    schedule = []
    for stage in range(stages):
        ahead = min(micro_batches, stages - 1 - stage)
        steady = [
            do for m in range(micro_batches - ahead) for do in (_forward(m + ahead), _backward(m))
        ]
        left = range(micro_batches - ahead, micro_batches)
        schedule.append([*map(_forward, range(ahead)), *steady, *map(_backward, left)])
    return schedule


SCHEDULES: dict[str, Callable[[int, int], Schedule]] = {
    "naive": naive,
    "gpipe": gpipe,
    "1f1b": one_f_one_b,
}
"""Schedules by the name that the command line uses."""


def make_schedule(name: str, stages: int, micro_batches: int, *, warn: bool = True) -> Schedule:
    """The schedule ``name`` of :data:`SCHEDULES`, for 1 or more stages and micro-batches.

    Warns, unless told not to, where there are fewer micro-batches than stages. Raises
    :class:`InputError` for an unknown name, and for numbers below 1.
    """
    if name not in SCHEDULES:
        raise unknown("pipeline schedule", name, SCHEDULES)
    if stages < 1 or micro_batches < 1:
        raise InputError(
            f"a pipeline of {stages} stages and {micro_batches} micro-batches was asked for; give "
            "at least 1 of each"
        )
    if warn and micro_batches < stages and name != "naive":
        idle = (stages - 1) / (micro_batches + stages - 1)
        warnings.warn(
            f"{micro_batches} micro-batch{'es' * (micro_batches > 1)} on {stages} pipeline stages "
            f"leave every stage idle for {idle:.0%} of the time or more; cut the batch into at "
            f"least {stages} micro-batches, better {4 * stages}",
            UserWarning,
            stacklevel=2,
        )
    return SCHEDULES[name](stages, micro_batches)


def needs(stage: int, do: Instruction, stages: int) -> list[tuple[int, Instruction]]:
    """What must be done, and on which stage, before ``stage`` can ``do`` it."""
    if do.kind == "forward":
        return [(stage - 1, do)] if stage > 0 else []
    after = [(stage + 1, do)] if stage < stages - 1 else []
    return [(stage, _forward(do.micro_batch)), *after]


def in_order(schedule: Schedule) -> Iterator[tuple[int, Instruction]]:
    """(stage, instruction) of the whole ``schedule``, in an order in which one process could carry
    it out. Raises :class:`InputError` where the stages would wait for each other forever."""
    places = [0] * len(schedule)
    done: set[tuple[int, Instruction]] = set()
    left = sum(map(len, schedule))
    while left:
        before = left
        for stage, instructions in enumerate(schedule):
            while places[stage] < len(instructions):
                do = instructions[places[stage]]
                if not done.issuperset(needs(stage, do, len(schedule))):
                    break
                done.add((stage, do))
                places[stage] += 1
                left -= 1
                yield stage, do
        if left == before:
            stuck = (
                f"stage {stage} at {instructions[place]}"
                for stage, (instructions, place) in enumerate(zip(schedule, places))
                if place < len(instructions)
            )
            raise InputError(
                f"this schedule never ends, its stages wait for each other: {', '.join(stuck)}"
            )


def check(schedule: Schedule) -> None:
    """Raise :class:`InputError` unless every stage takes every micro-batch forward and back, once,
    and no stage waits for what never comes."""
    micro_batches = {do.micro_batch for instructions in schedule for do in instructions}
    wanted = [go(m) for m in sorted(micro_batches) for go in (_forward, _backward)]
    for stage, instructions in enumerate(schedule):
        times = Counter(instructions)
        for do in wanted:
            if times[do] != 1:
                raise InputError(
                    f"stage {stage} has the {do.kind} of micro-batch {do.micro_batch} "
                    f"{times[do]} times; each stage must have it once"
                )
    for _ in in_order(schedule):
        pass


def peak_activations(schedule: Schedule) -> list[int]:
    """For each stage, how many micro-batches it keeps for backward at most: m in GPipe,
    min(m, p − stage) in 1F1B, 1 in the naive schedule."""
    peaks = []
    for instructions in schedule:
        alive = peak = 0
        for do in instructions:
            alive += 1 if do.kind == "forward" else -1
            peak = max(peak, alive)
        peaks.append(peak)
    return peaks


def _forward(micro_batch: int) -> Instruction:
    return Instruction("forward", micro_batch)


def _backward(micro_batch: int) -> Instruction:
    return Instruction("backward", micro_batch)
