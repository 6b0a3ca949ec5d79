"""D4 §6, question 5: training fails. What the first weights decide."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, network, right, threads, train
from minigrad.autograd import no_grad
from minigrad.data import Dataset, load
from minigrad.figure import new_figure
from minigrad.nn.init import INITIALISERS, Initialiser

__all__ = ["answer"]


def _normal(deviation: float) -> Initialiser:
    def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return (deviation * rng.standard_normal(shape)).astype(dtype)

    return draw


_WAYS: dict[str, Initialiser] = {
    "zeros": lambda rng, shape, dtype: np.zeros(shape, dtype),
    "too small": _normal(0.01),
    "too large": _normal(1.0),
    "Xavier": INITIALISERS["xavier_normal"],
    "He": INITIALISERS["he_normal"],
}
_ACTIVATIONS = {"ReLU": nn.ReLU, "tanh": nn.Tanh}


@threads(1)
def answer(quick: bool = False) -> Answer:
    """Five ways to draw the first weights of a deep network: what reaches each layer, and
    whether training succeeds."""
    data = load("digits", test_size=0.5, dtype="float64")
    depth, epochs, seeds = (12, 3, 1) if quick else (20, 8, 2)
    spreads: dict[tuple[str, str], np.ndarray] = {}
    reached: dict[tuple[str, str], float] = {}
    for kind in _ACTIVATIONS:
        for way in _WAYS:
            spreads[kind, way] = _spread(data, kind, way, depth)
            runs = [_accuracy(data, kind, way, depth, epochs, seed) for seed in range(seeds)]
            reached[kind, way] = float(np.mean(runs))
    told = [("ReLU", way) for way in _WAYS] + [("tanh", "Xavier"), ("tanh", "He")]
    n = {f"{kind} {way}": reached[kind, way] for kind, way in told}
    small, large, xavier, he = (
        float(spreads["ReLU", way][-1] / spreads["ReLU", way][0]) for way in list(_WAYS)[1:]
    )
    n |= {"small ratio": small, "large ratio": large, "Xavier ratio": xavier, "He ratio": he}
    made = max(reached["ReLU", "Xavier"], reached["ReLU", "He"])
    better = made > max(reached["ReLU", way] for way in ("zeros", "too small", "too large"))
    take_he = reached["ReLU", "He"] > reached["ReLU", "Xavier"]
    zero, tiny, huge, xa, hk = (f"{reached['ReLU', way]:.1%}" for way in _WAYS)
    tx, th = f"{reached['tanh', 'Xavier']:.1%}", f"{reached['tanh', 'He']:.1%}"
    sinks, grows, fades, keeps = f"{small:.1e}", f"{large:.1e}", f"{xavier:.1e}", f"{he:.2f}"
    chance = f"{1 / data.classes:.0%}"
    return Answer(
        n,
        (
            f"With ReLU, {depth} hidden layers and {epochs} epochs on digits, weights of zero "
            f"leave {zero} of the training images right and too small ones {tiny} (chance is "
            f"{chance}), too large ones {huge}, Xavier {xa} and He {hk}.",
            "The spread of the activations tells why: from the first hidden layer to the last it "
            f"is multiplied by {sinks} where weights are too small, by {grows} where they are too "
            f"large, by {fades} with Xavier, by {keeps} with He; zeros let nothing through, and no "
            "gradient returns.",
            f"The article's example, Xavier, is made for tanh, where it reaches {tx} (He {th}), "
            f"and its advice to initialise better is {borne_out(better)}; for ReLU, He, which "
            "makes up for the half that ReLU cuts off, is "
            + ("better." if take_he else "no better here."),
        ),
        (
            f"用 ReLU、{depth} 个隐藏层，在 digits 上训练 {epochs} 轮：权重全零时训练集准确率"
            f"为 {zero}，太小时为 {tiny}（随机猜测为 {chance}），太大时为 {huge}，Xavier 为 {xa}，"
            f"He 为 {hk}。",
            "从激活值的标准差可以看出原因：从第一个隐藏层到最后一个，权重太小时它变为原来的 "
            f"{sinks} 倍，太大时变为 {grows} 倍，用 Xavier 时变为 {fades} 倍，"
            f"用 He 时变为 {keeps} 倍；全零的权重让信号全部消失，梯度也就传不回来。",
            f"文章举的 Xavier 是为 tanh 设计的，用 tanh 时达到 {tx}（He 为 {th}），"
            f"“使用更好的初始化策略”的建议{borne_out(better, 'zh')}；用 ReLU 时，"
            f"补偿 ReLU 截掉的那一半的 He {'更好' if take_he else '在这里并不更好'}。",
        ),
        _draw(spreads, reached),
    )


def _spread(data: Dataset, kind: str, way: str, depth: int) -> np.ndarray:
    """The standard deviation of each hidden layer's activations, before training."""
    model = _model(kind, way, depth, seed=0)
    with no_grad(), nn.watch(model) as outputs:
        model(data.x_train)
    found = [float(y.data.std()) for _, m, y in outputs if isinstance(m, _ACTIVATIONS[kind])]
    return np.array(found)


def _accuracy(data: Dataset, kind: str, way: str, depth: int, epochs: int, seed: int) -> float:
    model = _model(kind, way, depth, seed)
    steps = epochs * -(-len(data.x_train) // 32)
    train(model, optim.Adam(model, 1e-3), data, steps=steps, look_every=steps, seed=seed)
    return right(model, data.x_train, data.y_train)[1]


def _model(kind: str, way: str, depth: int, seed: int) -> nn.Sequential:
    return network(
        64, *[64] * depth, 10, seed=seed, activation=_ACTIVATIONS[kind], init=_WAYS[way],
        dtype="float64",
    )  # fmt: skip


def _draw(spreads: dict[tuple[str, str], np.ndarray], reached: dict[tuple[str, str], float]) -> Any:
    figure = new_figure(10.0, 3.8)
    signal, success = figure.subplots(1, 2, width_ratios=(1.2, 1))
    colours = dict(zip(_WAYS, (COLOURS[7], COLOURS[4], COLOURS[5], COLOURS[1], COLOURS[2])))
    for way, marker in zip(_WAYS, "xv^so"):
        values = spreads["ReLU", way]
        layers = np.arange(1, len(values) + 1)
        shown = values > 1e-30
        if shown.any():
            signal.plot(
                layers[shown], values[shown], marker=marker, markersize=4, color=colours[way],
                label=way,
            )  # fmt: skip
    signal.set(
        yscale="log", xlabel="hidden layer", xticks=range(2, len(layers) + 1, 2),
        ylabel="standard deviation of activations", title="ReLU, before training (zeros: all 0)",
    )  # fmt: skip
    signal.legend(fontsize=9)
    signal.grid(alpha=0.3)
    place = np.arange(len(_WAYS))
    for offset, kind, alpha in ((-0.2, "ReLU", 1.0), (0.2, "tanh", 0.5)):
        success.bar(
            place + offset, [reached[kind, way] for way in _WAYS], 0.38, label=kind, alpha=alpha,
            color=[colours[way] for way in _WAYS], edgecolor="black",
        )  # fmt: skip
    success.axhline(0.1, color="#666666", linewidth=0.8, linestyle=":")
    success.set_xticks(place, _WAYS)
    success.set(ylim=(0, 1.05), ylabel="training accuracy", title="full colour: ReLU, pale: tanh")
    return figure
