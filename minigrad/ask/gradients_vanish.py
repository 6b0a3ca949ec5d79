"""D1 §6.2: what becomes of a gradient on its way through 20 layers.

The article advises leaky ReLU or PReLU. How large the first weights are matters at least as much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, gradient_norms, network
from minigrad.backend import Array
from minigrad.data import load
from minigrad.figure import new_figure
from minigrad.nn import init

__all__ = ["answer"]

_LAYERS = 20
_ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], init.Initialiser]] = {
    "sigmoid": (nn.Sigmoid, init.xavier_uniform),
    "tanh": (nn.Tanh, init.xavier_uniform),
    "ReLU": (nn.ReLU, init.he_uniform),
    "leaky ReLU": (nn.LeakyReLU, init.he_uniform),
    "PReLU": (lambda: nn.PReLU(dtype="float64"), init.he_uniform),
}
_Norms = dict[str, list[float]]
_GONE = 1e-6
"""A gradient of a smaller norm counts as vanished."""


def answer(quick: bool = False) -> Answer:
    """Gradient norms by layer, for five activations, with and without Xavier's or He's weights."""
    data = load("digits", dtype="float64")
    rows = 64 if quick else 256
    sizes = (64, *[64] * (_LAYERS - 1), 10)
    plain: _Norms = {}
    scaled: _Norms = {}
    for name, (activation, own) in _ACTIVATIONS.items():
        for found, first in ((plain, _small), (scaled, own)):
            model = network(*sizes, activation=activation, init=first, dtype="float64")
            found[name] = gradient_norms(model, data.x_train[:rows], data.y_train[:rows])
    n = {f"{name}, plain": norms[0] for name, norms in plain.items()}
    n |= {f"{name}, scaled": norms[0] for name, norms in scaled.items()}
    one, two = (
        {name: f"{n[f'{name}, {how}']:.1e}" for name in _ACTIVATIONS} for how in ("plain", "scaled")
    )
    saved = max(n["leaky ReLU, plain"], n["PReLU, plain"]) > _GONE
    enough = n["ReLU, scaled"] > _GONE
    never = max(n["sigmoid, plain"], n["sigmoid, scaled"]) < _GONE
    return Answer(
        numbers=n,
        en=(
            f"{_LAYERS} layers whose first weights are drawn from U(−0.05, 0.05) leave the first "
            f"layer a gradient of norm {_listed(one, '{} with {}', '; ')}.",
            "With Xavier's weights for sigmoid and tanh, and He's for the others, it is "
            f"{_listed(two, '{} with {}', '; ')}.",
            "The article's advice, leaky ReLU or PReLU, "
            + (
                "helps by itself here."
                if saved
                else "is thus not borne out by itself: with the first weights these vanish, too"
                + (", and with the second plain ReLU does not vanish either" if enough else "")
                + ("; sigmoid vanishes with both, and needs to be replaced." if never else ".")
            ),
        ),
        zh=(
            f"{_LAYERS} 层网络，初始权重取自 U(−0.05, 0.05) 时，第一层梯度的范数为："
            f"{_listed(one, '{1} {0}', '；')}。",
            "sigmoid 与 tanh 改用 Xavier 初始化、其余改用 He 初始化后，该范数为："
            f"{_listed(two, '{1} {0}', '；')}。",
            "文章关于改用 Leaky ReLU 或 Parametric ReLU（PReLU）的建议，"
            + (
                "在这里单独使用即有效。"
                if saved
                else "单独使用时并不成立：用前一种初始权重时，它们的梯度也会消失"
                + ("；用后一种时，普通 ReLU 的梯度也不消失" if enough else "")
                + ("；sigmoid 的梯度在两种情况下都消失，应当换掉。" if never else "。")
            ),
        ),
        figure=_draw(plain, scaled),
    )


def _small(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """What takes no notice of the layer's size: Keras's RandomUniform."""
    return rng.uniform(-0.05, 0.05, shape).astype(dtype)


def _listed(norms: dict[str, str], form: str, between: str) -> str:
    return between.join(form.format(norm, name) for name, norm in norms.items())


def _draw(plain: _Norms, scaled: _Norms) -> Any:
    figure = new_figure(9.6, 4.6)
    titles = ("first weights from U(−0.05, 0.05)", "Xavier (sigmoid, tanh), He (the others)")
    for axes, title, found in zip(figure.subplots(1, 2, sharey=True), titles, (plain, scaled)):
        for (name, norms), colour, marker in zip(found.items(), COLOURS, "osD^v"):
            axes.plot(
                range(1, _LAYERS + 1), norms, marker=marker, color=colour, label=name,
                markersize=5, alpha=0.85,
            )  # fmt: skip
        axes.set(title=title, xlabel="layer (1: next to the input)", yscale="log")
        axes.set_xticks([1, 5, 10, 15, 20])
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("norm of the weights' gradient")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    return figure
