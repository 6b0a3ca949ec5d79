"""D4 §6, question 2: the model is not accurate enough. A larger model, or better features?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minigrad import optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, network, right, threads, train
from minigrad.backend import Array
from minigrad.data import Dataset, load
from minigrad.figure import new_figure

__all__ = ["answer"]


class _Model(NamedTuple):
    hidden: tuple[int, ...]
    products: bool = False


_MODELS = {
    "linear": _Model(()),
    "wider": _Model((384,)),
    "deeper": _Model((64,) * 6),
    "linear, products": _Model((), products=True),
    "wider, products": _Model((256,), products=True),
}


class _Result(NamedTuple):
    parameters: int
    train: float
    test: float


@threads(1)
def answer(quick: bool = False) -> Answer:
    """A linear model on digits against a wider and a deeper one, and against better features."""
    data = load("digits", test_size=0.5)
    seeds, epochs = (1, 10) if quick else (3, 40)
    found = {name: _measure(data, model, seeds, epochs) for name, model in _MODELS.items()}
    n: dict[str, float] = {name: result.test for name, result in found.items()}
    n["standard error"] = math.sqrt(n["wider"] * (1 - n["wider"]) / len(data.y_test))
    n["linear parameters"] = found["linear"].parameters
    n["wider parameters"] = found["wider"].parameters
    n["linear, products parameters"] = found["linear, products"].parameters
    linear, wide, deep, product, both = (f"{n[name]:.1%}" for name in _MODELS)
    p, q, _, r, s = (f"{result.parameters:,}" for result in found.values())
    error = f"{n['standard error']:.1%}"
    width, narrower = (_MODELS[name].hidden[0] for name in ("wider", "wider, products"))
    best = max(_MODELS, key=lambda name: n[name])
    # of a difference of two such shares
    noise = 2 * math.sqrt(2) * n["standard error"]
    gain = n["deeper"] - n["wider"]
    more = n["wider"] > n["linear"] + noise
    depth = 0 if abs(gain) <= noise else 1 if gain > 0 else -1
    return Answer(
        n,
        (
            f"A linear model ({p} parameters) gets {linear} of {len(data.y_test)} unseen digits "
            f"right, one hidden layer of {width} features ({q} parameters) {wide}, six layers of "
            f"64 {deep}; the standard error is about {error}.",
            "Better features are another way: with the products of neighbouring pixels added, the "
            f"linear model ({r} parameters) reaches {product}, and a hidden layer of {narrower} "
            f"features ({s}) {both}; best of the five here is '{best}'.",
            f"So the article's advice, a more complex model, is {borne_out(more)} for one wide "
            "layer instead of none; six narrow ones are "
            + ("no different beyond chance from", "better than", "worse than")[depth]
            + " the wide one, and its example, the Transformer, is not built in minigrad and was "
            "not measured.",
        ),
        (
            f"线性模型（{p} 个参数）在 {len(data.y_test)} 张未见过的图片上的准确率为 {linear}，"
            f"含一个 {width} 维隐藏层的（{q} 个参数）为 {wide}，含六个 64 维隐藏层的为 {deep}；"
            f"标准误差约为 {error}。",
            f"另一个办法是更好的特征：加上相邻像素的乘积后，线性模型（{r} 个参数）达到 {product}，"
            f"含一个 {narrower} 维隐藏层的（{s} 个）达到 {both}；这五个模型中最好的是{_ZH[best]}。",
            "所以，文章“使用更复杂的模型结构”的建议，就用一个宽隐藏层代替线性模型而言，"
            f"{borne_out(more, 'zh')}；六个窄隐藏层与一个宽隐藏层相比"
            + ("，差别没有超出随机误差", "更好", "更差")[depth]
            + "；文章所举的 Transformer 在 minigrad 里尚未实现，没有测量。",
        ),
        _draw(found),
    )


_ZH = {
    "linear": "线性模型", "wider": "加宽的模型", "deeper": "加深的模型",
    "linear, products": "带乘积特征的线性模型", "wider, products": "带乘积特征的加宽模型",
}  # fmt: skip


def _measure(data: Dataset, kind: _Model, seeds: int, epochs: int) -> _Result:
    if kind.products:
        x_train, x_test = _with_products(data.x_train), _with_products(data.x_test)
        data = replace(data, x_train=x_train, x_test=x_test)
    steps = epochs * -(-len(data.x_train) // 32)
    results = []
    for seed in range(seeds):
        model = network(data.x_train.shape[1], *kind.hidden, 10, seed=seed)
        optimizer = optim.Adam(model, optim.Polynomial(5e-3, T=steps))
        course = train(model, optimizer, data, steps=steps, look_every=steps, seed=seed)
        results.append([right(model, data.x_train, data.y_train)[1], course.accuracy[-1]])
    train_accuracy, test_accuracy = np.mean(results, axis=0)
    count = sum(parameter.size for parameter in model.parameters())
    return _Result(count, float(train_accuracy), float(test_accuracy))


def _with_products(x: Array) -> Array:
    """The pixels (n, 64), and the products of those that touch, four directions: (n, 274)."""
    image = x.reshape(-1, 8, 8)
    pairs = (
        (image[:, :, 1:], image[:, :, :-1]),
        (image[:, 1:], image[:, :-1]),
        (image[:, 1:, 1:], image[:, :-1, :-1]),
        (image[:, 1:, :-1], image[:, :-1, 1:]),
    )
    return np.concatenate([x, *((one * other).reshape(len(x), -1) for one, other in pairs)], axis=1)


def _draw(found: dict[str, _Result]) -> Any:
    figure = new_figure(7.6, 3.8)
    axes = figure.subplots()
    place = np.arange(len(found))
    for offset, column, name, colour in (
        (-0.2, 1, "training images", COLOURS[4]),
        (0.2, 2, "unseen images", COLOURS[5]),
    ):
        wrong = [100 * (1 - result[column]) for result in found.values()]
        bars = axes.bar(place + offset, wrong, 0.38, color=colour, label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=9)
    names = [
        f"{name.replace(', ', chr(10) + '+ ')}\n{result.parameters:,}"
        for name, result in found.items()
    ]
    axes.set_xticks(place, names)
    axes.set(ylabel="wrong answers (%)", xlabel="model, and its parameters")
    axes.margins(y=0.12)
    axes.legend()
    axes.grid(alpha=0.3, axis="y")
    return figure
