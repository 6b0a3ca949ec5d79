"""Lion: the sign of an interpolated momentum (Chen et al. 2023)."""

from __future__ import annotations

from typing import ClassVar

from minigrad.backend import Array, array_module
from minigrad.optim._checks import fraction
from minigrad.optim.base import Defaults, Hyper, Optimizer

__all__ = ["Lion", "lion_step"]


def lion_step(
    theta: Array, g: Array, m: Array, *, eta: float, beta1: float, beta2: float
) -> tuple[Array, Array]:
    """θ ← θ − η·sign(β₁m + (1−β₁)g), then m ← β₂m + (1−β₂)g (Algorithm 2 of the paper).

    >>> optim.lion_step(np.array([1.0]), np.array([5.0]), 0.0, eta=0.1, beta1=0.9, beta2=0.99)
    (array([0.9]), array([0.05]))
    """
    c = beta1 * m + (1 - beta1) * g
    return theta - eta * array_module(c).sign(c), beta2 * m + (1 - beta2) * g


class Lion(Optimizer):
    """Every coordinate moves by exactly η, up, down or not at all; one state buffer.

    ``beta1=0.9``, ``beta2=0.99``. The paper takes η three to ten times smaller than AdamW's and
    ``weight_decay`` as much larger.

    >>> theta = nn.Parameter([1.0, 1.0, 1.0])
    >>> optimizer = optim.Lion([theta], lr=0.1)
    >>> theta.grad = [100.0, -0.01, 0.0]
    >>> optimizer.step()
    >>> theta
    Tensor([0.9, 1.1, 1. ], requires_grad=True)
    """

    state = ("m",)
    hyper: ClassVar[Defaults] = {"beta1": (0.9, fraction), "beta2": (0.99, fraction)}
    kernel = "lion"
    formula = staticmethod(lion_step)

    @staticmethod
    def constants(h: Hyper) -> dict[str, float]:
        """As they are."""
        return {"eta": h["eta"], "beta1": h["beta1"], "beta2": h["beta2"]}

    @staticmethod
    def in_place(theta: Array, g: Array, m: Array, s: Array, other: Array, h: Hyper) -> None:
        """The formula's own roundings: an algebraic shortcut could turn a sign."""
        xp = array_module(theta)
        xp.multiply(m, h["beta1"], out=s)
        s += xp.multiply(g, 1 - h["beta1"], out=other)
        xp.sign(s, out=other)  # in place it takes NumPy seven times as long
        other *= h["eta"]
        theta -= other
        m *= h["beta2"]
        m += xp.multiply(g, 1 - h["beta2"], out=s)
