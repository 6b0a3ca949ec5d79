"""All ops by name, and Tensor's operators and methods, which are these ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.autograd import Tensor
from minigrad.ops import activations, collective, elementwise, linear, losses, reductions, shaping
from minigrad.ops.activations import *  # noqa: F403
from minigrad.ops.collective import *  # noqa: F403
from minigrad.ops.dropout import dropout
from minigrad.ops.elementwise import *  # noqa: F403
from minigrad.ops.embedding import embedding
from minigrad.ops.linear import *  # noqa: F403
from minigrad.ops.losses import *  # noqa: F403
from minigrad.ops.reductions import *  # noqa: F403
from minigrad.ops.shaping import *  # noqa: F403

__all__ = [  # noqa: PLE0604
    "dropout",
    "embedding",
    *activations.__all__,
    *collective.__all__,
    *elementwise.__all__,
    *linear.__all__,
    *losses.__all__,
    *reductions.__all__,
    *shaping.__all__,
]


def _power(a: Any, b: Any) -> Tensor:
    return elementwise.square(a) if type(b) in (int, float) and b == 2 else elementwise.pow(a, b)


def _reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same numbers in another shape, given as integers or one tuple; one length may be −1.

    Raises :class:`InputError` where the numbers of elements differ."""
    return shaping.reshape(x, shape[0] if len(shape) == 1 else shape)


def _transpose(x: Tensor, *axes: Any) -> Tensor:
    """The axes in the order given, as integers or one tuple; reversed without any."""
    if len(axes) == 1 and not isinstance(axes[0], int):
        (axes,) = axes
    return shaping.transpose(x, axes or None)


def _reflected(f: Callable[..., Tensor]) -> Callable[[Tensor, Any], Tensor]:
    return lambda b, a: f(a, b)


def _attach() -> None:
    e, r = elementwise, reductions
    binary: dict[str, Callable[..., Tensor]] = {
        "add": e.add, "sub": e.sub, "mul": e.mul, "truediv": e.div, "matmul": linear.matmul,
        "pow": _power,
    }  # fmt: skip
    other: dict[str, Callable[..., Tensor]] = {
        "eq": e.equal, "ne": e.not_equal, "lt": e.less, "le": e.less_equal,
        "gt": e.greater, "ge": e.greater_equal,
        "neg": e.neg, "abs": e.abs, "getitem": shaping.index,
    }  # fmt: skip
    methods: list[Callable[..., Tensor]] = [
        e.exp, e.log, e.sqrt, e.square, e.tanh, e.clip, e.abs, activations.relu,
        activations.sigmoid, r.sum, r.mean, r.var, r.std, r.max, r.min, r.prod, r.norm,
        r.softmax, r.log_softmax, r.logsumexp, r.cumsum, shaping.swapaxes, shaping.squeeze,
        shaping.expand_dims, shaping.broadcast_to, shaping.astype, shaping.to,
    ]  # fmt: skip
    attributes: dict[str, Any] = {f.__name__: f for f in methods}
    attributes |= {f"__{name}__": f for name, f in (binary | other).items()}
    attributes |= {f"__r{name}__": _reflected(f) for name, f in binary.items()}
    attributes |= {"reshape": _reshape, "transpose": _transpose, "T": property(shaping.transpose)}
    for name, f in attributes.items():
        setattr(Tensor, name, f)


_attach()
