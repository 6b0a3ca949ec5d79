"""D4 §6, question 3: the model over-fits. What L1, L2, dropout and early stopping do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import (
    COLOURS,
    Course,
    borne_out,
    change,
    judged,
    network,
    right,
    rows,
    threads,
    train,
)
from minigrad.backend import Array
from minigrad.data import Dataset, load
from minigrad.figure import new_figure

__all__ = ["answer"]

_SAMPLES, _KEPT_BACK, _WRONG = 200, 40, 0.2


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
    seeds, steps, hidden = (2, 300, 96) if quick else (5, 500, 128)
    runs = {
        (way, wrong): np.array(
            [_run(data, _WAYS[way], wrong, seed, steps, hidden) for seed in range(seeds)]
        )
        for way in _WAYS
        for wrong in (0.0, _WRONG)
    }  # of each seed: accuracy on the training labels and on the test part
    results = {key: found.mean(axis=0) for key, found in runs.items()}
    n: dict[str, float] = {}
    for way in _WAYS:
        n[f"{way} test"] = float(results[way, 0.0][1])
        n[f"{way} test, wrong labels"] = float(results[way, _WRONG][1])
    n["none train"] = float(results["none", 0.0][0])
    n["none train, wrong labels"] = float(results["none", _WRONG][0])
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
    clean, noisy = (
        judged({way: change(runs["none", wrong][:, 1], runs[way, wrong][:, 1]) for way in rest})
        for wrong in (0.0, _WRONG)
    )
    l1, l2 = "l1" in noisy[0], "l2" in noisy[0]
    return Answer(
        n,
        (
            f"With nothing against it, the network learns {share['none train']} of {_SAMPLES} "
            f"digits and gets {share['none test']} of the {len(data.y_test):,} others right; "
            f"{said['en', '']} (early stopping learns from {_KEPT_BACK} fewer): on clean "
            f"data accuracy {_told(*clean)} (three times the standard error over {seeds} seeds).",
            f"With {_WRONG:.0%} of the labels wrong it learns "
            f"{share['none train, wrong labels']} of them as they are, and gets "
            f"{share['none test, wrong labels']} of the others right; "
            f"{said['en', ', wrong labels']}: accuracy "
            f"{_told(*noisy)}.",
            "So where there is something false to learn, the article's advice is "
            f"{borne_out(l1)} for L1 and {borne_out(l2)} for L2, and {_WAYS[best].en} does best; "
            "each has one strength, chosen beforehand, and another may do better or worse.",
        ),
        (
            f"不加限制时，网络学会了 {_SAMPLES} 张图片中的 {share['none train']}，在另外 "
            f"{len(data.y_test):,} 张上的准确率为 {share['none test']}；{said['zh', '']}"
            f"（早停少用 {_KEPT_BACK} 张图片训练）：标签无误时，准确率{_told(*clean, 'zh')}"
            f"（以 {seeds} 个随机种子标准误差的三倍为界）。",
            f"有 {_WRONG:.0%} 的标签出错时，它照样记住了其中的 "
            f"{share['none train, wrong labels']}，在新图片上的准确率为 "
            f"{share['none test, wrong labels']}；{said['zh', ', wrong labels']}："
            f"准确率{_told(*noisy, 'zh')}。",
            "所以，当标签中有错误可学时，文章的建议就 L1 而言"
            f"{borne_out(l1, 'zh')}，就 L2 而言{borne_out(l2, 'zh')}，"
            f"效果最好的是“{_WAYS[best].zh}”；"
            "每种只取事先选定的一个强度，换一个强度可能更好，也可能更差。",
        ),
        _draw(results),
    )


def _told(up: list[str], down: list[str], unclear: list[str], lang: str = "en") -> str:
    """What accuracy does with the ways, each named once."""
    says, name, comma, stop = {
        "en": (
            ("rises with {}", "falls with {}", "stays within noise with {}"),
            "{}",
            ", ",
            "; ",
        ),
        "zh": (("升高的是{}", "下降的是{}", "未超出噪声的是{}"), "“{}”", "、", "；"),
    }[lang]
    named = [
        comma.join(name.format(getattr(_WAYS[way], lang)) for way in ways)
        for ways in (up, down, unclear)
    ]
    return stop.join(say.format(names) for say, names in zip(says, named) if names)


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
        figure.subplots(1, 2, sharey=True),
        (0.0, _WRONG),
        ("labels right", "one label in five wrong"),
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
