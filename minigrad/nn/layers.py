"""Layers: dense, activations, normalisation, dropout. All take x of shape (batch, …)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minigrad import ops
from minigrad.autograd import Tensor
from minigrad.backend import array_module, to_device
from minigrad.errors import InputError, unknown
from minigrad.nn.init import INITIALISERS, Initialiser
from minigrad.nn.module import Module, Parameter

__all__ = [
    "ELU", "GELU", "BatchNorm1d", "Dense", "Dropout", "Flatten", "LayerNorm", "LeakyReLU",
    "PReLU", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh",
]  # fmt: skip


def _check_features(layer: Module, x: Tensor, features: int) -> None:
    """Where the sizes differ NumPy may broadcast, and say nothing."""
    if x.shape[-1:] != (features,):
        raise InputError(
            f"{layer} takes inputs of shape (…, {features}), but {x.shape} came; "
            "change one of the two sizes"
        )


class Sequential(Module):
    """Layers one after the other."""

    def __init__(self, *layers: Module) -> None:
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            try:
                x = layer(x)
            except InputError as error:
                raise InputError(f"layer {i}: {error}") from error
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: int) -> Module:
        return self.layers[i]

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


class Dense(Module):
    """x·W + b: x (…, inputs), weight W (inputs, outputs), bias b (outputs,), zero at first.

    ``init`` is one of :data:`~minigrad.nn.init.INITIALISERS` or a function like those.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rng: np.random.Generator,
        bias: bool = True,
        init: str | Initialiser = "xavier_uniform",
        dtype: Any = "float32",
    ) -> None:
        if inputs < 1 or outputs < 1:
            raise InputError(
                f"Dense needs at least 1 input and output, ({inputs}, {outputs}) given"
            )
        if isinstance(init, str):
            if init not in INITIALISERS:
                raise unknown("initialiser", init, INITIALISERS)
            init = INITIALISERS[init]
        self.weight = Parameter(init(rng, (inputs, outputs), dtype))
        self.bias = Parameter(np.zeros(outputs, dtype)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if x._data.shape[-1:] != self.weight._data.shape[:1]:
            raise InputError(
                f"{self} takes inputs of shape (…, {self.weight.shape[0]}), but {x.shape} came; "
                "put a Flatten before it, or change one of the two sizes"
            )
        return ops.dense(x, self.weight, self.bias)

    def __repr__(self) -> str:
        inputs, outputs = self.weight.shape
        return f"Dense({inputs}, {outputs}{', bias=False' if self.bias is None else ''})"


class _Activation(Module):
    """A layer that is one elementwise op."""

    function: ClassVar[Callable[..., Tensor]]

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ReLU(_Activation):
    """max(x, 0)."""

    function = staticmethod(ops.relu)


class Sigmoid(_Activation):
    """1/(1 + e⁻ˣ)."""

    function = staticmethod(ops.sigmoid)


class Tanh(_Activation):
    """tanh x."""

    function = staticmethod(ops.tanh)


class Softplus(_Activation):
    """ln(1 + eˣ)."""

    function = staticmethod(ops.softplus)


class GELU(_Activation):
    """The tanh form of the Gaussian error linear unit."""

    function = staticmethod(ops.gelu)


class SiLU(_Activation):
    """x · σ(x)."""

    function = staticmethod(ops.silu)


class Softmax(_Activation):
    """Probabilities over the last axis. Not before a loss that takes logits."""

    function = staticmethod(ops.softmax)


class LeakyReLU(Module):
    """x where positive, else slope · x; slope ≥ 0 (article D1 §6.2)."""

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.slope)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


class ELU(Module):
    """x where positive, else α(eˣ − 1); α > 0."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)

    def __repr__(self) -> str:
        return f"ELU({self.alpha})"


class PReLU(Module):
    """Leaky ReLU whose slope is learned, one for all features or one each (article D1 §6.2)."""

    def __init__(self, features: int = 1, *, slope: float = 0.25, dtype: Any = "float32") -> None:
        self.slope = Parameter(np.full(features, slope, dtype))

    def forward(self, x: Tensor) -> Tensor:
        if self.slope.size > 1:
            _check_features(self, x, self.slope.size)
        return ops.prelu(x, self.slope)

    def __repr__(self) -> str:
        return f"PReLU({self.slope.size})"


class Flatten(Module):
    """(batch, a, b, …) to (batch, a·b·…)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (x.shape[0], int(np.prod(x.shape[1:]))))

    def __repr__(self) -> str:
        return "Flatten()"


