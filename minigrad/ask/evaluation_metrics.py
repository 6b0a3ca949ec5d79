"""D3 §6, question 4: accuracy, recall, F1 and AUC, where one class is rare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minigrad import metrics, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, network, train
from minigrad.autograd import no_grad
from minigrad.backend import Array
from minigrad.data import load
from minigrad.figure import new_figure

__all__ = ["answer"]

_KEPT = 15  # malignant samples in each part, so that they are rare
_FEATURES = 10  # of 30, the means: the task is too easy with all of them
_NAMES = ("accuracy", "recall", "F1", "AUC")


def answer(quick: bool = False) -> Answer:
    """breast_cancer with most malignant samples left out: what four measures make of a model
    that always says "benign", of a trained one, and of the same with a lower threshold."""
    data = load("breast_cancer", test_size=0.5)
    x, y = _unbalanced(data.x_train, data.y_train)
    x_test, labels = _unbalanced(data.x_test, data.y_test)
    rare = replace(data, x_train=x, y_train=y, x_test=x_test, y_test=labels)
    model = network(_FEATURES, 16, 2)
    train(model, optim.Adam(model, 1e-3), rare, steps=200 if quick else 300)
    with no_grad():
        logits = model(x_test).data
    scores = logits[:, 1] - logits[:, 0]
    # low enough to find nine in ten of the malignant
    low = float(np.sort(scores[labels == 1])[_KEPT // 10])
    never = _measures(labels, np.zeros(len(labels)), 1.0)
    trained = _measures(labels, scores, 0.0)
    careful = _measures(labels, scores, low)
    n = {
        f"{who} {name}": value
        for who, values in (("never", never), ("trained", trained), ("careful", careful))
        for name, value in values.items()
    }
    s = {
        key: f"{value:.1%}" if "AUC" not in key and "F1" not in key else f"{value:.3f}"
        for key, value in n.items()
    }
    n["samples"], n["malignant"] = float(len(labels)), float(labels.sum())
    worse = n["careful accuracy"] < n["never accuracy"]
    compare = ("less than" if worse else "not less than", "还不如" if worse else "不低于")
    more = f"{100 * (n['trained accuracy'] - n['never accuracy']):+.1f}".replace("-", "−")
    return Answer(
        n,
        (
            f"Of {len(labels)} test samples {labels.sum()} are malignant, so that always saying "
            f"'benign' has an accuracy of {s['never accuracy']} and finds nobody: recall "
            f"{s['never recall']}, F1 {s['never F1']}, AUC {s['never AUC']}.",
            f"A trained network has an accuracy of {s['trained accuracy']} ({more} points), "
            f"recall {s['trained recall']}, F1 {s['trained F1']} and AUC {s['trained AUC']}.",
            f"With the threshold lowered until recall is {s['careful recall']}, accuracy is "
            f"{s['careful accuracy']}, {compare[0]} that of finding nobody (F1 {s['careful F1']}, "
            "the same AUC, which knows no threshold): the article's four measures are right as "
            "defined, but answer different questions, and accuracy alone misleads on rare classes.",
        ),
        (
            f"{len(labels)} 个测试样本中只有 {labels.sum()} 个是恶性，所以永远回答“良性”也有 "
            f"{s['never accuracy']} 的准确率，却一个恶性样本也找不到："
            f"召回率 {s['never recall']}，F1 {s['never F1']}，AUC {s['never AUC']}。",
            f"训练过的网络准确率为 {s['trained accuracy']}（{more} 个百分点），召回率是 "
            f"{s['trained recall']}，F1 是 {s['trained F1']}，AUC 是 {s['trained AUC']}。",
            f"把阈值降低到召回率为 {s['careful recall']} 时，准确率是 {s['careful accuracy']}，"
            f"{compare[1]}一个也找不到的模型（F1 {s['careful F1']}，AUC 与阈值无关，保持不变）："
            "文章给出的四个指标定义都对，但回答的是不同的问题，类别不平衡时只看准确率会误导人。",
        ),
        _draw(labels, scores, low, (never, trained, careful)),
    )


def _unbalanced(x: Array, y: Array) -> tuple[Array, Array]:
    """All benign samples and the first few malignant ones, which are class 1 here."""
    malignant = np.flatnonzero(y == 0)[:_KEPT]
    rows = np.sort(np.concatenate([np.flatnonzero(y == 1), malignant]))
    return x[rows, :_FEATURES], (y[rows] == 0).astype(np.int64)


def _measures(labels: Array, scores: Array, threshold: float) -> dict[str, float]:
    predictions = (scores >= threshold).astype(np.int64)
    values = (
        metrics.accuracy(labels, predictions), metrics.recall(labels, predictions),
        metrics.f1(labels, predictions), metrics.auc(labels, scores),
    )  # fmt: skip
    return dict(zip(_NAMES, map(float, values)))


def _draw(labels: Array, scores: Array, low: float, found: tuple[dict[str, float], ...]) -> Any:
    figure = new_figure(9.6, 4.0)
    bars, roc = figure.subplots(1, 2, width_ratios=(1.35, 1))
    place = np.arange(len(_NAMES))
    kinds = (
        ("always 'benign'", COLOURS[7], "D"), ("trained", COLOURS[0], "o"),
        ("trained, lower threshold", COLOURS[1], "s"),
    )  # fmt: skip
    for k, ((name, colour, _), values) in enumerate(zip(kinds, found)):
        drawn = bars.bar(place + 0.27 * (k - 1), values.values(), 0.26, color=colour, label=name)
        bars.bar_label(drawn, fmt="%.2f", fontsize=7.5)
    bars.set_xticks(place, _NAMES)
    bars.set(ylim=(0, 1.3), yticks=np.linspace(0, 1, 6))
    bars.legend(fontsize=9, loc="upper center", ncols=2)
    false, true, _ = metrics.roc_curve(labels, scores)
    roc.step(false, true, where="post", color=COLOURS[0], zorder=1)
    roc.plot([0, 1], [0, 1], "--", color="#666666", linewidth=1)
    points = ((0.0, 0.0), *(_rates(labels, scores >= t) for t in (0.0, low)))
    for (x, y), (name, colour, marker) in zip(points, kinds):
        roc.plot(x, y, marker, color=colour, markersize=9, markeredgecolor="black", label=name)
    roc.set(xlabel="false positive rate", ylabel="true positive rate (recall)", aspect="equal")
    roc.grid(alpha=0.3)
    bars.grid(alpha=0.3, axis="y")
    return figure


def _rates(labels: Array, said: Array) -> tuple[float, float]:
    """False and true positive rate."""
    return float(said[labels == 0].mean()), float(said[labels == 1].mean())
