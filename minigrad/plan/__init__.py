"""Which computers do I need: memory and time under each layout of ranks, by a cost model."""

from minigrad.plan.command import main
from minigrad.plan.costs import Job, Layout, Memory, Time, memory, time
from minigrad.plan.search import Option, options, smallest

__all__ = ["Job", "Layout", "Memory", "Option", "Time", "main", "memory", "options", "smallest",
           "time"]  # fmt: skip
