"""LAMB: Adam's direction, at a length set by each tensor's own norm (You et al. 2020)."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from minigrad.backend import Array, array_module
from minigrad.optim._checks import Check, fraction, positive
from minigrad.optim.adam import corrected, direction_, moments_
from minigrad.optim.base import Block, Common, Hyper, Optimizer, Parameters, Rate
from minigrad.optim.clipping import global_norm
from minigrad.optim.regularisation import soft_threshold_

__all__ = ["LAMB", "lamb_step"]


def lamb_step(
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
    weight_decay: float = 0.0,
) -> tuple[Array, Array, Array]:
    """Algorithm 2 of the paper, with φ(z) = z, for one tensor θ; ``t`` counts from 1."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    r = m / (1 - beta1**t) / (array_module(v).sqrt(v / (1 - beta2**t)) + epsilon)
    r = r + weight_decay * theta
    return theta - eta * trust_ratio(theta, r) * r, m, v


def trust_ratio(theta: Array, r: Array) -> float:
    """‖θ‖/‖r‖, and 1 where either norm is 0."""
    length, step = global_norm(theta), global_norm(r)
    return length / step if length and step else 1.0


class LAMB(Optimizer):
    """θ ← θ − η · ‖θ‖/‖r + λθ‖ · (r + λθ), r = m̂/(√v̂ + ε), tensor by tensor.

    The published Algorithm 2, bias corrections included, φ the identity, no clamp on the ratio;
    the ratio is 1 where either norm is 0 (a bias that starts there). ``weight_decay`` λ is part
    of the direction, as in the paper. It looks at whole tensors, so it goes span by span.
    """

    checks: ClassVar[dict[str, Check]] = {
        "beta1": fraction,
        "beta2": fraction,
        "epsilon": positive,
    }
    per_span: ClassVar[bool] = True
    decay_in_rule: ClassVar[bool] = True

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-6,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(parameters, lr, beta1=beta1, beta2=beta2, epsilon=epsilon, **common)

    def _state_names(self) -> tuple[str, ...]:
        return ("m", "v")

    def _formula(self, theta: Array, g: Array, state: tuple[Array, ...], h: Hyper) -> Any:
        m, v = state
        return lamb_step(
            theta,
            g,
            m,
            v,
            h["t"],
            eta=h["lr"],
            beta1=h["beta1"],
            beta2=h["beta2"],
            epsilon=h["epsilon"],
            weight_decay=h["weight_decay"],
        )

    def _in_place(self, block: Block, h: Hyper) -> None:
        xp = array_module(block.theta)
        alpha, epsilon = corrected({**h, "lr": 1.0, "epsilon_placement": "outside"})
        update = self._scratch(block.theta, block.theta.size, "update")
        start = 0
        for theta, g, (m, v), (s, _) in self._chunks(block, {**h, "proximal_l1": 0.0}):
            r = update[start : start + theta.size]
            start += theta.size
            moments_(g, m, v, s, h)
            direction_(m, v, epsilon, r)
            r *= alpha
            if h["weight_decay"]:
                r += xp.multiply(theta, h["weight_decay"], out=s)
        update *= h["lr"] * trust_ratio(block.theta, update)
        xp.subtract(block.theta, update, out=block.theta)
        if h["proximal_l1"]:
            soft_threshold_(block.theta, h["lr"] * h["proximal_l1"], update)