class Dropout(Module):
    """In training, zeroes each element with probability ``rate`` and divides the rest by
    1 − rate, so that the expectation stays (Srivastava et al. 2014); 0 ≤ rate < 1.

    The mask is a function of the layer's key and of each sample's number (counter-based Philox,
    Salmon et al. 2011), not of the order of calls. A sample is masked alike whichever rank or
    micro-batch it is in, so N ranks drop what one process drops.
    """

    buffers = ("key",)

    def __init__(self, rate: float = 0.5, *, rng: np.random.Generator) -> None:
        if not 0 <= rate < 1:
            raise InputError(f"Dropout: rate must be in [0, 1), {rate} was given")
        self.rate = rate
        self.key = rng.integers(0, 2**63, size=2, dtype=np.uint64)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = self._uniform(x.shape) >= self.rate
        self.sample += x.shape[0]
        mask = (keep / (1 - self.rate)).astype(x.dtype)
        return ops.mul(x, to_device(mask, x.device))

    def _uniform(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Uniform numbers in [0, 1) of ``shape``; row i belongs to sample ``self.sample + i``."""
        rows, width = shape[0], int(np.prod(shape[1:]))
        blocks = -(-width // 8)  # one block of Philox4x64 is eight numbers of 32 bits
        counter = self.sample * blocks
        key = array_module(self.key).asarray(self.key).tolist()
        bits = np.random.Philox(key=key, counter=counter).random_raw(4 * rows * blocks)
        numbers = bits.view(np.uint32).reshape(rows, 8 * blocks)[:, :width]
        return (numbers * 2.0**-32).reshape(shape)

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"


class LayerNorm(Module):
    """(x − mean)/√(var + ε)·scale + shift over the last axis (Ba et al. 2016)."""

    def __init__(self, features: int, *, epsilon: float = 1e-5, dtype: Any = "float32") -> None:
        self.scale = Parameter(np.ones(features, dtype))
        self.shift = Parameter(np.zeros(features, dtype))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        _check_features(self, x, self.scale.size)
        return ops.layer_norm(x, self.scale, self.shift, self.epsilon)

    def __repr__(self) -> str:
        return f"LayerNorm({self.scale.size})"


class BatchNorm1d(Module):
    """(x − mean)/√(var + ε)·scale + shift over the batch, x (batch, features)
    (Ioffe & Szegedy 2015).

    In training, mean and variance are those of the whole batch: with a communicator (see
    :meth:`Module.distribute`) of all ranks' rows together. Running averages,
    r ← (1 − momentum)·r + momentum·new, serve evaluation; the variance in them is the unbiased
    one, as in PyTorch.
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
        if x.ndim != 2 or x.shape[1] != self.scale.size:
            raise InputError(
                f"{self} takes inputs of shape (batch, {self.scale.size}), but {x.shape} came"
            )
        if not self.training:
            return self._scaled(x - self.running_mean, self.running_var)
        count = self._total(np.array([float(x.shape[0])]))
        rows = float(count.item())
        if rows == 0:
            raise InputError(f"{self} needs at least one sample in a training batch")
        mean = self._total(ops.sum(x, 0)) / rows
        centred = x - mean
        var = self._total(ops.sum(ops.square(centred), 0)) / rows
        self.running_mean += self.momentum * (mean._data - self.running_mean)
        unbiased = var._data * (rows / max(rows - 1, 1))
        self.running_var += self.momentum * (unbiased - self.running_var)
        return self._scaled(centred, var)

    def _total(self, x: Any) -> Tensor:
        """The sum of x over all ranks that share the batch."""
        if self.comm is None or self.comm.size == 1:
            return x if isinstance(x, Tensor) else Tensor(x)
        return ops.all_reduce(x, self.comm)

    def _scaled(self, centred: Tensor, var: Any) -> Tensor:
        return centred / ops.sqrt(var + self.epsilon) * self.scale + self.shift

    def __repr__(self) -> str:
        return f"BatchNorm1d({self.scale.size})"
