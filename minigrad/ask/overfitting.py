"""D4 §6, question 3: the model over-fits. What L1, L2, dropout and early stopping do about it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, Course, network, right, rows, threads, train
from minigrad.backend import Array
from minigrad.data import Dataset, load
from minigrad.figure import new_figure

__all__ = ["answer"]

_SAMPLES, _KEPT_BACK = 200, 40


class _Way(NamedTuple):
    en: str
    zh: str
    penalties: dict[str, Any]
    dropout: float = 0.0
    early: bool = False


_WAYS = {
    "none": _Way("nothing", "不加限制", {}),
    "l1": _Way("L1", "L1", {"l1": 1e-3}),
    "l2": _Way("L2", "L2", {"l2": 1e-2}),
    "dropout": _Way("dropout", "随机失活", {}, dropout=0.5),
    "early": _Way("early stopping", "早停", {}, early=True),
}


@threads(1)
def answer(quick: bool = False) -> Answer:
    """A network of many more weights than the 200 digits it learns, held back in four ways;
    with right labels, and with one in five wrong."""
    data = load("digits", test_size=1 - _SAMPLES / 1797)
    seeds, steps, hidden = (1, 300, 96) if quick else (3, 500, 128)
    results = {
        (way, wrong): np.mean(
            [_run(data, _WAYS[way], wrong, seed, steps, hidden) for seed in range(seeds)], axis=0
        )
        for way in _WAYS
        for wrong in (0.0, 0.2)
    }  # of each: accuracy on the training labels and on the test part
    n: dict[str, float] = {}
    for way in _WAYS:
        n[f"{way} test"] = float(results[way, 0.0][1])
        n[f"{way} test, wrong labels"] = float(results[way, 0.2][1])
    n["none train"] = float(results["none", 0.0][0])
    n["none train, wrong labels"] = float(results["none", 0.2][0])
    n["standard error"] = math.sqrt(n["none test"] * (1 - n["none test"]) / len(data.y_test))
    share = {key: f"{value:.1%}" for key, value in n.items()}
    rest = [way for way in _WAYS if way != "none"]
    best = max(rest, key=lambda way: n[f"{way} test, wrong labels"])
    said = {
        (language, wrong): "，".join(parts) if language == "zh" else ", ".join(parts)
        for language in ("en", "zh")
        for wrong in ("", ", wrong labels")
        if (parts := [
            f"{getattr(_WAYS[way], language)} {share[f'{way} test{wrong}']}" for way in rest
        ])
    }  # fmt: skip
    helped = [way for way in rest if n[f"{way} test, wrong labels"] > n["none test, wrong labels"]]
    return Answer(
        n,
        (
            f"With nothing against it, the network learns {_SAMPLES} digits by heart "
            f"({share['none train']}) and gets {share['none test']} of the {len(data.y_test):,} "
            f"others right; {said['en', '']}: on clean data there is little to win, with a "
            f"standard error of {share['standard error']}, and early stopping pays for the "
            f"{_KEPT_BACK} digits that it keeps back.",
            f"With one label in five wrong it learns {share['none train, wrong labels']} of those "
            f"labels, wrong ones too, and falls to {share['none test, wrong labels']} on others; "
            f"{said['en', ', wrong labels']}.",
            "So the article's L1 and L2 do act on over-fitting where there is something false to "
            f"learn, {len(helped)} of 4 ways help there, {_WAYS[best].en} most; each at one "
            "strength, chosen beforehand: too strong a penalty costs accuracy instead.",
        ),
        (
            f"不加限制时，网络把 {_SAMPLES} 张图片背了下来（{share['none train']}），在另外 "
            f"{len(data.y_test):,} 张上的准确率为 {share['none test']}；{said['zh', '']}："
            f"数据干净时差别不大（标准误差 {share['standard error']}），早停还得留出 {_KEPT_BACK} "
            "张图片做验证，因此吃亏。",
            f"如果五分之一的标签是错的，它会把 {share['none train, wrong labels']} 的标签连同错的"
            f"一起记住，在新图片上的准确率降到 {share['none test, wrong labels']}；"
            f"{said['zh', ', wrong labels']}。",
            "所以，当标签中有错误可学时，文章说的 L1、L2 确实能抑制过拟合，"
            f"4 种办法中有 {len(helped)} 种有效，效果最大的是“{_WAYS[best].zh}”；"
            "每种只取事先选定的一个强度，惩罚项太强反而会损失准确率。",
        ),
        _draw(results),
    )


def _run(
    data: Dataset, way: _Way, wrong: float, seed: int, steps: int, hidden: int
) -> tuple[float, float]:
    """Accuracy on the training labels and on the test part."""
    data = replace(data, y_train=_mislabelled(data.y_train, wrong))
    if way.early:
        kept = replace(
            rows(data, _SAMPLES - _KEPT_BACK),
            x_test=data.x_train[-_KEPT_BACK:], y_test=data.y_train[-_KEPT_BACK:],
        )  # fmt: skip
        tried = _trained(kept, way, seed, steps, hidden)[1]
        # the same training again, as far as where those kept back were predicted best
        data = rows(data, _SAMPLES - _KEPT_BACK)
        steps = tried.steps[int(np.argmin(tried.loss))]
    model, course = _trained(data, way, seed, steps, hidden, look_every=steps)
    learned = right(model, data.x_train, data.y_train)[1]
    return learned, course.accuracy[-1]


def _trained(
    data: Dataset, way: _Way, seed: int, steps: int, hidden: int, look_every: int = 5
) -> tuple[nn.Module, Course]:
    model = network(64, hidden, hidden, 10, seed=seed, dropout=way.dropout)
    optimizer = optim.Adam(model, 1e-3, **way.penalties)
    return model, train(model, optimizer, data, steps=steps, look_every=look_every, seed=seed)


def _mislabelled(labels: Array, share: float) -> Array:
    """``labels`` with a share of them moved to another of the ten classes."""
    rng = np.random.default_rng(1)
    changed = labels.copy()
    rows = rng.permutation(len(labels))[: round(share * len(labels))]
    changed[rows] = (changed[rows] + rng.integers(1, 10, len(rows))) % 10
    return changed


def _draw(results: dict[tuple[str, float], Any]) -> Any:
    figure = new_figure(9.6, 3.8)
    place = np.arange(len(_WAYS))
    for axes, wrong, title in zip(
        figure.subplots(1, 2, sharey=True), (0.0, 0.2), ("labels right", "one label in five wrong")
    ):
        for offset, column, name, colour in (
            (-0.2, 0, "training labels", COLOURS[4]),
            (0.2, 1, "new images", COLOURS[5]),
        ):
            values = [100 * results[way, wrong][column] for way in _WAYS]
            bars = axes.bar(place + offset, values, 0.38, color=colour, label=name)
            axes.bar_label(bars, fmt="%.0f", fontsize=8)
        axes.set_xticks(place, [way.en.replace(" ", "\n") for way in _WAYS.values()])
        axes.set(title=title, ylim=(0, 122), yticks=range(0, 101, 20))
        axes.grid(alpha=0.3, axis="y")
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.axes[1].legend(loc="upper right", fontsize=9, ncols=2)
    return figure
