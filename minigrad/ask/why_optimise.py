"""D2 §8.1: what is found without optimisation, with gradients alone, and with a strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, network, right, train
from minigrad.data import Dataset, load
from minigrad.figure import new_figure

__all__ = ["answer"]

_Line = tuple[list[float], list[float]]
"""Passes over the training part, and the accuracy on the test part then."""
_BACKWARD = 3
"""A step with gradients takes the arithmetic of as many forward passes."""


def answer(quick: bool = False) -> Answer:
    """Guessing, guessing nearby, gradient descent, SGD, Adam with decay: the same arithmetic."""
    data, passes = load("digits"), 6 if quick else 30
    steps = passes * len(data.x_train) // 32
    lines: dict[str, _Line] = {
        "random weights": _guess(data, _BACKWARD * passes, near=False),
        "random changes, kept if better": _guess(data, _BACKWARD * passes, near=True),
        "gradient descent": _learn(data, lambda m: optim.SGD(m, 0.5), passes, len(data.x_train)),
        "SGD": _learn(data, lambda m: optim.SGD(m, 0.1), steps, 32),
        "Adam, decaying rate": _learn(
            data, lambda m: optim.Adam(m, optim.Polynomial(0.01, steps, 1.0)), steps, 32
        ),
    }
    n = {name: line[1][-1] for name, line in lines.items()}
    guessed, near, descent, sgd, adam = (f"{value:.1%}" for value in n.values())
    best = [max(found) for found in (list(n.values())[:2], list(n.values())[3:])]
    gradients, strategy = n["gradient descent"] > best[0], best[1] > n["gradient descent"]
    return Answer(
        numbers=n,
        en=(
            f"With the arithmetic of {passes} passes over digits, the best of many random "
            f"networks recognises {guessed} of unseen ones, and random changes, kept if better, "
            f"{near}.",
            f"Gradient descent over all rows at once reaches {descent}, SGD on batches of 32 "
            f"{sgd}, and Adam with a rate that decays {adam}.",
            f"That optimisation is needed is {borne_out(gradients)}: with so much arithmetic, "
            f"gradients do {'better' if gradients else 'no better'} than guesses; that a strategy "
            f"is, too, is {borne_out(strategy)}: here it is many small steps in place of few exact "
            "ones.",
        ),
        zh=(
            f"用相当于遍历 digits {passes} 遍的计算量，许多随机网络中最好的一个准确率为 {guessed}，"
            f"随机改动权重、变好才保留的方法为 {near}。",
            f"每步使用全部样本的梯度下降达到 {descent}，批大小 32 的 SGD 达到 {sgd}，"
            f"学习率衰减的 Adam 达到 {adam}。",
            f"需要优化方法，这一点{borne_out(gradients, 'zh')}：同样的计算量下，"
            f"用梯度{'比' if gradients else '并不比'}随机猜测学得更好；"
            f"也需要训练策略，这一点{borne_out(strategy, 'zh')}："
            "这里的策略是以许多小步代替少数精确的步。",
        ),
        figure=_draw(lines),
    )


def _guess(data: Dataset, tries: int, near: bool) -> _Line:
    """Whichever weights do best on the training part, drawn anew, or ``near`` the best so far."""
    rng = np.random.default_rng(0)
    model = network(64, 32, 10)
    best = [p.data.copy() for p in model.parameters()]
    found: list[float] = []
    lowest = np.inf
    for number in range(tries):
        fresh = network(64, 32, 10, seed=number).parameters()
        for p, start, other in zip(model.parameters(), best, fresh):
            step = 0.05 * rng.standard_normal(start.shape)
            p.data[...] = start + step if near else other.data
        loss, _ = right(model, data.x_train, data.y_train)
        accuracy = found[-1] if found else 0.0
        if loss < lowest:
            lowest, best = loss, [p.data.copy() for p in model.parameters()]
            accuracy = right(model, data.x_test, data.y_test)[1]
        found.append(accuracy)
    return [(number + 1) / _BACKWARD for number in range(tries)], found


def _learn(
    data: Dataset, make: Callable[[nn.Module], optim.Optimizer], steps: int, batch: int
) -> _Line:
    model = network(64, 32, 10)
    every = max(1, len(data.x_train) // (4 * batch))
    course = train(model, make(model), data, steps=steps, batch_size=batch, look_every=every)
    return [step * batch / len(data.x_train) for step in course.steps], course.accuracy


def _draw(lines: dict[str, _Line]) -> Any:
    figure = new_figure(7.4, 4.6)
    axes = figure.subplots()
    for (name, (passes, found)), colour in zip(reversed(lines.items()), COLOURS):
        axes.plot(passes, [100 * value for value in found], color=colour, linewidth=2, label=name)
    axes.set(
        xlabel="arithmetic (passes over the training rows, forward and backward)",
        ylabel="accuracy on unseen digits (%)", ylim=(0, 102),
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(loc="center right", bbox_to_anchor=(1, 0.56))
    return figure
