"""Whether a gradient rule is right here: its result beside a central difference, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.distributed.communicator import Communicator
from minigrad.explanation.graph import Contribution

__all__ = ["Check", "check"]

_STEP = 6e-6  # the cube root of float64's ε, where rounding and curvature cost a difference alike
_TOLERANCE = {"float64": 1e-6, "float32": 1e-4, "float16": 2e-2}


class Check(NamedTuple):
    """The slope along one random direction, from the rule and from two calls of the forward.

    ``error`` is their distance relative to the size of the terms that the rule's slope is the sum
    of. ``verdict`` is "ok" where it is at most ``tolerance``, "corner" where the function has
    different slopes on the two sides, so that a rule can only choose one, and else "wrong".
    """

    rule: float
    difference: float
    error: float
    tolerance: float
    verdict: str


def check(contribution: Contribution) -> Check | None:
    """Compare ``contribution`` with a central difference; ``None`` for an op that communicates.

    All floating-point arguments are moved to float64, so that the difference is exact enough; the
    rule's result is the very one that backward used.
    """
    source, k = contribution.source, contribution.position
    arguments = [a.constant if a.vertex is None else a.vertex.value for a in source.arguments]
    if any(isinstance(argument, Communicator) for argument in arguments):
        return None
    g, x = _double(source.gradient), _double(arguments[k])
    rule = _double(contribution.value)
    tolerance = _TOLERANCE.get(str(contribution.value.dtype), 1e-4)
    call = _weighted(contribution, arguments, g)
    rng = np.random.default_rng(0)
    sign = array_module(x).asarray(rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1, x.shape))
    size = abs(x)
    found = [
        _compare(call, x, sign * scale, rule, tolerance)
        for scale in (np.maximum(size, 1.0), np.where(size == 0, 1e-3, size))
    ]
    return min(found, key=lambda one: ("ok", "corner", "wrong").index(one.verdict))


def _weighted(contribution: Contribution, arguments: list[Any], g: Array) -> Callable[..., Any]:
    """(Σ g·f(x), Σ |g·f(x)|) as a function of the argument at hand."""
    op, k = contribution.source.op, contribution.position
    assert op is not None
    fixed = [_double(argument) for argument in arguments]

    def call(x: Array) -> tuple[float, float]:
        own = [
            a.copy(order="K") if name in op.writes else a
            for a, name in zip(fixed, (a.name for a in contribution.source.arguments))
        ]
        own[k] = x.copy()
        terms = g * op.call(array_module(*own), *own)
        return float(terms.sum()), float(abs(terms).sum())

    return call


def _compare(
    call: Callable[[Array], tuple[float, float]], x: Array, d: Array, rule: Array, tolerance: float
) -> Check:
    with np.errstate(all="ignore"):  # a step may leave the domain; the other one then decides
        ahead, size = call(x + _STEP * d)
        behind, _ = call(x - _STEP * d)
        difference = (ahead - behind) / (2 * _STEP)
        terms = rule * d
        slope, scale = float(terms.sum()), float(abs(terms).sum()) + abs(difference)
        rounding = 8 * float(np.finfo(np.float64).eps) * size / _STEP
        distance = abs(slope - difference)
        error = distance / scale if scale else 0.0
        if distance <= tolerance * scale + rounding:
            return Check(slope, difference, error, tolerance, "ok")
        here, _ = call(x)
        sides = (ahead - here) / _STEP, (here - behind) / _STEP
        curved = abs(sides[0] - sides[1])  # of a smooth function about the step times its curvature
        verdict = "corner" if curved > 1e-3 * scale else "wrong"
    return Check(slope, difference, error, tolerance, verdict)


def _double(value: Any) -> Any:
    """Floating-point arrays in float64; all else as it is."""
    if hasattr(value, "dtype") and value.dtype.kind == "f":
        return value.astype(np.float64)
    return value
