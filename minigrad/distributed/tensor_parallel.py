"""Tensor parallelism: one layer's weights divided among ranks (Shoeybi et al. 2019; D3 §3.1.3).

All ranks of the group ``comm`` are given the same batch and compute the same loss. They build the
same model from generators in the same state: a parallel layer draws the whole weight, as
:class:`~minigrad.nn.Dense` does, and keeps a copy of its slice, so that N ranks hold what one
process would draw. The whole weight exists on every rank for that moment, one layer at a time. A
parameter that is a slice says so in ``shard``; the others are the same numbers on all ranks, and
so are their gradients.

Dropout on what all ranks hold alike is :class:`~minigrad.nn.Dropout`, with one key. On activations
that are divided it would drop the same places of every rank's part: there it is
:class:`ParallelDropout`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from minigrad import ops
from minigrad.autograd import Tensor
from minigrad.backend import Array, array_module
from minigrad.distributed.communicator import Communicator
from minigrad.errors import InputError, SharedError, unknown
from minigrad.nn import Dense, Dropout, Module, Parameter
from minigrad.nn.checks import check_features
from minigrad.nn.init import Initialiser
from minigrad.nn.module import Shard
from minigrad.shares import share

__all__ = [
    "ColumnParallelDense", "ParallelDropout", "ParallelMLP", "RowParallelDense",
    "vocab_parallel_cross_entropy",
]  # fmt: skip


def _slice(whole: Parameter, axis: int, comm: Communicator) -> Parameter:
    """This rank's part of ``whole``, a copy."""
    length = whole.shape[axis]
    shard = Shard(axis, *share(length, comm.rank, comm.size), length)
    part = Parameter(whole.data[shard.slices].copy(), whole.requires_grad)
    part.shard = shard
    return part


def _check_divides(layer: Module, what: str, length: int, comm: Communicator) -> None:
    lower = length - length % comm.size
    if lower == length:
        return
    sizes = " or ".join(str(n) for n in (lower, lower + comm.size) if n)
    ranks = [str(n) for n in range(1, comm.size) if length % n == 0]
    raise SharedError(
        f"{type(layer).__name__}: {length} {what} do not divide among {comm.size} ranks; "
        f"take {sizes} {what}, or {' or '.join(ranks)} rank{'s' * (len(ranks) > 1)}"
    )


class _ParallelDense(Module):
    """What a dense layer divided either way is made of: this rank's part of a whole one."""

    axis: ClassVar[int]
    divided: ClassVar[str]

    def _divide(self, dense: Dense, comm: Communicator) -> None:
        _check_divides(self, self.divided, dense.weight.shape[self.axis], comm)
        self.comm = comm
        self.activation = dense.activation
        self.weight = _slice(dense.weight, self.axis, comm)
        self.bias = None
        if dense.bias is not None:  # outputs take theirs along; of inputs, all ranks have all
            own = Parameter(dense.bias.data.copy(), dense.bias.requires_grad)
            self.bias = _slice(dense.bias, 0, comm) if self.axis == 1 else own


class ColumnParallelDense(_ParallelDense):
    """x·W + b with the outputs divided: each rank holds columns of W, and their biases.

    x (…, inputs) is the same on all ranks; the result is this rank's (…, outputs/N), or with
    ``gather`` the whole (…, outputs). One all-reduce backward, of x's gradient where it has one;
    gathering is one all-gather forward. The other options are those of
    :class:`~minigrad.nn.Dense`. Raises :class:`SharedError` where the outputs do not divide among
    the ranks, and what Dense raises.
    """

    axis, divided = 1, "outputs"

    def __init__(
        self, inputs: int, outputs: int, comm: Communicator, *, gather: bool = False, **options: Any
    ) -> None:
        self._divide(Dense(inputs, outputs, **options), comm)
        self.gather = gather

    @classmethod
    def from_dense(cls, dense: Dense, comm: Communicator, *, gather: bool = False) -> Self:
        """The same layer, divided: a copy of this rank's part of ``dense``."""
        layer = cls.__new__(cls)
        layer._divide(dense, comm)
        layer.gather = gather
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """x (…, inputs), alike on all ranks, to (…, outputs), without ``gather`` a part."""
        check_features(self, x, self.weight.shape[0])
        x = ops.copy_to_ranks(x, self.comm)
        y = ops.dense(x, self.weight, self.bias, self.activation)
        return ops.gather_from_ranks(y, self.comm) if self.gather else y

    def __repr__(self) -> str:
        inputs, outputs = self.weight.shape
        return f"ColumnParallelDense({inputs}, {outputs} × {self.comm.size} ranks)"


