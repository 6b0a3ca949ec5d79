"""Stochastic gradient descent, plain and with momentum in both conventions (F1, F2, F3)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from minigrad.backend import Array, array_module
from minigrad.errors import InputError
from minigrad.optim._checks import flag, fraction, one_of
from minigrad.optim.base import Defaults, Hyper, Optimizer

__all__ = ["SGD", "momentum_step", "sgd_step"]

Convention = Literal["keras", "pytorch"]


def sgd_step(theta: Array, g: Array, *, eta: float) -> Array:
    """θ ← θ − ηg, with g the gradient of all data (D1 §3.1) or of a random batch (D2 §3.1).

    >>> optim.sgd_step(1.0, 2.0, eta=0.1)
    0.8
    """
    return theta - eta * g


def momentum_step(
    theta: Array, g: Array, v: Array, *,
    eta: float, mu: float, nesterov: bool = False, convention: Convention = "keras",
) -> tuple[Array, Array]:  # fmt: skip
    """The heavy ball, D2 §3.2 with its sign put right (the printed θ − γv climbs, E1).

    ``"keras"`` (Chainer and textbooks too): v is a velocity, the rate is inside it.
    ``"pytorch"`` (apex too): v sums gradients, and the rate of the moment multiplies them all.

    >>> theta, v = 1.0, 0.0
    >>> theta, v = optim.momentum_step(theta, 1.0, v, eta=0.1, mu=0.9)
    >>> theta, v = optim.momentum_step(theta, 1.0, v, eta=0.1, mu=0.9)
    >>> round(theta, 2), round(v, 2)
    (0.71, -0.19)
    """
    if convention == "keras":
        v = mu * v - eta * g
        return theta + (mu * v - eta * g if nesterov else v), v
    v = mu * v + g
    return theta - eta * (g + mu * v if nesterov else v), v


class SGD(Optimizer):
    """θ ← θ − ηg, or the heavy ball where ``momentum`` μ is above 0 (D2 §3.1, §3.2).

    ``convention="keras"``: v ← μv − ηg, θ ← θ + v, Nesterov θ ← θ + μv − ηg.
    ``convention="pytorch"``: v ← μv + g, θ ← θ − ηv, Nesterov θ ← θ − η(g + μv).
    The two agree while η is constant; after a change of η the first still moves at the old
    rate for about 1/(1 − μ) steps, the second changes at once. ``momentum=0.0``,
    ``nesterov=False`` (it needs momentum), ``convention="keras"``.

    >>> theta = nn.Parameter([1.0])
    >>> optimizer = optim.SGD([theta], lr=0.1)
    >>> theta.grad = 2.0
    >>> optimizer.step()
    >>> theta
    Tensor([0.8], requires_grad=True)
    """

    state = ("v",)
    hyper: ClassVar[Defaults] = {
        "momentum": (0.0, fraction),
        "nesterov": (False, flag),
        "convention": ("keras", one_of("keras", "pytorch")),
    }

    def _state_names(self) -> tuple[str, ...]:
        for name, h in self.groups.items():
            if h["nesterov"] and not h["momentum"]:
                raise InputError(
                    f"SGD: nesterov is True for group '{name}', whose momentum is 0; "
                    "give a momentum, 0.9 for instance"
                )
        return self.state if any(h["momentum"] for h in self.groups.values()) else ()

    @staticmethod
    def formula(
        theta: Array, g: Array, *state: Array, eta: float, momentum: float, **h: Any
    ) -> tuple[Array, ...]:
        """Either step: v stands still where only other groups have momentum."""
        if not momentum:
            return sgd_step(theta, g, eta=eta), *state
        return momentum_step(theta, g, *state, eta=eta, mu=momentum, **h)

    @classmethod
    def kernel_of(cls, h: Hyper) -> str:
        """The heavy ball's where there is momentum."""
        return "momentum" if h["momentum"] else "sgd"

    @staticmethod
    def constants(h: Hyper) -> dict[str, float]:
        """v ← μv + own·g, θ ← θ + along·v + across·g: two conventions, with Nesterov or without."""
        eta, mu = h["eta"], h["momentum"]
        if not mu:
            return {"eta": eta}
        own, along = (-eta, 1.0) if h["convention"] == "keras" else (1.0, -eta)
        across = -eta if h["nesterov"] else 0.0
        along *= mu if h["nesterov"] else 1.0
        return {"mu": mu, "own": own, "along": along, "across": across}

    @staticmethod
    def in_place(theta: Array, g: Array, *rest: Any) -> None:
        """The formula."""
        *state, s, _, h = rest
        xp = array_module(theta)
        eta, mu, nesterov = h["eta"], h["momentum"], h["nesterov"]
        if not mu:
            theta -= xp.multiply(g, eta, out=s)
            return
        (v,) = state
        v *= mu
        if h["convention"] == "keras":
            v -= xp.multiply(g, eta, out=s)
            if nesterov:
                theta -= s
            theta += xp.multiply(v, mu, out=s) if nesterov else v
            return
        v += g
        if nesterov:
            xp.multiply(v, mu, out=s)
            s += g
            s *= eta
        else:
            xp.multiply(v, eta, out=s)
        theta -= s
