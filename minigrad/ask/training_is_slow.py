"""D1 §6.1: what gets a training to 95% accuracy sooner: batch size, optimizer, ranks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, Course, borne_out, network, threads, train
from minigrad.ask.ranks import Kind, on_ranks
from minigrad.data import Dataset, load
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.figure import new_figure

__all__ = ["answer", "on_rank"]

_TARGET = 0.95
_Make = Callable[[nn.Module, float], optim.Optimizer]
_OPTIMIZERS: dict[str, tuple[_Make, float]] = {
    # what the rates that are tried are multiplied by
    "SGD": (optim.SGD, 1.0),
    "momentum": (partial(optim.SGD, momentum=0.9), 0.1),
    "RMSprop": (optim.RMSprop, 0.01),
    "Adam": (optim.Adam, 0.01),
}
_RATES = (0.1, 0.3, 1.0)
_BATCHES = (8, 32, 128, 512)
Found = tuple[float, float]
"""Steps, and milliseconds."""


def answer(quick: bool = False) -> Answer:
    """Steps and time to 95% of unseen digits, by optimizer, by batch size, and on two ranks."""
    data, seeds = load("digits"), 1 if quick else 3
    with threads(1):
        by_optimizer = {
            name: min(_median(data, make, scale * rate, 32, seeds) for rate in _RATES)
            for name, (make, scale) in _OPTIMIZERS.items()
            if name in ("SGD", "Adam") or not quick
        }
        by_batch = {
            size: _median(data, optim.Adam, 0.01, size, seeds)
            for size in _BATCHES[:: 3 if quick else 1]
        }
    width = 64 if quick else 512
    one = on_rank(SerialCommunicator(), width)
    two, kind = on_ranks(2, on_rank, width, threads=quick)
    n = {
        "SGD steps": by_optimizer["SGD"][0], "Adam steps": by_optimizer["Adam"][0],
        "SGD ms": by_optimizer["SGD"][1], "Adam ms": by_optimizer["Adam"][1],
        "small batch steps": by_batch[8][0], "large batch steps": by_batch[512][0],
        "small batch ms": by_batch[8][1], "large batch ms": by_batch[512][1],
        "steps of one rank": one["steps"], "steps of two ranks": two["steps"],
        "ms of one rank": one["ms"], "ms of two ranks": two["ms"],
    }  # fmt: skip
    return _tell(n, width, kind, _draw(by_optimizer, by_batch, (one, two)))


def _tell(n: dict[str, float], width: int, kind: Kind, figure: Any) -> Answer:
    s = {name: f"{value:,.{0 if 'steps' in name else 1}f}" for name, value in n.items()}
    sooner = n["Adam ms"] < n["SGD ms"]
    fewer = n["large batch steps"] < n["small batch steps"]
    quicker = n["large batch ms"] < n["small batch ms"]
    en_join, zh_join = ("and", "也") if fewer == quicker else ("but", "却")
    ranks = n["ms of two ranks"] < n["ms of one rank"]
    said = {"processes": "", "threads": "以线程代替，"}[kind]
    return Answer(
        numbers=n,
        en=(
            f"To {_TARGET:.0%} of unseen digits, each at the best of {len(_RATES)} rates, Adam "
            f"takes {s['Adam steps']} steps and {s['Adam ms']} ms, SGD {s['SGD steps']} steps and "
            f"{s['SGD ms']} ms: the article's advice is {borne_out(sooner)}.",
            f"With Adam, batches of 512 take {s['large batch steps']} steps and "
            f"{s['large batch ms']} ms, batches of 8 take {s['small batch steps']} steps and "
            f"{s['small batch ms']} ms: {'' if fewer else 'not '}fewer steps, {en_join} "
            f"{'' if quicker else 'not '}less time.",
            f"Two ranks ({kind} of a thread each) take {s['steps of two ranks']} steps as one does "
            f"{s['steps of one rank']} and {s['ms of two ranks']} ms instead of "
            f"{s['ms of one rank']} ms, with {width} hidden units and batches of 256: "
            + (
                "distributing pays here."
                if ranks
                else "the article's other advice does not pay here."
            ),
        ),
        zh=(
            f"要在未见过的数字上达到 {_TARGET:.0%} 的准确率，"
            f"各取 {len(_RATES)} 个学习率中最好的一个：Adam 需 {s['Adam steps']} 步、"
            f"{s['Adam ms']} 毫秒，SGD 需 {s['SGD steps']} 步、{s['SGD ms']} 毫秒，"
            f"文章的建议{borne_out(sooner, 'zh')}。",
            f"用 Adam 时，批大小 512 需 {s['large batch steps']} 步、{s['large batch ms']} 毫秒，"
            f"批大小 8 需 {s['small batch steps']} 步、{s['small batch ms']} 毫秒："
            f"步数{'' if fewer else '并不'}更少，时间{zh_join}{'' if quicker else '并不'}更短。",
            f"两个隐藏层各 {width} 个单元、批大小为 256 时，两个进程（{said}各用一个线程）需 "
            f"{s['steps of two ranks']} 步、{s['ms of two ranks']} 毫秒，单个进程需 "
            f"{s['steps of one rank']} 步、{s['ms of one rank']} 毫秒："
            + ("分布式训练在此划算。" if ranks else "文章的另一条建议在此并不划算。"),
        ),
        figure=figure,
    )


def _median(data: Dataset, make: _Make, rate: float, batch: int, seeds: int) -> Found:
    """Over several seeds."""
    found = []
    for seed in range(seeds):
        model = network(64, 64, 10, seed=seed)
        course = train(
            model, make(model, rate), data, steps=800, batch_size=batch, look_every=5,
            target=_TARGET, seed=seed,
        )  # fmt: skip
        found.append(_reached(course))
    return statistics.median(s for s, _ in found), statistics.median(ms for _, ms in found)


def _reached(course: Course) -> Found:
    steps, seconds = course.reached(_TARGET) or (math.inf, math.inf)
    return steps, 1e3 * seconds


def on_rank(comm: Communicator, width: int) -> dict[str, float]:
    """Each rank on one thread: two hidden layers of ``width``, batches of 256."""
    data, best = load("digits"), (math.inf, math.inf)
    with threads(1):
        for _ in range(3):
            model = network(64, width, width, 10)
            course = train(
                model, optim.Adam(model, 1e-3), data, steps=300, batch_size=256, look_every=5,
                target=_TARGET, comm=comm,
            )  # fmt: skip
            best = min(best, _reached(course))
    return {"steps": best[0], "ms": best[1]}


def _draw(
    by_optimizer: dict[str, Found], by_batch: dict[int, Found], ranks: tuple[dict[str, float], ...]
) -> Any:
    figure = new_figure(10.6, 5.6)
    grid = figure.subplots(2, 3, width_ratios=(4, 4, 2.4))
    columns: tuple[tuple[str, list[str], list[Found]], ...] = (
        ("optimizer (batch of 32)", list(by_optimizer), list(by_optimizer.values())),
        ("batch size (Adam)", [str(size) for size in by_batch], list(by_batch.values())),
        ("ranks (larger network)", ["1", "2"], [(r["steps"], r["ms"]) for r in ranks]),
    )
    for column, (title, names, found) in zip(grid.T, columns):
        for axes, values, colour, form in zip(column, zip(*found), COLOURS, ("{:.0f}", "{:.1f}")):
            bars = axes.bar(names, values, color=colour)
            axes.bar_label(bars, fmt=form, fontsize=9, padding=2)
            axes.tick_params(axis="x", labelsize=9)
            axes.margins(y=0.2)
            axes.grid(axis="y", alpha=0.3)
            axes.set_axisbelow(True)
        column[0].set_title(title)
    grid[0, 0].set_ylabel(f"steps to {_TARGET:.0%}")
    grid[1, 0].set_ylabel(f"milliseconds to {_TARGET:.0%}")
    return figure