class RowParallelDense(_ParallelDense):
    """x·W + b with the inputs divided: each rank holds rows of W; all hold b, which is added once,
    to the sum over the ranks.

    x is this rank's (…, inputs/N), what a :class:`ColumnParallelDense` gives, or with
    ``split_input`` the whole (…, inputs), the same on all ranks. The result (…, outputs) is the
    same on all ranks. One all-reduce forward; splitting is one all-gather backward. The other
    options are those of :class:`~minigrad.nn.Dense`. Raises :class:`SharedError` where the inputs
    do not divide among the ranks, and what Dense raises.
    """

    axis, divided = 0, "inputs"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        comm: Communicator,
        *,
        split_input: bool = False,
        **options: Any,
    ) -> None:
        self._divide(Dense(inputs, outputs, **options), comm)
        self.split_input = split_input

    @classmethod
    def from_dense(cls, dense: Dense, comm: Communicator, *, split_input: bool = False) -> Self:
        """The same layer, divided: a copy of this rank's part of ``dense``."""
        layer = cls.__new__(cls)
        layer._divide(dense, comm)
        layer.split_input = split_input
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """x (…, inputs), or this rank's part of it, to (…, outputs), alike on all ranks."""
        rows = self.weight.shape[0]
        check_features(self, x, rows * self.comm.size if self.split_input else rows)
        if self.split_input:
            x = ops.scatter_to_ranks(x, self.comm)
        y = ops.reduce_from_ranks(ops.dense(x, self.weight), self.comm)
        if self.bias is not None:
            y = y + self.bias
        return y if self.activation is None else _ACTIVATIONS[self.activation](y)

    def __repr__(self) -> str:
        inputs, outputs = self.weight.shape
        return f"RowParallelDense({inputs} × {self.comm.size} ranks, {outputs})"


_ACTIVATIONS = {"relu": ops.relu, "gelu": ops.gelu}


class ParallelMLP(Module):
    """Two Dense layers with an activation between, the hidden features divided: a column-parallel
    layer, then a row-parallel one, whose input is already where it is needed.

    x (…, inputs) and the result (…, outputs) are the same on all ranks. One all-reduce forward,
    one backward where x has a gradient. ``activation`` is ``"gelu"``, ``"relu"`` or ``None``.
    The first weights are those of two Dense layers made one after the other. Raises what the two
    layers raise.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        comm: Communicator,
        *,
        rng: np.random.Generator | None = None,
        activation: str | None = "gelu",
        bias: bool = True,
        init: str | Initialiser = "xavier_uniform",
        dtype: Any = "float32",
    ) -> None:
        self.up = ColumnParallelDense(
            inputs, hidden, comm,
            rng=rng, bias=bias, activation=activation, init=init, dtype=dtype,
        )  # fmt: skip
        self.down = RowParallelDense(
            hidden, outputs, comm, rng=rng, bias=bias, init=init, dtype=dtype
        )

    @classmethod
    def from_dense(cls, up: Dense, down: Dense, comm: Communicator) -> Self:
        """The same two layers, divided: copies of this rank's parts."""
        block = cls.__new__(cls)
        block.up = ColumnParallelDense.from_dense(up, comm)
        block.down = RowParallelDense.from_dense(down, comm)
        return block

    def forward(self, x: Tensor) -> Tensor:
        """x (…, inputs) to (…, outputs), both alike on all ranks."""
        return self.down(self.up(x))

    def __repr__(self) -> str:
        return f"ParallelMLP({self.up!r}, {self.down!r})"


