"""D2 §8.5: choosing by experiment, as the article advises: a small grid, its cost, its pick."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, held_out, network, right, train
from minigrad.data import load
from minigrad.figure import new_figure

__all__ = ["answer"]

_RULES: dict[str, tuple[Callable[[nn.Module, float], optim.Optimizer], float]] = {
    # what the rates are multiplied by
    "SGD": (optim.SGD, 1.0),
    "momentum": (partial(optim.SGD, momentum=0.9), 0.1),
    "Adam": (optim.Adam, 0.01),
}
_RATES, _BATCHES, _WIDTHS = (0.03, 0.1, 0.3), (16, 64), (16, 64)


class _Try(NamedTuple):
    """A point of the grid: accuracy on the rows held out and on the test part, and seconds."""

    chosen_by: float
    accuracy: float
    seconds: float
    rule: str
    rate: float
    batch: int
    width: int


def answer(quick: bool = False) -> Answer:
    """Three optimizers, three rates, two batch sizes and two widths on digits; the one that does
    best on held-out rows is judged on the test part."""
    data = load("digits")
    tuning = held_out(data)
    kept = len(tuning.x_train)
    tries = []
    for rule, relative, batch, width in product(_RULES, _RATES, _BATCHES, _WIDTHS):
        if quick and (batch, width) != (64, 64):
            continue
        make, scale = _RULES[rule]
        model, steps = network(64, width, 10), (1 if quick else 8) * kept // batch
        optimizer = make(model, scale * relative)
        course = train(model, optimizer, tuning, steps=steps, batch_size=batch, look_every=steps)
        _, accuracy = right(model, data.x_test, data.y_test)
        found = (course.accuracy[-1], accuracy, course.seconds[-1])
        tries.append(_Try(*found, rule, scale * relative, batch, width))
    return _tell(tries, kept)


def _tell(tries: list[_Try], kept: int) -> Answer:
    def held_out(one: _Try) -> float:
        return one.chosen_by

    best, worst = max(tries, key=held_out), min(tries, key=held_out)
    near = [one for one in tries if one.chosen_by >= best.chosen_by - 0.01]
    cheap = min(near, key=lambda one: one.seconds)
    spread = {
        rule: max(found) - min(found)
        for rule in _RULES
        if (found := [one.chosen_by for one in tries if one.rule == rule])
    }
    n = {
        "best held out": best.chosen_by, "best": best.accuracy, "worst": worst.accuracy,
        "cheap ms": 1e3 * cheap.seconds, "best ms": 1e3 * best.seconds,
        "spread of SGD": 100 * spread["SGD"], "spread of Adam": 100 * spread["Adam"],
    }  # fmt: skip
    s = {name: f"{value:.1f}" if value > 1 else f"{value:.1%}" for name, value in n.items()}
    sgd, adam = f"{n['spread of SGD']:.1f}", f"{n['spread of Adam']:.1f}"
    what = f"{best.rule}, {best.rate:g}, {best.batch}, {best.width}"
    return Answer(
        numbers=n,
        en=(
            f"Of {len(tries)} combinations of optimizer, rate, batch size and width ({what}) does "
            f"best on rows held out ({s['best held out']}), and recognises {s['best']} of the test "
            f"part; the worst choice recognises {s['worst']}.",
            f"{len(near)} of them come within a point of the best on the held-out rows; the "
            f"quickest of these trains in {n['cheap ms']:.0f} ms instead of "
            f"{n['best ms']:.0f} ms.",
            "The article's advice, to compare by experiment, is "
            + ("borne out" if best.accuracy > worst.accuracy else "not borne out")
            + f": between the best and the worst rate, batch size and width lie {sgd} points with "
            f"SGD and {adam} with Adam, which are numbers that no rule of thumb gives.",
        ),
        zh=(
            f"在优化器、学习率、批大小与宽度的 {len(tries)} 种组合中，"
            f"“{what.replace('momentum', '动量法')}”在留出的数据上最好，"
            f"达到 {s['best held out']}，其测试准确率为 {s['best']}；最差的组合只有 {s['worst']}。",
            f"其中 {len(near)} 种（含最好的一种）在留出的数据上与最好的相差不超过一个百分点，"
            "这些组合中最快的只需 "
            f"{n['cheap ms']:.0f} 毫秒，而最好的需 {n['best ms']:.0f} 毫秒。",
            "文章建议通过实验来比较，这一点"
            + ("得到证实" if best.accuracy > worst.accuracy else "未得到证实")
            + f"：学习率、批大小与宽度的最好与最差取值之间，SGD 相差 {sgd} 个百分点，"
            f"Adam 相差 {adam} 个百分点，没有哪条经验法则能给出这样的数。",
        ),
        figure=_draw(tries, best, cheap),
    )


def _draw(tries: list[_Try], best: _Try, cheap: _Try) -> Any:
    figure = new_figure(7.4, 4.6)
    axes = figure.subplots()
    for rule, colour, marker in zip(_RULES, COLOURS, "osD"):
        found = [one for one in tries if one.rule == rule]
        axes.scatter(
            [1e3 * one.seconds for one in found], [100 * one.chosen_by for one in found],
            c=colour, marker=marker, s=48, alpha=0.8, label=rule,
        )  # fmt: skip
    for one, name, edge in (
        (best, "best", "black"),
        (cheap, "quickest within 1 point", COLOURS[5]),
    ):
        axes.scatter(
            1e3 * one.seconds, 100 * one.chosen_by, s=190, facecolors="none", edgecolors=edge,
            linewidths=1.8, label=name,
        )  # fmt: skip
    axes.set(xlabel="time to train (ms)", ylabel="accuracy on held-out rows (%)", xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure
