"""Collectives written out from send and receive alone, as schedules that are data.

print(explain("ring", ranks=4, size=8))
draw(all_reduce("rabenseifner", ranks=5, size=1000), "rabenseifner.png")
comm = WrittenOut(world(), "ring")
"""

from minigrad.distributed.algorithms.catalogue import (
    ALGORITHMS,
    all_reduce,
    explain,
    lower_bound,
    schedule,
)
from minigrad.distributed.algorithms.cost import Rates, fastest, fit, predict
from minigrad.distributed.algorithms.draw import draw, draw_costs
from minigrad.distributed.algorithms.schedule import Schedule, Transfer
from minigrad.distributed.algorithms.written_out import WrittenOut

__all__ = [
    "ALGORITHMS",
    "Rates",
    "Schedule",
    "Transfer",
    "WrittenOut",
    "all_reduce",
    "draw",
    "draw_costs",
    "explain",
    "fastest",
    "fit",
    "lower_bound",
    "predict",
    "schedule",
]
