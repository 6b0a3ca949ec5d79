"""Arenas with known values, and gradients put into them by parameter name."""

import types

import numpy as np
import pytest

from minigrad.nn import Parameter

SHAPES = {"body.weight": (5, 3), "body.bias": (3,), "head.weight": (3, 2), "head.bias": (2,)}


def parameters(seed=0, dtype=np.float64, shapes=SHAPES):
    """Parameters by name, drawn from a normal distribution."""
    rng = np.random.default_rng(seed)
    return {n: Parameter(rng.standard_normal(s).astype(dtype)) for n, s in shapes.items()}


def by_name(optimizer, buffer="data"):
    """Copies of what ``buffer`` of the optimizer's arenas holds, by parameter name."""
    return {
        span.name: getattr(arena, buffer)[span.start : span.stop].reshape(span.shape).copy()
        for arena in optimizer.arenas
        for span in arena.spans
    }


def set_gradients(optimizer, gradients):
    for arena in optimizer.arenas:
        for span in arena.spans:
            arena.grad[span.start : span.stop] = np.ravel(gradients[span.name])


def random_gradients(step, optimizer, scale=1.0):
    """Gradients by name that depend on the step and the name's rank, not on buffer order."""
    return {
        name: scale * np.random.default_rng([step, i]).standard_normal(value.shape)
        for i, (name, value) in enumerate(sorted(by_name(optimizer).items()))
    }


def run(optimizer, steps, start=0, scale=1.0, **options):
    """``steps`` updates with random gradients; the parameters after them, by name."""
    for step in range(start, start + steps):
        set_gradients(optimizer, random_gradients(step, optimizer, scale))
        optimizer.step(**options)
    return by_name(optimizer)


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return types.SimpleNamespace(
        parameters=parameters,
        by_name=by_name,
        set_gradients=set_gradients,
        random_gradients=random_gradients,
        run=run,
    )
