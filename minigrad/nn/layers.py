"""Sequential, dense and activation layers. All take x of shape (batch, …)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minigrad import ops
from minigrad.autograd import Tensor
from minigrad.errors import InputError, unknown
from minigrad.nn.checks import check_features, generator
from minigrad.nn.init import INITIALISERS, Initialiser
from minigrad.nn.module import Module, Parameter
from minigrad.ops.linear import check_activation

__all__ = [
    "ELU", "GELU", "Dense", "Flatten", "LeakyReLU", "PReLU", "ReLU", "Sequential", "SiLU",
    "Sigmoid", "Softmax", "Softplus", "Tanh",
]  # fmt: skip


class Sequential(Module):
    """Layers one after the other: what one gives, the next takes. ``model[i]`` is layer i.

    >>> rng = np.random.default_rng(0)
    >>> model = nn.Sequential(nn.Dense(4, 3, rng=rng), nn.ReLU(), nn.Dense(3, 2, rng=rng))
    >>> model(np.zeros((5, 4))).shape, len(model.parameters())
    ((5, 2), 4)
    """

    def __init__(self, *layers: Module) -> None:
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        """What the first layer takes to what the last one gives.

        An :class:`InputError` of a layer is raised with that layer's number."""
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

    ``activation``, ``"relu"`` or ``"gelu"``, is that of a layer of its own, in fewer passes.
    ``rng``, which must be given, draws the first weights; ``init`` is one of
    :data:`~minigrad.nn.init.INITIALISERS` or a function like those. Raises :class:`InputError` for
    sizes below 1, unknown names, a missing ``rng``, and for x of another last axis.

    >>> layer = nn.Dense(2, 1, rng=np.random.default_rng(0))
    >>> layer.weight.data = [[1.0], [-1.0]]
    >>> layer([[5.0, 2.0]])
    Tensor([[3.]], requires_grad=True)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rng: np.random.Generator | None = None,
        bias: bool = True,
        activation: str | None = None,
        init: str | Initialiser = "xavier_uniform",
        dtype: Any = "float32",
    ) -> None:
        if inputs < 1 or outputs < 1:
            raise InputError(
                f"Dense needs at least 1 input and output, ({inputs}, {outputs}) given"
            )
        if activation is not None:
            check_activation(activation)
        rng = generator(self, rng)
        if isinstance(init, str):
            if init not in INITIALISERS:
                raise unknown("initialiser", init, INITIALISERS)
            init = INITIALISERS[init]
        self.weight = Parameter(init(rng, (inputs, outputs), dtype))
        self.bias = Parameter(np.zeros(outputs, dtype)) if bias else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """x (…, inputs) to (…, outputs)."""
        if x._data.shape[-1:] != self.weight._data.shape[:1]:
            raise InputError(
                f"{self} takes inputs of shape (…, {self.weight.shape[0]}), but {x.shape} came; "
                "put a Flatten before it, or change one of the two sizes"
            )
        return ops.dense(x, self.weight, self.bias, self.activation)

    def __repr__(self) -> str:
        inputs, outputs = self.weight.shape
        bias = "" if self.bias is not None else ", bias=False"
        activation = "" if self.activation is None else f", activation='{self.activation}'"
        return f"Dense({inputs}, {outputs}{bias}{activation})"


class _Activation(Module):
    """A layer that is one elementwise op."""

    function: ClassVar[Callable[..., Tensor]]

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape; the result has it too."""
        return type(self).function(x)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ReLU(_Activation):
    """max(x, 0).

    >>> nn.ReLU()([-2.0, 3.0])
    Tensor([0., 3.])
    """

    function = staticmethod(ops.relu)


class Sigmoid(_Activation):
    """1/(1 + e⁻ˣ).

    >>> nn.Sigmoid()([0.0])
    Tensor([0.5])
    """

    function = staticmethod(ops.sigmoid)


class Tanh(_Activation):
    """tanh x.

    >>> nn.Tanh()([0.0, 1.0])
    Tensor([0.    , 0.7616])
    """

    function = staticmethod(ops.tanh)


class Softplus(_Activation):
    """ln(1 + eˣ).

    >>> nn.Softplus()([0.0])
    Tensor([0.6931])
    """

    function = staticmethod(ops.softplus)


class GELU(_Activation):
    """The tanh form of the Gaussian error linear unit.

    >>> nn.GELU()([-1.0, 1.0])
    Tensor([-0.1588,  0.8412])
    """

    function = staticmethod(ops.gelu)


class SiLU(_Activation):
    """x · σ(x).

    >>> nn.SiLU()([-1.0, 1.0])
    Tensor([-0.2689,  0.7311])
    """

    function = staticmethod(ops.silu)


class Softmax(_Activation):
    """Probabilities over the last axis. Not before a loss that takes logits.

    >>> nn.Softmax()([[0.0, 0.0], [0.0, 1000.0]])
    Tensor([[0.5, 0.5],
            [0. , 1. ]])
    """

    function = staticmethod(ops.softmax)


class LeakyReLU(Module):
    """x where positive, else slope · x; slope ≥ 0 (article D1 §6.2).

    >>> nn.LeakyReLU(0.1)([-2.0, 3.0])
    Tensor([-0.2,  3. ])
    """

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape, elementwise."""
        return ops.leaky_relu(x, self.slope)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


class ELU(Module):
    """x where positive, else α(eˣ − 1); α > 0.

    >>> nn.ELU()([-1.0, 3.0])
    Tensor([-0.6321,  3.    ])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape, elementwise."""
        return ops.elu(x, self.alpha)

    def __repr__(self) -> str:
        return f"ELU({self.alpha})"


class PReLU(Module):
    """Leaky ReLU whose slope is learned, one for all features or one each (article D1 §6.2).

    >>> layer = nn.PReLU(slope=0.5)
    >>> layer([-2.0, 3.0]), layer.named_parameters()
    (Tensor([-1.,  3.], requires_grad=True), {'slope': Tensor([0.5], requires_grad=True)})
    """

    def __init__(self, features: int = 1, *, slope: float = 0.25, dtype: Any = "float32") -> None:
        self.slope = Parameter(np.full(features, slope, dtype))

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape with one slope; (…, features) with a slope each."""
        if self.slope.size > 1:
            check_features(self, x, self.slope.size)
        return ops.prelu(x, self.slope)

    def __repr__(self) -> str:
        return f"PReLU({self.slope.size})"


class Flatten(Module):
    """(batch, a, b, …) to (batch, a·b·…).

    >>> nn.Flatten()(np.zeros((5, 2, 3))).shape
    (5, 6)
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, a, b, …) to (batch, a·b·…)."""
        return ops.reshape(x, (x.shape[0], int(np.prod(x.shape[1:]))))

    def __repr__(self) -> str:
        return "Flatten()"
