"""Pipeline parallelism: a model's layers divided among ranks, which pass micro-batches along."""

from minigrad.distributed.pipeline.gantt import gantt
from minigrad.distributed.pipeline.pipeline import Pipeline
from minigrad.distributed.pipeline.schedules import (
    SCHEDULES,
    Instruction,
    Schedule,
    check,
    gpipe,
    make_schedule,
    naive,
    one_f_one_b,
    peak_activations,
)
from minigrad.distributed.pipeline.timeline import Slot, bubble, show, simulate

__all__ = [
    "SCHEDULES",
    "Instruction",
    "Pipeline",
    "Schedule",
    "Slot",
    "bubble",
    "check",
    "gantt",
    "gpipe",
    "make_schedule",
    "naive",
    "one_f_one_b",
    "peak_activations",
    "show",
    "simulate",
]
