"""A rate for each parameter from its squared gradients: Adagrad and RMSprop (A6, D3 §3.1.4)."""

from __future__ import annotations

from typing import ClassVar, Literal

from minigrad.backend import Array, array_module
from minigrad.optim._checks import fraction, one_of, positive
from minigrad.optim.adam import direction_, mean_square_
from minigrad.optim.base import Defaults, Hyper, Optimizer

__all__ = ["Adagrad", "RMSprop", "adagrad_step", "rmsprop_step"]


def adagrad_step(
    theta: Array, g: Array, v: Array, *, eta: float, epsilon: float
) -> tuple[Array, Array]:
    """v ← v + g², θ ← θ − ηg/(√v + ε) (Duchi, Hazan & Singer 2011).

    >>> optim.adagrad_step(np.array([1.0]), np.array([3.0]), 16.0, eta=0.1, epsilon=0.0)
    (array([0.94]), array([25.]))
    """
    v = v + g * g
    return theta - eta * g / (array_module(v).sqrt(v) + epsilon), v


def rmsprop_step(
    theta: Array, g: Array, v: Array, *, eta: float, rho: float, epsilon: float,
    epsilon_placement: Literal["outside", "inside"] = "outside",
) -> tuple[Array, Array]:  # fmt: skip
    """v ← ρv + (1 − ρ)g², θ ← θ − ηg/(√v + ε) (Hinton 2012); ``"inside"``: ηg/√(v + ε).

    >>> optim.rmsprop_step(np.array([1.0]), np.array([2.0]), 0.0, eta=0.1, rho=0.75, epsilon=0.0)
    (array([0.8]), array([1.]))
    """
    sqrt = array_module(v).sqrt
    v = rho * v + (1 - rho) * (g * g)
    if epsilon_placement == "inside":
        return theta - eta * g / sqrt(v + epsilon), v
    return theta - eta * g / (sqrt(v) + epsilon), v


class Adagrad(Optimizer):
    """θ ← θ − ηg/(√Σg² + ε): steps shrink as squared gradients add up, each parameter its own.

    Formula and default ``epsilon=1e-10`` as in PyTorch (the sum starts at 0; Keras's at 0.1).

    >>> theta = nn.Parameter([1.0])
    >>> optimizer = optim.Adagrad([theta], lr=0.1)
    >>> theta.grad = 2.0
    >>> optimizer.step()
    >>> theta
    Tensor([0.9], requires_grad=True)
    """

    state = ("v",)
    hyper: ClassVar[Defaults] = {"epsilon": (1e-10, positive)}
    kernel = "adagrad"
    formula = staticmethod(adagrad_step)

    @staticmethod
    def constants(h: Hyper) -> dict[str, float]:
        """As they are."""
        return {"eta": h["eta"], "epsilon": h["epsilon"]}

    @staticmethod
    def in_place(theta: Array, g: Array, v: Array, s: Array, _: Array, h: Hyper) -> None:
        """The formula."""
        v += array_module(g).multiply(g, g, out=s)
        direction_(g, v, h["epsilon"], s)
        s *= h["eta"]
        theta -= s


class RMSprop(Optimizer):
    """Adagrad with a forgetting mean of squares: v ← ρv + (1 − ρ)g², θ ← θ − ηg/(√v + ε).

    ``rho=0.99``, ``epsilon=1e-8`` and ``epsilon_placement="outside"``, PyTorch's √v + ε;
    ``"inside"`` is Keras's √(v + ε). Neither corrects v's bias towards 0, so the first steps are
    up to 1/√(1 − ρ) times larger.

    >>> theta = nn.Parameter([1.0])
    >>> optimizer = optim.RMSprop([theta], lr=0.1)
    >>> theta.grad = 2.0
    >>> optimizer.step()
    >>> theta
    Tensor([0.], requires_grad=True)
    """

    state = ("v",)
    hyper: ClassVar[Defaults] = {
        "rho": (0.99, fraction),
        "epsilon": (1e-8, positive),
        "epsilon_placement": ("outside", one_of("outside", "inside")),
    }
    kernel = "rmsprop"
    formula = staticmethod(rmsprop_step)

    @staticmethod
    def constants(h: Hyper) -> dict[str, float]:
        """√(v + inside) + outside, ε being one of the two."""
        inside = h["epsilon"] if h["epsilon_placement"] == "inside" else 0.0
        outside = h["epsilon"] - inside
        return {"eta": h["eta"], "rho": h["rho"], "inside": inside, "outside": outside}

    @staticmethod
    def in_place(theta: Array, g: Array, v: Array, s: Array, _: Array, h: Hyper) -> None:
        """The formula."""
        mean_square_(g, v, s, h["rho"])
        if h["epsilon_placement"] == "outside":
            direction_(g, v, h["epsilon"], s)
        else:
            xp = array_module(v)
            xp.sqrt(xp.add(v, h["epsilon"], out=s), out=s)
            xp.divide(g, s, out=s)
        s *= h["eta"]
        theta -= s