class ParallelDropout(Dropout):
    """Dropout for activations whose last axis is divided: this rank's part of the mask that the
    whole would have. N ranks drop what one process drops.

    Every rank draws the whole mask, N times what it needs. ``rng`` is in the same state on all
    ranks; x is (batch, …, features/N).
    """

    def __init__(
        self, rate: float, comm: Communicator, *, rng: np.random.Generator | None = None
    ) -> None:
        super().__init__(rate, rng=rng)
        self.comm = comm

    @classmethod
    def from_dropout(cls, dropout: Dropout, comm: Communicator) -> Self:
        """One that drops what ``dropout`` does, in this rank's part."""
        twin = cls(dropout.rate, comm, rng=np.random.default_rng(0))
        twin.key = dropout.key
        return twin

    def forward(self, x: Tensor) -> Tensor:
        """x (…, features / ranks), this rank's features, masked as one process masks the whole."""
        if not self.training or self.rate == 0:
            return x
        whole = (*x.shape[:-1], x.shape[-1] * self.comm.size)
        mask = super().forward(Tensor(array_module(x.data).ones(whole, x.dtype)))
        return x * ops.scatter_to_ranks(mask, self.comm)


def vocab_parallel_cross_entropy(
    logits: Any, labels: Any, comm: Communicator, *, reduction: str = "mean"
) -> Tensor:
    """−ln softmax at the labels, for logits whose classes are divided among the ranks.

    ``logits`` (…, classes/N) are this rank's, of one width on all ranks, what a
    :class:`ColumnParallelDense` gives; ``labels`` (…) are integers in 0 … classes − 1, the same on
    all ranks, and so is the result. What travels is each row's maximum, then its sum of
    exponentials and its label's logit: two all-reduces, three numbers a row, and backward nothing.
    ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``. Equal to
    :func:`minigrad.ops.cross_entropy` of the gathered logits, for large ones too.

    Raises :class:`InputError` where labels do not fit, or ``reduction`` is unknown.
    """
    if reduction not in ("mean", "sum", "none"):
        raise unknown("reduction", reduction, ["mean", "sum", "none"])
    logits = logits if isinstance(logits, Tensor) else Tensor(logits)
    labels = labels.data if isinstance(labels, Tensor) else labels
    labels = np.asarray(labels) if isinstance(labels, list | tuple) else labels
    _check_labels(logits, labels, comm.size)
    if reduction == "mean" and labels.size == 0:
        raise InputError("the mean of no losses: a batch of 0 samples has a sum, but no mean")
    shape, width, xp = labels.shape, logits.shape[-1], array_module(labels)
    z = ops.reshape(logits, (labels.size, width))
    peak = z.data.max(axis=1)
    comm.all_reduce(peak, "max")  # where it is NaN, it is so in the sum too, on every rank
    z = z - peak[:, None]
    own = labels.reshape(-1).astype(np.int64) - comm.rank * width
    mine = (own >= 0) & (own < width)
    at_label = z[xp.arange(own.size), xp.where(mine, own, 0)]
    parts = ops.stack([ops.exp(z).sum(axis=1), ops.where(mine, at_label, 0.0)])
    total, at_label = ops.reduce_from_ranks(parts, comm)
    losses = ops.reshape(ops.log(total) - at_label, shape)
    if reduction == "none":
        return losses
    return ops.sum(losses) if reduction == "sum" else ops.mean(losses)


def _check_labels(logits: Tensor, labels: Array, ranks: int) -> None:
    if logits.ndim < 1 or labels.dtype.kind not in "iu" or labels.shape != logits.shape[:-1]:
        raise InputError(
            f"vocab_parallel_cross_entropy: logits of shape {logits.shape} need integer labels of "
            f"shape {logits.shape[:-1]}; labels of shape {labels.shape} and dtype {labels.dtype} "
            "were given"
        )
    classes = logits.shape[-1] * ranks
    if type(labels) is np.ndarray and labels.size:  # on a GPU this look would stall the stream
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise InputError(
                f"vocab_parallel_cross_entropy: label {low if low < 0 else high} is outside "
                f"0 … {classes - 1}, the classes of {ranks} ranks with {logits.shape[-1]} each"
            )
