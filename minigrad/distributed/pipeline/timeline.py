"""When each instruction of a pipeline runs: by calculation, and how much of the time is idle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from minigrad.distributed.pipeline.schedules import Instruction, Schedule, in_order, needs

__all__ = ["Slot", "bubble", "show", "simulate"]


class Slot(NamedTuple):
    """``stage`` is busy with ``instruction`` from ``begin`` to ``end``."""

    stage: int
    instruction: Instruction
    begin: float
    end: float


def simulate(
    schedule: Schedule, forward: float = 1.0, backward: float = 2.0, transfer: float = 0.0
) -> list[Slot]:
    """``schedule`` as it would run, from time 0, where a micro-batch takes ``forward`` and
    ``backward`` on each stage, and ``transfer`` from one stage to the next.

    A stage does not wait for what it sends. All times are in one unit, whichever. Raises
    :class:`InputError` where the stages would wait for each other forever.
    """
    slots = []
    free = [0.0] * len(schedule)
    ends: dict[tuple[int, Instruction], float] = {}
    for stage, do in in_order(schedule):
        arrivals = (
            ends[other, what] + (transfer if other != stage else 0.0)
            for other, what in needs(stage, do, len(schedule))
        )
        begin = max(free[stage], *arrivals, 0.0)
        free[stage] = ends[stage, do] = begin + (forward if do.kind == "forward" else backward)
        slots.append(Slot(stage, do, begin, free[stage]))
    return sorted(slots, key=lambda slot: (slot.begin, slot.stage))


def bubble(slots: Iterable[Slot]) -> float:
    """The idle share, from 0 to 1, of all stages' time between the first begin and the last end.

    With uniform times and m micro-batches on p stages it is (p − 1)/(m + p − 1) in GPipe and 1F1B
    (Huang et al. 2019, §2.3), and (p − 1)/p in the naive schedule.
    """
    slots = list(slots)
    if not slots:
        return 0.0
    span = max(slot.end for slot in slots) - min(slot.begin for slot in slots)
    busy = sum(slot.end - slot.begin for slot in slots)
    stages = len({slot.stage for slot in slots})
    return 1 - busy / (stages * span) if span > 0 else 0.0


def show(schedule: Schedule) -> str:
    """A text grid, a line a stage and a column a step, in which each forward (F) and backward (B)
    of a micro-batch takes one step."""
    slots = simulate(schedule, forward=1, backward=1)
    steps = int(max((slot.end for slot in slots), default=0))
    grid = [["."] * steps for _ in schedule]
    for slot in slots:
        grid[slot.stage][int(slot.begin)] = str(slot.instruction)
    width = max((len(cell) for row in grid for cell in row), default=1)
    names = [f"stage {stage}" for stage in range(len(schedule))]
    margin = max(map(len, names), default=0)
    return "\n".join(
        "  ".join([f"{name:<{margin}}", *(f"{cell:<{width}}" for cell in row)]).rstrip()
        for name, row in zip(names, grid)
    )
