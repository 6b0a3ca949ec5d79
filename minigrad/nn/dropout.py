"""Dropout whose masks belong to samples, not to ranks or calls."""

from __future__ import annotations

import math

import numpy as np

from minigrad import ops
from minigrad.autograd import Tensor
from minigrad.errors import InputError
from minigrad.nn.checks import generator
from minigrad.nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training, zeroes each element with probability ``rate`` and divides the rest by
    1 − rate, so that the expectation stays (Srivastava et al. 2014); 0 ≤ rate < 1.

    The mask is a function of the layer's key, of each sample's number, and of how often the layer
    was used in this forward (see :func:`minigrad.ops.dropout`). A sample is masked alike whichever
    rank or micro-batch it is in, so N ranks drop what one process drops.

    x has any shape (batch, …). ``rng``, which must be given, draws the key. Raises
    :class:`InputError` for a rate outside [0, 1) and for a missing ``rng``.

    >>> layer = nn.Dropout(0.5, rng=np.random.default_rng(0))
    >>> x = np.ones((2, 4), "float32")
    >>> layer(x)
    Tensor([[0., 0., 0., 0.],
            [2., 2., 0., 0.]])
    >>> layer.eval()(x[:1])
    Tensor([[1., 1., 1., 1.]])
    """

    buffers = ("key",)

    def __init__(self, rate: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        if not 0 <= rate < 1:
            raise InputError(f"Dropout: rate must be in [0, 1), {rate} was given")
        self.rate = rate
        self.key = generator(self, rng).integers(0, 2**63, size=2, dtype=np.uint64)

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape (batch, …), masked in training, itself in evaluation."""
        if not self.training or self.rate == 0:
            return x
        blocks = -(-math.prod(x.shape[1:]) // 8)  # of eight numbers each, for one sample
        counter = self.context.sample * blocks + (self.context.call(self) << 192)
        return ops.dropout(x, self.rate, self.key.tolist(), counter)

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"
