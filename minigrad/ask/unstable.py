"""D4 §6, question 4: training is unstable. Which learning rates work, for which optimizer?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, network, right, threads, train
from minigrad.data import Dataset, load
from minigrad.figure import new_figure

__all__ = ["answer"]

_GOOD = 0.9  # accuracy on the training data
_OPTIMIZERS: dict[str, Callable[[nn.Module, float], optim.Optimizer]] = {
    "SGD": optim.SGD,
    "clipped SGD": optim.SGD,
    "momentum": lambda model, rate: optim.SGD(model, rate, momentum=0.9),
    "Adam": optim.Adam,
}


@threads(1)
def answer(quick: bool = False) -> Answer:
    """Each optimizer at many learning rates, on pixels in [0, 1] and in [0, 16]."""
    data = load("digits")
    step, epochs = (0.5, 2) if quick else (0.25, 4)
    rates = 10.0 ** np.arange(-3.0 if quick else -4.0, 0.6 if quick else 1.1, step)
    found = {
        (name, scale): np.array([_accuracy(data, name, rate, scale, epochs) for rate in rates])
        for name in (("SGD", "Adam") if quick else _OPTIMIZERS)
        for scale in (1, 16)
    }
    # of one quarter of a decade each, so that a single rate that works is not a range of 0
    decades = {key: step * float(_longest(values >= _GOOD)) for key, values in found.items()}
    both = {
        name: step * float(_longest(np.minimum(found[name, 1], found[name, 16]) >= _GOOD))
        for name, scale in found
        if scale == 1
    }
    n = {"epochs": float(epochs), "step": step}
    for name in both:
        n[f"{name} decades"] = decades[name, 1]
    for name in ("Adam", "SGD"):
        n[f"{name} both"] = both[name]
    widest = max(both, key=lambda name: decades[name, 1])
    sgd, adam = (f"{decades[name, 1]:.2f}" for name in ("SGD", "Adam"))
    others = [name for name in both if name not in ("SGD", "Adam")]
    en_others = "".join(f", {name} {decades[name, 1]:.2f}" for name in others)
    zh_others = "".join(f"，{_ZH[name]} {decades[name, 1]:.2f}" for name in others)
    holds = decades["Adam", 1] > decades["SGD", 1]
    top = {name: float(found[name, 1][-1]) for name in ("Adam", "SGD")}
    rate, adam_top, sgd_top = f"{rates[-1]:.2g}", f"{top['Adam']:.1%}", f"{top['SGD']:.1%}"
    unsafe = max(top.values()) < _GOOD
    return Answer(
        n,
        (
            f"A rate works here if {epochs} epochs on digits reach {_GOOD:.0%} of the training "
            f"images; tried in steps of {step:g} decades, the rates that work span {adam} decades "
            f"for Adam and {sgd} for SGD{en_others}; the widest safe range is that of {widest}.",
            "With pixels from 0 to 16 instead of 0 to 1, the rates that work on both scales span "
            f"{both['Adam']:.2f} decades for Adam and {both['SGD']:.2f} for SGD (Adam "
            "divides the gradient by its own size, SGD's step grows with it).",
            f"So the article's advice is {borne_out(holds)}: Adam forgives "
            + ("more" if holds else "no more")
            + f" in the choice of a rate; at {rate}, the highest, Adam gets {adam_top} right and "
            f"SGD {sgd_top}" + (", so that neither makes every rate safe." if unsafe else "."),
        ),
        (
            f"这里把在 digits 上训练 {epochs} 轮能让训练集准确率达到 {_GOOD:.0%} 的学习率算作可用"
            f"；每隔 {step:g} 个数量级试一个，可用学习率的范围，Adam 跨 {adam} 个数量级，"
            f"SGD 跨 {sgd} 个{zh_others}；安全范围最宽的是“{_ZH[widest]}”。",
            "把像素的取值从 0 到 1 换成 0 到 16，两种尺度下都可用的学习率，"
            f"Adam 跨 {both['Adam']:.2f} 个数量级，SGD 跨 {both['SGD']:.2f} 个："
            "Adam 把梯度除以其自身的大小，SGD 的步长则随梯度一起变大。",
            f"因此文章的建议{borne_out(holds, 'zh')}：Adam 对学习率的选择"
            + ("更" if holds else "并不更")
            + f"宽容；在最高的学习率 {rate} 下，Adam 的准确率为 {adam_top}，SGD 为 {sgd_top}"
            + ("，可见两者都不能让所有学习率都安全。" if unsafe else "。"),
        ),
        _draw(rates, found),
    )


_ZH = {"SGD": "SGD", "clipped SGD": "带梯度裁剪的 SGD", "momentum": "动量法", "Adam": "Adam"}


def _accuracy(data: Dataset, name: str, rate: float, scale: int, epochs: int) -> float:
    """On the training data after some epochs; 0 where the loss is no number any more."""
    scaled = replace(data, x_train=data.x_train * np.float32(scale))
    model = network(64, 64, 64, 10)
    steps = epochs * -(-len(data.x_train) // 32)
    with np.errstate(all="ignore"):
        train(
            model, _OPTIMIZERS[name](model, rate), scaled, steps=steps, look_every=steps,
            clip_norm=1.0 if "clipped" in name else None,
        )  # fmt: skip
        loss, accuracy = right(model, scaled.x_train, data.y_train)
    return accuracy if np.isfinite(loss) else 0.0


def _longest(good: np.ndarray) -> int:
    """The length of the longest run of True."""
    longest = run = 0
    for one in good:
        run = run + 1 if one else 0
        longest = max(longest, run)
    return longest


def _draw(rates: np.ndarray, found: dict[tuple[str, int], np.ndarray]) -> Any:
    figure = new_figure(10.6, 3.6)
    panels = figure.subplots(1, 2, sharey=True)
    styles = {"SGD": "o-", "clipped SGD": "v:", "momentum": "s--", "Adam": "^-"}
    for axes, scale in zip(panels, (1, 16)):
        for (name, style), colour in zip(styles.items(), (*COLOURS[:3], COLOURS[5])):
            if (name, scale) in found:
                axes.plot(rates, found[name, scale], style, color=colour, markersize=4, label=name)
        axes.axhline(_GOOD, color="#666666", linewidth=0.8)
        axes.set(xscale="log", xlabel="learning rate", title=f"pixels from 0 to {scale}")
        axes.grid(alpha=0.3)
    panels[0].set(ylabel="accuracy on the training data", ylim=(-0.03, 1.03))
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper")
    return figure
