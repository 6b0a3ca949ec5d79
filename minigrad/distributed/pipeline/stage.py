"""Which layers a stage holds: consecutive ones, so that each stage has about as many parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from minigrad.errors import SharedError
from minigrad.nn import Module, Sequential

__all__ = ["balanced_cuts", "divide"]


def balanced_cuts(costs: Sequence[int], stages: int) -> tuple[int, ...]:
    """Where to cut ``costs`` into ``stages`` consecutive parts of one or more: the beginnings of
    all parts but the first.

    The dearest part is as cheap as can be; among such cuts the sum of squares is least, and then
    the cuts come as late as they can. Takes time of the order of stages · len(costs)².
    """
    sums = [0, *accumulate(costs)]
    (dearest, _), n = _least(sums, stages, max, math.inf), len(costs)
    _, ends = _least(sums, stages, lambda price, part: price + part * part, dearest)
    return tuple(-end for end in ends if -end < n)


def _least(
    sums: Sequence[int], parts: int, add: Callable[[int, int], int], limit: float
) -> tuple[int, tuple[int, ...]]:
    """The least price of all ways to cut into ``parts``, none of which costs more than ``limit``,
    and the ends of those parts, negative so that of equal prices the later ends are less."""
    n = len(sums) - 1
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}  # of the first so many
    for part in range(1, parts + 1):
        longer: dict[int, tuple[int, tuple[int, ...]]] = {}
        for end in range(part, n - parts + part + 1):
            ways = [
                (add(price, sums[end] - sums[start]), (*ends, -end))
                for start, (price, ends) in best.items()
                if start < end and sums[end] - sums[start] <= limit
            ]
            if ways:
                longer[end] = min(ways)
        best = longer
    return best[n]


def divide(model: Sequential, stages: int, cuts: Sequence[int] | None = None) -> list[range]:
    """The numbers of the layers of each stage.

    ``cuts`` are the layers at which all stages but the first begin; without them the parameters
    are shared out as evenly as layers allow. Raises :class:`SharedError` for a model that is no
    Sequential, for fewer layers than stages, for cuts that do not fit, and where two stages would
    have one and the same parameter or buffer, of which each would train a copy.
    """
    if not isinstance(model, Sequential):
        raise SharedError(
            f"a pipeline is cut between the layers of an nn.Sequential, but the model is a "
            f"{type(model).__name__}: wrap its parts in one"
        )
    if len(model) < stages:
        raise SharedError(
            f"{stages} pipeline stages were asked for, but the model has "
            f"{len(model)} layer{'s' * (len(model) != 1)}, and a stage needs at least one: use at "
            f"most {len(model)} stages, or split up the layers"
        )
    if cuts is None:
        sizes = [sum(parameter.size for parameter in layer.parameters()) for layer in model.layers]
        cuts = balanced_cuts(sizes, stages)
    edges = [0, *cuts, len(model)]
    if len(edges) != stages + 1 or any(start >= stop for start, stop in pairwise(edges)):
        raise SharedError(
            f"cuts {list(cuts)} do not make {stages} stages of {len(model)} layers: give "
            f"{stages - 1} rising layer numbers from 1 to {len(model) - 1}"
        )
    parts = [range(start, stop) for start, stop in pairwise(edges)]
    _check_ties(model, parts)
    return parts


def _check_ties(model: Sequential, parts: Sequence[range]) -> None:
    seen: dict[int, tuple[int, int]] = {}
    for stage, layers in enumerate(parts):
        for layer in layers:
            for state in _state(model.layers[layer]):
                other, first = seen.setdefault(state, (stage, layer))
                if other != stage:
                    raise SharedError(
                        f"layers {first} and {layer} share a parameter or buffer, but are in "
                        f"stages {other} and {stage}, where each would train a copy of it: give "
                        "cuts that keep them in one stage, or make them two"
                    )


def _state(layer: Module) -> set[int]:
    """The identity of all that ``layer`` learns or remembers."""
    return {id(parameter) for parameter in layer.parameters()} | {
        id(module) for module in layer.modules() if module.buffers
    }
