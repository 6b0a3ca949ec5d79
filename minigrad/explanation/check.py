"""Whether a gradient rule is right here: its result beside a central difference, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.explanation.graph import Contribution, communicates

__all__ = ["Check", "check"]

# ε^⅓ of float64, where rounding and curvature cost alike; then one for beside corners and borders
_STEPS = (6e-6, 6e-8)
_TOLERANCE = {"float64": 1e-6, "float32": 1e-4, "float16": 2e-2}
_VERDICTS = ("ok", "corner", "not finite", "wrong")


class Check(NamedTuple):
    """The slope along one random direction, from the rule and from two calls of the forward.

    ``error`` is their distance relative to the size of the terms that the rule's slope is the sum
    of. ``verdict`` is "ok" where it is at most ``tolerance``; "corner" where the function's slopes
    on the two sides differ and the rule's lies between them; "not finite" where the numbers here
    are infinite or NaN, so that there is no slope; else "wrong".
    """

    rule: float
    difference: float
    error: float
    tolerance: float
    verdict: str


def check(contribution: Contribution) -> Check | None:
    """Compare ``contribution`` with a central difference; ``None`` for an op that communicates.

    All floating-point arguments are moved to float64, so that the difference is exact enough; the
    rule's result is the very one that backward used. Elements that are infinite or NaN stay where
    they are.
    """
    source, k = contribution.source, contribution.position
    if communicates(source):
        return None
    arguments = [a.constant if a.vertex is None else a.vertex.value for a in source.arguments]
    g, x = _double(source.gradient), _double(arguments[k])
    xp = array_module(x)
    finite = xp.isfinite(x)
    rule = xp.where(finite, _double(contribution.value), 0.0)
    tolerance = _TOLERANCE.get(str(contribution.value.dtype), 1e-4)
    call = _weighted(contribution, arguments, g)
    rng = np.random.default_rng(0)
    sign = xp.asarray(rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1, x.shape)) * finite
    size = xp.where(finite, abs(x), 1.0)
    best = None
    for scale in (np.maximum(size, 1.0), np.where(size == 0, 1e-3, size)):
        for step in _STEPS:
            found = _compare(call, x, sign * scale, step, rule, tolerance)
            if found.verdict == "ok":
                return found
            best = min(best or found, found, key=lambda one: _VERDICTS.index(one.verdict))
    return best


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
        xp = array_module(*own)
        y = op.call(xp, *own)
        terms = xp.where(g == 0, 0.0, g * y)  # what is masked out may be infinite
        return float(terms.sum()), float(abs(terms).sum())

    return call


def _compare(
    call: Callable[[Array], tuple[float, float]],
    x: Array,
    d: Array,
    step: float,
    rule: Array,
    tolerance: float,
) -> Check:
    with np.errstate(all="ignore"):  # a step may leave the domain; another one then decides
        ahead, size = call(x + step * d)
        here, _ = call(x)
        behind, _ = call(x - step * d)
        difference = (ahead - behind) / (2 * step)
        terms = rule * d
        slope, scale = float(terms.sum()), float(abs(terms).sum()) + abs(difference)
        rounding = 8 * float(np.finfo(np.float64).eps) * size / step
        distance = abs(slope - difference)
        error = distance / scale if scale else 0.0
        sides = sorted([(ahead - here) / step, (here - behind) / step])
        between = sides[0] - rounding <= slope <= sides[1] + rounding
    if distance <= tolerance * scale + rounding:
        verdict = "ok"
    elif not math.isfinite(slope + here):
        verdict = "not finite"
    elif between and sides[1] - sides[0] > tolerance * scale:
        verdict = "corner"
    else:
        verdict = "wrong"
    return Check(slope, difference, error, tolerance, verdict)


def _double(value: Any) -> Any:
    """Floating-point arrays in float64; all else as it is."""
    if hasattr(value, "dtype") and value.dtype.kind == "f":
        return value.astype(np.float64)
    return value
