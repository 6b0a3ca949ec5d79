"""Embedding: a vector for each word of a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.autograd import Tensor
from minigrad.errors import InputError
from minigrad.nn.checks import generator
from minigrad.nn.module import Module, Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """The rows of weight (words, features) that integer ids (…) name: (…, features).

    ``rng``, which must be given, draws the first weights from N(0, std²): 1 is the field's habit,
    0.02 that of GPT-2. The gradient is dense: as large as the weight, however few rows it has.
    Raises :class:`InputError` for sizes below 1, a missing ``rng``, ids that are no integers, and
    on a CPU for ids outside 0 … words − 1; on a GPU those give wrong rows without a word, see
    :func:`minigrad.ops.embedding`.

    >>> table = nn.Embedding(10, 3, rng=np.random.default_rng(0))
    >>> table(np.array([[1, 2], [1, 9]])).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        words: int,
        features: int,
        *,
        rng: np.random.Generator | None = None,
        std: float = 1.0,
        dtype: Any = "float32",
    ) -> None:
        if words < 1 or features < 1:
            raise InputError(
                f"Embedding needs at least 1 word and feature, ({words}, {features}) given"
            )
        rng = generator(self, rng)
        self.weight = Parameter((std * rng.standard_normal((words, features))).astype(dtype))

    def forward(self, ids: Tensor) -> Tensor:
        """Integer ids (…) to their rows, (…, features)."""
        return ops.embedding(self.weight, ids)

    def __repr__(self) -> str:
        words, features = self.weight.shape
        return f"Embedding({words}, {features})"
