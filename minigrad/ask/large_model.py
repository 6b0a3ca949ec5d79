"""D3 §6, question 1: what sets large models apart from ordinary ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad import optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, network, right, threads, train
from minigrad.data import Dataset, load
from minigrad.figure import new_figure

__all__ = ["answer"]


class _Row(NamedTuple):
    width: int
    parameters: int
    train_error: float
    test_error: float
    seconds: float  # a step


def answer(quick: bool = False) -> Answer:
    """Networks of growing width on digits: parameters, errors, and the time of a step."""
    data = load("digits", test_size=0.5)
    widths, seeds, epochs = ((2, 48), 1, 12) if quick else ((8, 16, 32, 64, 128, 256, 512), 2, 20)
    rows = [_measure(data, width, seeds, epochs) for width in widths]
    small, large = rows[0], rows[-1]
    n = {
        "small_parameters": small.parameters,
        "large_parameters": large.parameters,
        "times_parameters": large.parameters / small.parameters,
        "small_train_error": small.train_error,
        "small_test_error": small.test_error,
        "large_train_error": large.train_error,
        "large_test_error": large.test_error,
        "small_ms": 1e3 * small.seconds,
        "large_ms": 1e3 * large.seconds,
        "times_seconds": large.seconds / small.seconds,
        "large_gap": large.test_error - large.train_error,
    }
    p, q, times = (
        f"{n[k]:,.0f}" for k in ("small_parameters", "large_parameters", "times_parameters")
    )
    se, st, le, lt, gap = (
        f"{n[k]:.1%}"
        for k in (
            "small_train_error",
            "small_test_error",
            "large_train_error",
            "large_test_error",
            "large_gap",
        )
    )
    costs = n["times_seconds"] > 1
    errs = [large.train_error < small.train_error, large.test_error < small.test_error]
    train_, test = ("less" if less else "not less" for less in errs)
    zh_train, zh_test = ("更少" if less else "并不更少" for less in errs)
    a, b, slower = f"{n['small_ms']:.2f}", f"{n['large_ms']:.2f}", f"{n['times_seconds']:.1f}"
    return Answer(
        n,
        (
            f"They differ in size, as the article says: with the same {epochs} epochs on digits, "
            f"{p} parameters leave {se} of the training and {st} of the test images wrong, {q} "
            f"parameters {le} and {lt}.",
            f"That the price is computation is {borne_out(costs)}: a step of 32 images takes {b} "
            f"ms instead of {a} ms, {slower} times as long for {times} times the parameters (small "
            "layers do not occupy the whole of a processor).",
            f"The large one errs {train_} on training images and {test} on new ones (a gap of "
            f"{gap}): here size alone has {'not ' if errs[1] else ''}made "
            "over-fitting harmful, and more layers or parameters are a difference of degree, with "
            "no line where 'large' begins.",
        ),
        (
            f"正如文章所说，区别在于规模：同样在 digits 上训练 {epochs} 轮，{p} 个参数的网络"
            f"在训练集和测试集上的错误率为 {se} 和 {st}，{q} 个参数的网络为 {le} 和 {lt}。",
            f"代价是计算量，这一点{borne_out(costs, 'zh')}：一步（32 张图片）从 {a} 毫秒变为 "
            f"{b} 毫秒，参数增至 {times} 倍，时间增至 {slower} 倍（小的层用不满处理器）。",
            f"大模型在训练图片上的错误{zh_train}，在新图片上的错误{zh_test}（两者相差 {gap}）："
            f"在这里，单是变大{'并没有' if errs[1] else '就'}造成有害的过拟合；"
            "参数和层数的多少只是程度之别，并没有一条“大模型”的分界线。",
        ),
        _draw(rows),
    )


def _measure(data: Dataset, width: int, seeds: int, epochs: int) -> _Row:
    errors, steps = [], epochs * -(-len(data.x_train) // 32)
    fastest = np.inf
    for seed in range(seeds):
        model = network(64, width, width, 10, seed=seed)
        with threads(1):
            course = train(
                model, optim.Adam(model, 2e-3), data, steps=steps, look_every=steps, seed=seed
            )
        fastest = min(fastest, course.seconds[-1] / steps)
        parts = ((data.x_train, data.y_train), (data.x_test, data.y_test))
        errors.append([1 - right(model, *part)[1] for part in parts])
    train_error, test_error = np.mean(errors, axis=0)
    count = sum(parameter.size for parameter in model.parameters())
    return _Row(width, count, float(train_error), float(test_error), float(fastest))


def _draw(rows: list[_Row]) -> Any:
    figure = new_figure(9.0, 3.6)
    errors, times = figure.subplots(1, 2)
    size = [row.parameters for row in rows]
    for name, colour, style, values in (
        ("training", COLOURS[0], "o-", [100 * row.train_error for row in rows]),
        ("test", COLOURS[5], "s--", [100 * row.test_error for row in rows]),
    ):
        errors.plot(size, values, style, color=colour, label=name)
    errors.set(xscale="log", xlabel="parameters", ylabel="wrong answers (%)", ylim=(-2, None))
    errors.legend()
    times.plot(size, [1e3 * row.seconds for row in rows], "o-", color=COLOURS[2])
    times.set(xscale="log", xlabel="parameters", ylabel="one step of 32 images (ms)")
    times.set_ylim(bottom=0)
    for axes in (errors, times):
        axes.grid(alpha=0.3)
    return figure
