"""D0 §6: which strategy is best depends on how long one trains: momentum, decay, Adam compared."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, held_out, network, right, train
from minigrad.data import load
from minigrad.figure import new_figure

__all__ = ["answer"]

_RATES = (0.1, 0.3, 1.0)
_Make = Callable[[nn.Module, optim.base.Rate], optim.Optimizer]
_RULES: dict[str, tuple[_Make, float]] = {
    # what the rates above are multiplied by
    "SGD": (optim.SGD, 1.0),
    "momentum": (partial(optim.SGD, momentum=0.9), 0.1),
    "Adam": (optim.Adam, 0.01),
}


def answer(quick: bool = False) -> Answer:
    """Test loss of six strategies, each at the best of three rates, for a short and a long run."""
    data = load("digits")
    tuning = held_out(data)
    budgets = (20, 200) if quick else (30, 1000)
    found: dict[str, list[float]] = {}
    for name, (make, scale) in _RULES.items():
        for decay in (False, True):
            losses = []
            for steps in budgets:
                tried = []
                for rate in (scale * rate for rate in _RATES):
                    model = network(64, 32, 10)
                    lr = optim.Polynomial(rate, steps, 1.0) if decay else rate
                    course = train(model, make(model, lr), tuning, steps=steps, look_every=steps)
                    judged = right(model, data.x_test, data.y_test)
                    tried.append((course.loss[-1], judged[0]))
                losses.append(min(tried)[1])
            found[name + ", decay" * decay] = losses
    return _tell(found, budgets, len(data.x_test))


def _tell(found: dict[str, list[float]], budgets: tuple[int, int], tested: int) -> Answer:
    names = list(found)
    shorts, longs = (dict(zip(names, column)) for column in zip(*found.values()))
    best = [min(names, key=losses.__getitem__) for losses in (shorts, longs)]
    momentum = shorts["momentum"] < shorts["SGD"]
    decay = longs["momentum, decay"] < longs["momentum"]
    n = {
        "short SGD": shorts["SGD"], "short momentum": shorts["momentum"],
        "short best": shorts[best[0]], "long momentum": longs["momentum"],
        "long momentum, decay": longs["momentum, decay"], "long best": longs[best[1]],
    }  # fmt: skip
    s = {name: f"{value:.3f}" for name, value in n.items()}
    a, b = budgets
    return Answer(
        numbers=n,
        en=(
            f"After {a} steps on digits, each strategy at the best of {len(_RATES)} rates, SGD's "
            f"test loss is {s['short SGD']} and with momentum {s['short momentum']}; the "
            f"lowest is {s['short best']}, with {best[0]}.",
            f"After {b:,} steps momentum stands at {s['long momentum']} and with a rate decaying "
            f"to zero at {s['long momentum, decay']}; the lowest is {s['long best']}, "
            f"with {best[1]}.",
            f"The article's two strategies are {borne_out(momentum)} (momentum, short run) "
            f"and {borne_out(decay)} (decay, long run); choose by the number of steps "
            f"that you can afford, on rows held out from training, and mind that {tested} test "
            "rows hardly tell neighbours apart.",
        ),
        zh=(
            f"在 digits 上训练 {a} 步，各策略取 {len(_RATES)} 个学习率中最好的一个："
            f"SGD 的测试损失为 {s['short SGD']}，加动量后为 {s['short momentum']}；"
            f"最低为 {s['short best']}，由“{_zh(best[0])}”取得。",
            f"训练 {b:,} 步后，动量法为 {s['long momentum']}，学习率再衰减到零则为 "
            f"{s['long momentum, decay']}；最低为 {s['long best']}，由“{_zh(best[1])}”取得。",
            f"文章的两种策略中，动量法（短训练）的作用{borne_out(momentum, 'zh')}，"
            f"学习率衰减（长训练）的作用{borne_out(decay, 'zh')}；"
            "应按负担得起的步数、用训练时留出的数据来选择，"
            f"并注意 {tested} 个测试样本难以区分效果相近的策略。",
        ),
        figure=_draw(found, budgets),
    )


def _zh(name: str) -> str:
    return name.replace("momentum", "动量法").replace(", decay", " + 衰减")


def _draw(found: dict[str, list[float]], budgets: tuple[int, int]) -> Any:
    figure = new_figure(7.4, 4.2)
    axes = figure.subplots()
    places = np.arange(len(found))
    for number, steps in enumerate(budgets):
        bars = axes.bar(
            places + 0.4 * number - 0.2, [losses[number] for losses in found.values()], 0.38,
            color=COLOURS[number], label=f"after {steps:,} steps",
        )  # fmt: skip
        axes.bar_label(bars, fmt="%.2f", fontsize=9, padding=2)
    axes.set_xticks(places, [name.replace(", ", ",\n") for name in found])
    axes.set(ylabel="test loss (mean per sample)")
    axes.margins(y=0.12)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend()
    return figure
