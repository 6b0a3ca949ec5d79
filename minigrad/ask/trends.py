"""D3 §6, question 5: models grow. How the loss falls with parameters and with data, in small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, network, rows, threads, train
from minigrad.data import Dataset, load
from minigrad.figure import new_figure

__all__ = ["answer"]


class _Fit(NamedTuple):
    """loss ≈ factor · size^(−exponent), and how much of the logarithms' variance that explains."""

    exponent: float
    factor: float
    r2: float


@threads(1)
def answer(quick: bool = False) -> Answer:
    """The lowest loss on held-out digits for growing networks, and for growing training sets."""
    data = load("digits", test_size=0.3)
    whole = len(data.x_train)
    seeds = 1 if quick else 2
    widths = (4, 16, 48) if quick else (4, 8, 16, 32, 64)
    samples = (80, 320, whole) if quick else (40, 160, 320, 640, whole)
    steps = 400 if quick else 1200
    sizes = [_parameters(width) for width in widths]
    by_size = [_loss(data, width, whole, seeds, steps) for width in widths]
    by_data = [_loss(data, widths[-1], count, seeds, steps) for count in samples]
    size_fit, data_fit = _fit(sizes, by_size), _fit(samples, by_data)
    # 2 operations a weight and sample forward, 4 backward; one pass over the data
    least, most = 6 * sizes[0] * samples[0], 6 * sizes[-1] * whole
    n = {
        "smallest": float(sizes[0]), "largest": float(sizes[-1]),
        "smallest loss": by_size[0], "largest loss": by_size[-1],
        "fewest samples": float(samples[0]), "all samples": float(whole),
        "fewest loss": by_data[0], "all loss": by_data[-1],
        "parameter exponent": size_fit.exponent, "data exponent": data_fit.exponent,
        "parameter r2": size_fit.r2, "data r2": data_fit.r2,
        "least compute": float(least), "most compute": float(most),
        "tests": float(len(data.y_test)),
    }  # fmt: skip
    p, q, few, many, tests = (
        f"{n[k]:,.0f}" for k in ("smallest", "largest", "fewest samples", "all samples", "tests")
    )
    lp, lq, lf, lm = (
        f"{n[k]:.3f}" for k in ("smallest loss", "largest loss", "fewest loss", "all loss")
    )
    a, b = (f"({-fit.exponent:.2f})".replace("-", "−") for fit in (size_fit, data_fit))
    ra, rb = f"{size_fit.r2:.2f}", f"{data_fit.r2:.2f}"
    c, d = f"{least:.1e}", f"{most:.1e}"
    shown = min(size_fit.exponent, data_fit.exponent) > 0
    return Answer(
        n,
        (
            f"From {p} to {q} parameters the loss on held-out digits goes from {lp} to {lq}, and "
            f"from {few} to {many} training images from {lf} to {lm}: the article's trend, larger "
            f"models on more data, {'shows' if shown else 'does not show'} its reason on a small "
            "scale.",
            f"The nearest power laws are loss ∝ parameters^{a} (R² {ra}) and loss ∝ images^{b} (R² "
            f"{rb}); computing grows as the product of both, from {c} to {d} operations for one "
            "pass over the data"
            + (", so by such a law each halving of the loss costs a multiple." if shown else "."),
            f"This is one easy data set, {tests} held-out images by which the best moment of each "
            f"run was chosen, and no more than {len(sizes)} and {len(samples)} points: it is "
            "an example, and no evidence of where the trend of real large models leads.",
        ),
        (
            f"参数从 {p} 个增加到 {q} 个，留出数据上的损失从 {lp} 变为 {lq}；训练图片从 {few} "
            f"张增加到 {many} 张，损失从 {lf} 变为 {lm}：文章所说的趋势（更大的模型、更多的数据）"
            f"在小规模上{'也能' if shown else '并未'}看出其道理。",
            f"用幂律拟合：损失 ∝ 参数量^{a}（R² {ra}），损失 ∝ 图片数^{b}（R² {rb}）；"
            f"计算量按两者的乘积增长，遍历一遍数据从 {c} 次运算增加到 {d} 次"
            + ("，按这样的规律，损失每减半，代价都要成倍增加。" if shown else "。"),
            f"这只是一个容易的数据集、{tests} 张留出的图片（每次训练的最佳时刻也由它们选出）、"
            f"{len(sizes)} 个和 {len(samples)} 个点："
            "它只是一个例子，不能证明真正的大模型会走向何处。",
        ),
        _draw((sizes, by_size, size_fit), (samples, by_data, data_fit)),
    )


def _parameters(width: int) -> int:
    return sum(parameter.size for parameter in network(64, width, 10).parameters())


def _loss(data: Dataset, width: int, samples: int, seeds: int, steps: int) -> float:
    """The lowest mean loss on the held-out part that was met in training, averaged over seeds."""
    part, lowest = rows(data, samples), []
    for seed in range(seeds):
        model = network(64, width, 10, seed=seed)
        course = train(
            model, optim.Adam(model, 4e-3), part, steps=steps, look_every=steps // 40, seed=seed
        )
        lowest.append(min(course.loss))
    return float(np.mean(lowest))


def _fit(sizes: Sequence[int], losses: Sequence[float]) -> _Fit:
    x, y = np.log(sizes), np.log(losses)
    slope, start = np.polyfit(x, y, 1)
    left = y - (slope * x + start)
    return _Fit(float(-slope), math.exp(start), float(1 - left.var() / y.var()))


def _draw(*found: tuple[Sequence[int], Sequence[float], _Fit]) -> Any:
    figure = new_figure(9.0, 3.7)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, colour, name, (sizes, losses, fit) in zip(
        panels, (COLOURS[0], COLOURS[5]), ("parameters", "training images"), found
    ):
        axes.plot(sizes, losses, "o", color=colour)
        line = fit.factor * np.asarray(sizes, float) ** -fit.exponent
        axes.plot(
            sizes, line, "--", color="#666666",
            label=rf"$\propto {{}}$size$^{{-{fit.exponent:.2f}}}$, $R^2 = {fit.r2:.2f}$",
        )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel=name)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    panels[0].set_ylabel("lowest loss on held-out digits")
    return figure
