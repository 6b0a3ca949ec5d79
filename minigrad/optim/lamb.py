"""LAMB: Adam's direction, at a length set by each tensor's own norm (You et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

from minigrad.backend import Array, array_module
from minigrad.optim._checks import fraction, positive
from minigrad.optim.adam import corrections, direction_, moments_
from minigrad.optim.base import Defaults, Hyper, Optimizer
from minigrad.optim.clipping import global_norm

__all__ = ["LAMB", "lamb_step"]


def lamb_step(
    theta: Array, g: Array, m: Array, v: Array, t: int, *,
    eta: float, beta1: float, beta2: float, epsilon: float, weight_decay: float = 0.0,
) -> tuple[Array, Array, Array]:  # fmt: skip
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
    of the direction, as in the paper. ``beta1=0.9``, ``beta2=0.999``, ``epsilon=1e-6``.

    >>> theta = nn.Parameter([3.0, 4.0])
    >>> optimizer = optim.LAMB([theta], lr=0.1)
    >>> theta.grad = [1.0, 0.0]
    >>> optimizer.step()
    >>> theta
    Tensor([2.5, 4. ], requires_grad=True)
    """

    state = ("m", "v")
    hyper: ClassVar[Defaults] = {
        "beta1": (0.9, fraction),
        "beta2": (0.999, fraction),
        "epsilon": (1e-6, positive),
    }
    takes = ("eta", "t", "weight_decay")
    per_span = True
    kernel = "lamb_direction"
    formula = staticmethod(lamb_step)

    @staticmethod
    def constants(h: Hyper) -> dict[str, float]:
        """Adam's, with the correction beside η: it is part of the direction, whose norm counts."""
        ratio, c = corrections(h)
        return {
            "eta": h["eta"],
            "beta1": h["beta1"],
            "beta2": h["beta2"],
            "correction": ratio,
            "epsilon": h["epsilon"] * c,
            "weight_decay": h["weight_decay"],
        }

    @staticmethod
    def in_place(theta: Array, g: Array, m: Array, v: Array, s: Array, r: Array, h: Hyper) -> None:
        """The moments, and r + λθ into ``r``."""
        c = LAMB.constants(h)
        moments_(g, m, v, s, h)
        direction_(m, v, c["epsilon"], r)
        r *= c["correction"]
        if h["weight_decay"]:
            r += array_module(theta).multiply(theta, h["weight_decay"], out=s)

    @staticmethod
    def finish(theta: Array, update: Array, h: Hyper) -> None:
        """θ ← θ − η · ratio · (r + λθ)."""
        update *= h["eta"] * trust_ratio(theta, update)
        theta -= update
