"""A rate for each parameter from its squared gradients: Adagrad and RMSprop (A6, D3 §3.1.4)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Unpack

from minigrad.backend import Array, array_module
from minigrad.optim._checks import Check, fraction, one_of, positive
from minigrad.optim.base import Block, Common, Hyper, Optimizer, Parameters, Rate

__all__ = ["Adagrad", "RMSprop", "adagrad_step", "rmsprop_step"]


def adagrad_step(
    theta: Array, g: Array, v: Array, *, eta: float, epsilon: float
) -> tuple[Array, Array]:
    """v ← v + g², θ ← θ − ηg/(√v + ε) (Duchi, Hazan & Singer 2011)."""
    v = v + g * g
    return theta - eta * g / (array_module(v).sqrt(v) + epsilon), v


def rmsprop_step(
    theta: Array,
    g: Array,
    v: Array,
    *,
    eta: float,
    rho: float,
    epsilon: float,
    epsilon_placement: Literal["outside", "inside"] = "outside",
) -> tuple[Array, Array]:
    """v ← ρv + (1 − ρ)g², θ ← θ − ηg/(√v + ε) (Hinton 2012); ``"inside"``: ηg/√(v + ε)."""
    sqrt = array_module(v).sqrt
    v = rho * v + (1 - rho) * (g * g)
    if epsilon_placement == "inside":
        return theta - eta * g / sqrt(v + epsilon), v
    return theta - eta * g / (sqrt(v) + epsilon), v


class Adagrad(Optimizer):
    """θ ← θ − ηg/(√Σg² + ε): steps shrink as squared gradients add up, each parameter its own.

    Formula and defaults as in PyTorch (the sum starts at 0; Keras starts it at 0.1).
    """

    checks: ClassVar[dict[str, Check]] = {"epsilon": positive}

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate,
        *,
        epsilon: float = 1e-10,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(parameters, lr, epsilon=epsilon, **common)

    def _state_names(self) -> tuple[str, ...]:
        return ("v",)

    def _formula(self, theta: Array, g: Array, state: tuple[Array, ...], h: Hyper) -> Any:
        return adagrad_step(theta, g, *state, eta=h["lr"], epsilon=h["epsilon"])

    def _in_place(self, block: Block, h: Hyper) -> None:
        xp = array_module(block.theta)
        for theta, g, (v,), (s, _) in self._chunks(block, h):
            v += xp.multiply(g, g, out=s)
            xp.sqrt(v, out=s)
            s += h["epsilon"]
            xp.divide(g, s, out=s)
            s *= h["lr"]
            theta -= s


class RMSprop(Optimizer):
    """Adagrad with a forgetting mean of squares: v ← ρv + (1 − ρ)g², θ ← θ − ηg/(√v + ε).

    ``epsilon_placement="outside"`` is PyTorch's √v + ε, ``"inside"`` Keras's √(v + ε).
    Neither corrects v's bias towards 0, so the first steps are up to 1/√(1 − ρ) times larger.
    """

    checks: ClassVar[dict[str, Check]] = {
        "rho": fraction,
        "epsilon": positive,
        "epsilon_placement": one_of("outside", "inside"),
    }

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate,
        *,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        epsilon_placement: Literal["outside", "inside"] = "outside",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            parameters,
            lr,
            rho=rho,
            epsilon=epsilon,
            epsilon_placement=epsilon_placement,
            **common,
        )

    def _state_names(self) -> tuple[str, ...]:
        return ("v",)

    def _formula(self, theta: Array, g: Array, state: tuple[Array, ...], h: Hyper) -> Any:
        return rmsprop_step(
            theta,
            g,
            *state,
            eta=h["lr"],
            rho=h["rho"],
            epsilon=h["epsilon"],
            epsilon_placement=h["epsilon_placement"],
        )

    def _in_place(self, block: Block, h: Hyper) -> None:
        xp = array_module(block.theta)
        for theta, g, (v,), (s, _) in self._chunks(block, h):
            v *= h["rho"]
            xp.multiply(g, g, out=s)
            s *= 1 - h["rho"]
            v += s
            if h["epsilon_placement"] == "inside":
                xp.add(v, h["epsilon"], out=s)
                xp.sqrt(s, out=s)
            else:
                xp.sqrt(v, out=s)
                s += h["epsilon"]
            xp.divide(g, s, out=s)
            s *= h["lr"]
            theta -= s
