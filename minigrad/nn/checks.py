"""What several layers ask of their arguments and inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.autograd import Tensor
from minigrad.errors import InputError
from minigrad.nn.module import Module

__all__ = ["check_features", "generator"]


def generator(layer: Module, rng: Any) -> np.random.Generator:
    """``rng``; raises :class:`InputError` for what is no generator, naming the layer."""
    if isinstance(rng, np.random.Generator):
        return rng
    raise InputError(
        f"{type(layer).__name__} draws from a generator that you give it, rng=…; make one for the "
        f"whole model, rng = np.random.default_rng(0); {rng!r} was given"
    )


def check_features(layer: Module, x: Tensor, features: int) -> None:
    """Where the sizes differ NumPy may broadcast, and say nothing."""
    if x.shape[-1:] != (features,):
        raise InputError(
            f"{layer} takes inputs of shape (…, {features}), but {x.shape} came; "
            "change one of the two sizes"
        )
