"""A network's layers and width from its number of parameters."""

from __future__ import annotations

from minigrad.errors import unknown
from minigrad.plan.costs import NETWORKS

__all__ = ["shape"]

_LAYERS_DENSE = 8
_WIDTH_TO_LAYERS = 128
"""What transformers of all sizes are near: GPT-3 has 96 layers of 12,288."""


def shape(
    network: str, parameters: float, layers: int | None = None, width: int | None = None
) -> tuple[int, int]:
    """(layers, width) of a ``network`` with so many ``parameters``, squares · layers · width² of
    them; what is given is kept.

    Where neither is given, a dense network has 8 layers, a transformer one for each 128 of its
    width. A number of layers that is worked out is a multiple of 8, a width one of 64, as far as
    the network is not smaller than that, so that both can be divided.
    """
    if network not in NETWORKS:
        raise unknown("network", network, NETWORKS)
    squares = NETWORKS[network].squares
    if layers is None and width is not None:
        layers = max(1, round(parameters / (squares * width**2)))
    elif layers is None and network == "dense":
        layers = _LAYERS_DENSE
    elif layers is None:
        layers = _near((parameters / squares) ** (1 / 3) / _WIDTH_TO_LAYERS ** (2 / 3), 8)
    if width is None:
        width = _near((parameters / (squares * layers)) ** 0.5, 64)
    return layers, width


def _near(value: float, step: int) -> int:
    """The multiple of ``step`` nearest to ``value``; below one step the nearest whole number."""
    return max(1, round(value)) if value < step else step * round(value / step)
