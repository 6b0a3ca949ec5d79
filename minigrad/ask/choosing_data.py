"""D0 §6: what a data set needs: enough rows, right labels, every class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minigrad import optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, network, rows, train
from minigrad.data import Dataset, load
from minigrad.figure import new_figure

__all__ = ["answer"]

_WRONG = 0.3


def answer(quick: bool = False) -> Answer:
    """Accuracy on unseen digits after training on more and more of them, on wrong labels, and on
    two classes fewer."""
    data = load("digits")
    seeds, steps = (2, 100) if quick else (5, 400)
    counts = (25, 200, len(data.x_train)) if quick else (25, 50, 100, 200, 400, 800, 1437)

    def accuracies(some: Dataset) -> list[float]:
        found = []
        for seed in range(seeds):
            model = network(64, 64, 10, seed=seed)
            adam = optim.Adam(model, 3e-3)
            course = train(model, adam, some, steps=steps, look_every=steps, seed=seed)
            found.append(course.accuracy[-1])
        return found

    by_count = {count: accuracies(rows(data, count)) for count in counts}
    seen = data.y_train < 8
    others = {
        f"{_WRONG:.0%} of the labels wrong": (len(data.x_train), accuracies(_mislabelled(data))),
        "no 8 and no 9": (
            int(seen.sum()),
            accuracies(replace(data, x_train=data.x_train[seen], y_train=data.y_train[seen])),
        ),
    }
    few, middle, most = (float(np.mean(by_count[count])) for count in (25, 200, counts[-1]))
    wrong, lacking = (float(np.mean(found)) for _, found in others.values())
    n = {"few": few, "middle": middle, "most": most, "wrong": wrong, "lacking": lacking}
    grows = few < middle < most
    by_row = [(middle - few) / (200 - 25), (most - middle) / (counts[-1] - 200)]
    en_less, zh_less = ("less", "递减") if by_row[1] < by_row[0] else ("not less", "并未递减")
    return Answer(
        numbers=n,
        en=(
            f"Trained for {steps} steps on 25, 200 and {counts[-1]:,} pictures of digits, a "
            f"network recognises {few:.1%}, {middle:.1%} and {most:.1%} of {len(data.x_test)} "
            "unseen ones: "
            + (
                f"more data help, each further row {en_less}."
                if grows
                else "more data do not help each time."
            ),
            f"With all rows but {_WRONG:.0%} of their labels wrong it recognises {wrong:.1%}, and "
            f"with right labels but no 8 and no 9 among them {lacking:.1%}.",
            "So the article's larger data set "
            + ("is worth having" if grows else "does not pay each time")
            + (
                f"; {others['no 8 and no 9'][0]:,} rows that lack two classes do "
                f"{'worse' if lacking < middle else 'no worse'} than 200 that show all: "
                "look at labels and coverage as well as at size."
            ),
        ),
        zh=(
            f"用 25、200、{counts[-1]:,} 张手写数字图片各训练 {steps} 步，网络对 "
            f"{len(data.x_test)} 张未见过的图片的准确率分别为 {few:.1%}、{middle:.1%}、{most:.1%}："
            + (
                f"数据越多越好，每张新图片的增益{zh_less}。"
                if grows
                else "增加数据在此并非每次都有帮助。"
            ),
            f"用全部图片，但其中 {_WRONG:.0%} 的标签有错时，准确率为 {wrong:.1%}；"
            f"标签正确但缺少 8 与 9 两类时为 {lacking:.1%}。",
            f"因此，文章所说的更大的数据集{'确有价值' if grows else '在此并非每次见效'}；"
            f"缺两类的 {others['no 8 and no 9'][0]:,} 张图片"
            f"{'不如' if lacking < middle else '并不比'}类别齐全的 200 张"
            f"{'' if lacking < middle else '差'}：除规模外，还要看标签质量与类别覆盖。",
        ),
        figure=_draw(by_count, others),
    )


def _mislabelled(data: Dataset) -> Dataset:
    """A share of the labels moved on to another class, the same for all seeds."""
    rng = np.random.default_rng(0)
    moved = rng.random(len(data.y_train)) < _WRONG
    shift = rng.integers(1, data.classes, len(data.y_train))
    return replace(data, y_train=np.where(moved, (data.y_train + shift) % 10, data.y_train))


def _draw(by_count: dict[int, list[float]], others: dict[str, tuple[int, list[float]]]) -> Any:
    figure = new_figure(7.0, 4.4)
    axes = figure.subplots()
    counts = list(by_count)
    means = [100 * np.mean(found) for found in by_count.values()]
    axes.plot(counts, means, "o-", color=COLOURS[0], label="right labels, all classes")
    axes.fill_between(
        counts,
        [100 * min(found) for found in by_count.values()],
        [100 * max(found) for found in by_count.values()],
        color=COLOURS[0], alpha=0.2, linewidth=0,
    )  # fmt: skip
    for (name, (count, found)), colour, marker in zip(others.items(), COLOURS[1:], "sD"):
        axes.plot(
            count, 100 * np.mean(found), marker, color=colour, markersize=9, label=name,
            linestyle="none",
        )  # fmt: skip
    axes.set(xlabel="training rows", ylabel="accuracy on unseen rows (%)", xscale="log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.05))
    return figure
