"""Adam, with both places of ε, and AdamW (A2; D1 §3.3, D4 §3.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from minigrad.backend import Array, array_module
from minigrad.optim._checks import fraction, one_of, positive
from minigrad.optim.base import Defaults, Hyper, Optimizer

__all__ = ["Adam", "AdamW", "adam_step", "adam_step_hat"]


def adam_step(
    theta: Array, g: Array, m: Array, v: Array, t: int, *,
    eta: float, beta1: float, beta2: float, epsilon: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Algorithm 1 of Kingma & Ba (2015), as PyTorch has it; ``t`` counts from 1.

    >>> h = {"eta": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    >>> theta, m, v = optim.adam_step(np.array([1.0]), np.array([5.0]), 0.0, 0.0, 1, **h)
    >>> theta, m, v
    (array([0.9]), array([0.5]), array([0.025]))
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - eta * m_hat / (array_module(v).sqrt(v_hat) + epsilon), m, v


def adam_step_hat(
    theta: Array, g: Array, m: Array, v: Array, t: int, *,
    eta: float, beta1: float, beta2: float, epsilon: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The paper's shorter form with ε̂ (end of its section 2), as Keras and Chainer have it."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    alpha = eta * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - alpha * m / (array_module(v).sqrt(v) + epsilon), m, v


class Adam(Optimizer):
    """Two moments, bias-corrected, and so a step of its own for each coordinate (E16).

    ``beta1=0.9``, ``beta2=0.999``, ``epsilon=1e-8`` and ``epsilon_placement="outside"``:
    ηm̂/(√v̂ + ε), Algorithm 1 and PyTorch. ``"hat"``: η√(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + ε), Keras (with
    ε = 1e-7) and Chainer. They differ where gradients are about as small as ε: at t = 1,
    g = ε = 1e-8, η = 1e-3 the steps are 5.0e-4 and 3.1e-5.

    >>> theta = nn.Parameter([1.0, 1.0])
    >>> optimizer = optim.Adam([theta], lr=0.1)
    >>> theta.grad = [100.0, -0.01]
    >>> optimizer.step()
    >>> theta
    Tensor([0.9, 1.1], requires_grad=True)
    """

    state = ("m", "v")
    hyper: ClassVar[Defaults] = {
        "beta1": (0.9, fraction),
        "beta2": (0.999, fraction),
        "epsilon": (1e-8, positive),
        "epsilon_placement": ("outside", one_of("outside", "hat")),
    }
    takes = ("eta", "t")
    kernel = "adam"

    @staticmethod
    def constants(h: Hyper) -> dict[str, float]:
        """Both corrections in two numbers: ηm̂/(√v̂ + ε) = ηc/(1−β₁ᵗ) · m/(√v + cε); ε̂ is cε."""
        ratio, c = corrections(h)
        return {
            "beta1": h["beta1"],
            "beta2": h["beta2"],
            "eta": h["eta"] * ratio,
            "epsilon": h["epsilon"] * (c if h["epsilon_placement"] == "outside" else 1),
        }

    @staticmethod
    def formula(*arrays: Array, epsilon_placement: str, **h: Any) -> tuple[Array, Array, Array]:
        """Either step, by the place of its ε."""
        step = adam_step if epsilon_placement == "outside" else adam_step_hat
        return step(*arrays, **h)

    @staticmethod
    def in_place(theta: Array, g: Array, m: Array, v: Array, s: Array, _: Array, h: Hyper) -> None:
        """The formula, with :meth:`constants`."""
        c = Adam.constants(h)
        moments_(g, m, v, s, h)
        direction_(m, v, c["epsilon"], s)
        s *= c["eta"]
        theta -= s


class AdamW(Adam):
    """Adam with decoupled decay θ ← (1 − ηλ)θ (Loshchilov & Hutter 2019): ``weight_decay=0.01``.

    As PyTorch's, except that biases and gains are not decayed (see :class:`Optimizer`).

    >>> theta = nn.Parameter([[1.0]])
    >>> optimizer = optim.AdamW([theta], lr=0.1, weight_decay=0.5)
    >>> theta.grad = 0.0
    >>> optimizer.step()
    >>> theta
    Tensor([[0.95]], requires_grad=True)
    """

    penalties: ClassVar[Mapping[str, float]] = {**Adam.penalties, "weight_decay": 0.01}


def corrections(h: Hyper) -> tuple[float, float]:
    """c/(1−β₁ᵗ) and c = √(1−β₂ᵗ)."""
    c = math.sqrt(1 - h["beta2"] ** h["t"])
    return c / (1 - h["beta1"] ** h["t"]), c


def moments_(g: Array, m: Array, v: Array, s: Array, h: Hyper) -> None:
    """m ← β₁m + (1−β₁)g and v ← β₂v + (1−β₂)g² in place; ``s`` is overwritten."""
    m *= h["beta1"]
    m += array_module(g).multiply(g, 1 - h["beta1"], out=s)
    mean_square_(g, v, s, h["beta2"])


def mean_square_(g: Array, v: Array, s: Array, rho: float) -> None:
    """v ← ρv + (1−ρ)g² in place; ``s`` is overwritten."""
    v *= rho
    array_module(g).multiply(g, g, out=s)
    s *= 1 - rho
    v += s


def direction_(m: Array, v: Array, epsilon: float, out: Array) -> None:
    """``out`` ← m/(√v + ε)."""
    xp = array_module(m)
    xp.sqrt(v, out=out)
    out += epsilon
    xp.divide(m, out, out=out)
