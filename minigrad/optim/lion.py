"""Lion: the sign of an interpolated momentum (Chen et al. 2023)."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from minigrad.backend import Array, array_module
from minigrad.optim._checks import Check, fraction
from minigrad.optim.base import Block, Common, Hyper, Optimizer, Parameters, Rate

__all__ = ["Lion", "lion_step"]


def lion_step(
    theta: Array, g: Array, m: Array, *, eta: float, beta1: float, beta2: float
) -> tuple[Array, Array]:
    """θ ← θ − η·sign(β₁m + (1−β₁)g), then m ← β₂m + (1−β₂)g (Algorithm 2 of the paper)."""
    c = beta1 * m + (1 - beta1) * g
    return theta - eta * array_module(c).sign(c), beta2 * m + (1 - beta2) * g


class Lion(Optimizer):
    """Every coordinate moves by exactly η, up, down or not at all; one state buffer.

    The paper takes η three to ten times smaller than AdamW's and ``weight_decay`` as much larger.
    """

    checks: ClassVar[dict[str, Check]] = {"beta1": fraction, "beta2": fraction}

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate,
        *,
        beta1: float = 0.9,
        beta2: float = 0.99,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(parameters, lr, beta1=beta1, beta2=beta2, **common)

    def _state_names(self) -> tuple[str, ...]:
        return ("m",)

    def _formula(self, theta: Array, g: Array, state: tuple[Array, ...], h: Hyper) -> Any:
        return lion_step(theta, g, *state, eta=h["lr"], beta1=h["beta1"], beta2=h["beta2"])

    def _in_place(self, block: Block, h: Hyper) -> None:
        xp = array_module(block.theta)
        for theta, g, (m,), (s, other) in self._chunks(block, h):
            # the formula's own roundings: an algebraic shortcut could turn a sign
            xp.multiply(m, h["beta1"], out=s)
            s += xp.multiply(g, 1 - h["beta1"], out=other)
            xp.sign(s, out=s)
            s *= h["lr"]
            theta -= s
            m *= h["beta2"]
            m += xp.multiply(g, 1 - h["beta2"], out=s)
