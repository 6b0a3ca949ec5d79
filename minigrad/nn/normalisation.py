"""Layers that bring activations to mean 0 and variance 1, by sample or by batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.autograd import Tensor
from minigrad.backend import array_module
from minigrad.errors import InputError
from minigrad.nn.checks import check_features
from minigrad.nn.module import Module, Parameter

__all__ = ["BatchNorm1d", "LayerNorm"]


class LayerNorm(Module):
    """(x − mean)/√(var + ε)·scale + shift over the last axis (Ba et al. 2016).

    x (…, features), scale and shift (features,), 1 and 0 at first; the result has x's shape.
    Raises :class:`InputError` for x of another last axis.

    >>> nn.LayerNorm(2)([[1.0, 3.0], [10.0, 30.0]])
    Tensor([[-1.,  1.],
            [-1.,  1.]], requires_grad=True)
    """

    def __init__(self, features: int, *, epsilon: float = 1e-5, dtype: Any = "float32") -> None:
        self.scale = Parameter(np.ones(features, dtype))
        self.shift = Parameter(np.zeros(features, dtype))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """x (…, features), each row normalised by itself."""
        check_features(self, x, self.scale.size)
        return ops.layer_norm(x, self.scale, self.shift, self.epsilon)

    def __repr__(self) -> str:
        return f"LayerNorm({self.scale.size})"


class BatchNorm1d(Module):
    """(x − mean)/√(var + ε)·scale + shift over the batch, x (batch, features)
    (Ioffe & Szegedy 2015).

    In training, mean and variance are those of the whole batch: with a communicator (see
    :meth:`Module.attach`) of all ranks' rows together. Running averages,
    r ← (1 − momentum)·r + momentum·new, serve evaluation; the variance in them is the unbiased
    one, as in PyTorch. Raises :class:`InputError` for x of another shape.

    >>> layer = nn.BatchNorm1d(1)
    >>> layer([[1.0], [3.0]]), layer.running_mean
    (Tensor([[-1.],
            [ 1.]], requires_grad=True), array([0.2], dtype=float32))
    """

    buffers = ("running_mean", "running_var")

    def __init__(
        self,
        features: int,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        dtype: Any = "float32",
    ) -> None:
        self.scale = Parameter(np.ones(features, dtype))
        self.shift = Parameter(np.zeros(features, dtype))
        self.running_mean = np.zeros(features, dtype)
        self.running_var = np.ones(features, dtype)
        self.momentum = momentum
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, features), normalised by the batch, or in evaluation by running averages."""
        if x.ndim != 2 or x.shape[1] != self.scale.size:
            raise InputError(
                f"{self} takes inputs of shape (batch, {self.scale.size}), but {x.shape} came"
            )
        if not self.training:
            return self._scaled(x - self.running_mean, self.running_var)
        mean, rows = self._mean_over_ranks(x)
        centred = x - mean
        var = self._total(ops.sum(ops.square(centred), 0)) / rows
        self.running_mean += self.momentum * (mean._data - self.running_mean)
        unbiased = var._data * (rows / max(rows - 1, 1))
        self.running_var += self.momentum * (unbiased - self.running_var)
        return self._scaled(centred, var)

    def _mean_over_ranks(self, x: Tensor) -> tuple[Tensor, float]:
        """The mean row of the whole batch, and how many rows it has."""
        if self._alone():
            total, rows = ops.sum(x, 0), float(x.shape[0])
        else:
            count = array_module(x._data).full(1, x.shape[0], x.dtype)
            whole = self._total(ops.concatenate([ops.sum(x, 0), count]))
            total, rows = whole[:-1], float(whole._data[-1])
        if rows == 0:
            raise InputError(f"{self} needs at least one sample in a training batch")
        return total / rows, rows

    def _alone(self) -> bool:
        return self.context.comm is None or self.context.comm.size == 1

    def _total(self, x: Tensor) -> Tensor:
        """The sum of x over all ranks that share the batch."""
        return x if self._alone() else ops.all_reduce(x, self.context.comm)

    def _scaled(self, centred: Tensor, var: Any) -> Tensor:
        return centred / ops.sqrt(var + self.epsilon) * self.scale + self.shift

    def __repr__(self) -> str:
        return f"BatchNorm1d({self.scale.size})"
