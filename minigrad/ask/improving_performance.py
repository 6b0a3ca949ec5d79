"""D0 §6: one improvement after another, and what each of them brought."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, change, judged, network, train
from minigrad.data import Dataset, load
from minigrad.figure import new_figure

__all__ = ["answer"]


class _Setup(NamedTuple):
    """What is trained: pixels of 0 to ``scale``, ``width`` hidden units."""

    scale: float = 160.0
    adam: bool = False
    relu: bool = False
    width: int = 8
    decay: bool = False
    dropout: float = 0.0


_STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("基线", {}),
    "scaled inputs": ("输入缩放", {"scale": 1.0}),
    "Adam": ("Adam", {"adam": True}),
    "ReLU": ("ReLU", {"relu": True}),
    "more width": ("加宽", {"width": 128}),
    "rate decay": ("学习率衰减", {"decay": True}),
    "dropout": ("随机失活", {"dropout": 0.3}),
}
"""Each improvement is made on top of those before it."""


def answer(quick: bool = False) -> Answer:
    """Accuracy on unseen digits after each improvement, over several seeds."""
    seeds, steps = (2, 250) if quick else (5, 800)
    data, setup, found = load("digits"), _Setup(), {}
    for name, (_, changed) in _STEPS.items():
        setup = setup._replace(**changed)
        found[name] = [_accuracy(data, setup, steps, seed) for seed in range(seeds)]
    names = list(found)
    means = [float(np.mean(found[name])) for name in names]
    gains = {name: change(found[before], found[name]) for before, name in pairwise(names)}
    n = {"baseline": means[0], "all": means[-1]}
    n |= {name: 100 * gain for name, (gain, _) in gains.items()}
    parts = {
        name: f"{100 * gain:+.1f} ± {100 * error:.1f}".replace("-", "−")
        for name, (gain, error) in gains.items()
    }
    most = max(gains, key=gains.__getitem__)
    _, harmful, unclear = judged(gains)
    return Answer(
        numbers=n,
        en=(
            f"A baseline (sigmoid, plain SGD, pixels of 0 to 160) recognises {means[0]:.1%} "
            f"of unseen digits after {steps} steps, and with all improvements {means[-1]:.1%}.",
            "Made one on top of the other they changed that by, in percentage points (± standard "
            f"error over {seeds} seeds): "
            + ", ".join(f"{name} {part}" for name, part in parts.items())
            + ".",
            f"Most came from {most}"
            + (f"; harm came from {', '.join(harmful)}" if harmful else "")
            + (
                f"; within noise (three times the standard error) are {', '.join(unclear)}"
                if unclear
                else ""
            )
            + ": change one thing at a time and measure it, in this order or another.",
        ),
        zh=(
            f"基线（sigmoid、普通 SGD、像素取值 0 到 160）训练 {steps} 步后，"
            f"对未见过的数字的准确率为 {means[0]:.1%}，用上全部改进后为 {means[-1]:.1%}。",
            f"逐项叠加，各项带来的变化（百分点，± 为 {seeds} 个随机种子的标准误差）为："
            + "，".join(f"{_STEPS[name][0]} {part}" for name, part in parts.items())
            + "。",
            f"收益最大的是{_quoted([most])}"
            + (f"；起反作用的是{_quoted(harmful)}" if harmful else "")
            + (f"；未超出噪声（三倍标准误差）的是{_quoted(unclear)}" if unclear else "")
            + "：一次只改一处，改完就测，先后顺序可以不同。",
        ),
        figure=_draw(found),
    )


def _quoted(names: list[str]) -> str:
    return "、".join(f"“{_STEPS[name][0]}”" for name in names)


def _accuracy(data: Dataset, setup: _Setup, steps: int, seed: int) -> float:
    data = replace(data, x_train=data.x_train * setup.scale, x_test=data.x_test * setup.scale)
    model = network(
        64, setup.width, 10,
        activation=nn.ReLU if setup.relu else nn.Sigmoid,
        init="he_normal" if setup.relu else "xavier_uniform",
        dropout=setup.dropout, seed=seed,
    )  # fmt: skip
    rate = 3e-3 if setup.adam else 0.1
    lr = optim.Polynomial(rate, steps, 1.0) if setup.decay else rate
    optimizer = optim.Adam(model, lr) if setup.adam else optim.SGD(model, lr)
    return train(model, optimizer, data, steps=steps, look_every=steps, seed=seed).accuracy[-1]


def _draw(found: dict[str, list[float]]) -> Any:
    figure = new_figure(7.8, 4.4)
    axes = figure.subplots()
    places = np.arange(len(found))
    means = [100 * np.mean(values) for values in found.values()]
    for place, values in zip(places, found.values()):
        axes.plot([place] * len(values), [100 * v for v in values], ".", color=COLOURS[7])
    axes.plot(places, means, "o-", color=COLOURS[0], markersize=8)
    for place, mean in zip(places, means):
        axes.annotate(
            f"{mean:.1f}", (place, mean), textcoords="offset points", xytext=(0, 9), ha="center"
        )
    axes.set_xticks(places, ["baseline", *(f"+ {name}" for name in list(found)[1:])], rotation=20)
    axes.set(ylabel="accuracy on unseen digits (%)", ylim=(40, 104))
    axes.grid(alpha=0.3)
    return figure
