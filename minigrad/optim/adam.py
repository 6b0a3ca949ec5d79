"""Adam, with both places of ε, and AdamW (A2; D1 §3.3, D4 §3.2)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Unpack

from minigrad.backend import Array, array_module
from minigrad.optim._checks import Check, fraction, one_of, positive
from minigrad.optim.base import Block, Common, Hyper, Optimizer, Parameters, Rate

__all__ = ["Adam", "AdamW", "adam_step", "adam_step_hat"]


def adam_step(
    theta: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    eta: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> tuple[Array, Array, Array]:
    """Algorithm 1 of Kingma & Ba (2015), as PyTorch has it; ``t`` counts from 1."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - eta * m_hat / (array_module(v).sqrt(v_hat) + epsilon), m, v


def adam_step_hat(
    theta: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    eta: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> tuple[Array, Array, Array]:
    """The paper's shorter form with ε̂ (end of its section 2), as Keras and Chainer have it."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    alpha = eta * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - alpha * m / (array_module(v).sqrt(v) + epsilon), m, v


class Adam(Optimizer):
    """Two moments, bias-corrected, and so a step of its own for each coordinate (E16).

    ``epsilon_placement="outside"``: ηm̂/(√v̂ + ε), Algorithm 1 and PyTorch. ``"hat"``:
    η√(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + ε), Keras (with ε = 1e-7) and Chainer. They differ where
    gradients are about as small as ε: at t = 1, g = ε = 1e-8, η = 1e-3 the steps are 5.0e-4
    and 3.1e-5.
    """

    checks: ClassVar[dict[str, Check]] = {
        "beta1": fraction,
        "beta2": fraction,
        "epsilon": positive,
        "epsilon_placement": one_of("outside", "hat"),
    }

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        epsilon_placement: Literal["outside", "hat"] = "outside",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            parameters,
            lr,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            epsilon_placement=epsilon_placement,
            **common,
        )

    def _state_names(self) -> tuple[str, ...]:
        return ("m", "v")

    def _formula(self, theta: Array, g: Array, state: tuple[Array, ...], h: Hyper) -> Any:
        step = adam_step if h["epsilon_placement"] == "outside" else adam_step_hat
        m, v = state
        beta1, beta2, epsilon = h["beta1"], h["beta2"], h["epsilon"]
        return step(theta, g, m, v, h["t"], eta=h["lr"], beta1=beta1, beta2=beta2, epsilon=epsilon)

    def _in_place(self, block: Block, h: Hyper) -> None:
        alpha, epsilon = corrected(h)
        for theta, g, (m, v), (s, _) in self._chunks(block, h):
            moments_(g, m, v, s, h)
            direction_(m, v, epsilon, s)
            s *= alpha
            theta -= s


class AdamW(Adam):
    """Adam with decoupled decay θ ← (1 − ηλ)θ, 0.01 by default (Loshchilov & Hutter 2019).

    As PyTorch's, except that biases and gains are not decayed (see :class:`Optimizer`).
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        epsilon_placement: Literal["outside", "hat"] = "outside",
        **common: Unpack[Common],
    ) -> None:
        common.setdefault("weight_decay", 0.01)
        super().__init__(
            parameters,
            lr,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            epsilon_placement=epsilon_placement,
            **common,
        )


def corrected(h: Hyper) -> tuple[float, float]:
    """α and ε' such that the step is α·m/(√v + ε'): both bias corrections in two scalars.

    η·m/(1−β₁ᵗ) / (√v/c + ε) = ηc/(1−β₁ᵗ) · m/(√v + cε) with c = √(1−β₂ᵗ); ε̂ is cε renamed.
    """
    c = math.sqrt(1 - h["beta2"] ** h["t"])
    alpha = h["lr"] * c / (1 - h["beta1"] ** h["t"])
    return alpha, h["epsilon"] * c if h["epsilon_placement"] == "outside" else h["epsilon"]


def moments_(g: Array, m: Array, v: Array, s: Array, h: Hyper) -> None:
    """m ← β₁m + (1−β₁)g and v ← β₂v + (1−β₂)g² in place; ``s`` is overwritten."""
    xp = array_module(g)
    m *= h["beta1"]
    m += xp.multiply(g, 1 - h["beta1"], out=s)
    v *= h["beta2"]
    xp.multiply(g, g, out=s)
    s *= 1 - h["beta2"]
    v += s


def direction_(m: Array, v: Array, epsilon: float, out: Array) -> None:
    """``out`` ← m/(√v + ε)."""
    xp = array_module(m)
    xp.sqrt(v, out=out)
    out += epsilon
    xp.divide(m, out, out=out)
