"""D2 §8.2: several ranks train what one trains; what differs is who computes, and the time."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, network, threads, train
from minigrad.ask.ranks import on_ranks
from minigrad.data import load
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.figure import new_figure

__all__ = ["answer", "on_rank"]

_BATCH = 255


def answer(quick: bool = False) -> Answer:
    """One, two and four ranks on the same global batches: weights, accuracy and time."""
    width, steps = (32, 12) if quick else (512, 60)
    found = {1: on_rank(SerialCommunicator(), width, steps)}
    for ranks in (2, 4):
        found[ranks], kind = on_ranks(ranks, on_rank, width, steps, threads=quick)
    n = {
        "difference, 2 ranks": found[2]["difference"],
        "difference, 4 ranks": found[4]["difference"],
        "accuracy, 1 rank": found[1]["accuracy"], "accuracy, 4 ranks": found[4]["accuracy"],
        "ms, 1 rank": found[1]["ms"], "ms, 2 ranks": found[2]["ms"], "ms, 4 ranks": found[4]["ms"],
        "MB": found[2]["MB"],
    }  # fmt: skip
    same = max(n["difference, 2 ranks"], n["difference, 4 ranks"]) < 1e-12
    higher = n["accuracy, 4 ranks"] > n["accuracy, 1 rank"]
    faster = n["ms, 2 ranks"] < n["ms, 1 rank"]
    zh_kind = {"processes": "", "threads": "，以线程代替"}[kind]
    ms = [f"{found[ranks]['ms']:.1f}" for ranks in (1, 2, 4)]
    off = [f"{n[f'difference, {ranks} ranks']:.0e}" for ranks in (2, 4)]
    right = [f"{n['accuracy, 1 rank']:.1%}", f"{n['accuracy, 4 ranks']:.1%}"]
    return Answer(
        numbers=n,
        en=(
            f"Ranks ({kind}, here of one computer) share each batch of {_BATCH} and add up their "
            f"gradients: after {steps} steps 2 ranks' weights differ from one process's by at most "
            f"{off[0]}, 4 ranks' by {off[1]}, which is {'' if same else 'more than '}rounding.",
            f"A step takes {ms[0]} ms with 1 rank, {ms[1]} ms with 2 and {ms[2]} ms with 4, each "
            f"of one thread, and sums gradients of {n['MB']:.2f} MB: two ranks "
            + ("are faster." if faster else "are not faster here."),
            f"The article's higher accuracy is {borne_out(higher)} ({right[0]} with 1 rank, "
            f"{right[1]} with 4): distributing changes where the work is done, and "
            + ("not what comes of it." if same else "here also what comes of it."),
        ),
        zh=(
            f"各进程（此处都在同一台机器上{zh_kind}）分担每批 {_BATCH} 个样本，并把梯度相加："
            f"{steps} 步后，2 个进程的权重与单进程的最多相差 {off[0]}，"
            f"4 个进程的最多相差 {off[1]}，{'仅为' if same else '大于'}舍入误差。",
            f"每个进程用一个线程，1 个进程每步需 {ms[0]} 毫秒，2 个需 {ms[1]} 毫秒，"
            f"4 个需 {ms[2]} 毫秒，每步求和的梯度为 {n['MB']:.2f} MB：两个进程"
            + ("更快。" if faster else "在此并不更快。"),
            f"文章所说的准确率提高{borne_out(higher, 'zh')}（1 个进程为 {right[0]}，"
            f"4 个进程为 {right[1]}）：分布式计算改变的是在哪里算，"
            + ("而不是算出什么。" if same else "在此也改变了算出什么。"),
        ),
        figure=_draw([found[ranks] for ranks in (1, 2, 4)], steps),
    )


def on_rank(comm: Communicator, width: int, steps: int) -> dict[str, float]:
    """Train on all ranks of ``comm``, and on rank 0 alone, in float64; a thread each."""
    data = load("digits", dtype="float64")
    weights, times = [], np.zeros(2)
    with threads(1):
        for where in (comm, SerialCommunicator())[: 1 if comm.rank else 2]:
            model = network(64, width, 10, dtype="float64")
            optimizer = optim.SGD(model, 0.1, momentum=0.9)
            for half in range(2):
                course = train(
                    model, optimizer, data, steps=steps // 2, batch_size=_BATCH, comm=where,
                    look_every=steps, seed=half,
                )  # fmt: skip
                if where is comm:
                    times[half] = course.seconds[-1]
                    accuracy = course.accuracy[-1]
            weights.append(optimizer.arenas[0].data.copy())
            if where is comm:
                comm.all_reduce(times, "max")
    return {
        "ms": 1e3 * float(times.min()) / (steps // 2),
        "difference": float(np.abs(weights[0] - weights[-1]).max()),
        "accuracy": accuracy,
        "MB": weights[0].nbytes / 1e6,
    }


def _draw(found: list[dict[str, float]], steps: int) -> Any:
    figure = new_figure(9.0, 4.0)
    left, right = figure.subplots(1, 2)
    names = ["1 rank", "2 ranks", "4 ranks"]
    bars = left.bar(names, [one["ms"] for one in found], color=COLOURS[0])
    left.bar_label(bars, fmt="%.1f", padding=2)
    left.set(ylabel="time of a step (ms)")
    left.margins(y=0.15)
    off = [max(one["difference"], 1e-18) for one in found]
    right.plot(names, off, "o", color=COLOURS[5], markersize=9)
    right.axhline(2.0**-52, color=COLOURS[7], linestyle="--", label="float64: 1 plus this is not 1")
    right.set(
        ylabel=f"largest difference after {steps} steps", yscale="log", ylim=(1e-19, 1e-6),
    )  # fmt: skip
    right.set_yticks(
        [1e-18, 1e-15, 1e-12, 1e-9, 1e-6], ["none", *(f"$10^{{-{e}}}$" for e in (15, 12, 9, 6))]
    )
    right.minorticks_off()
    right.margins(x=0.2)
    right.legend()
    for axes in (left, right):
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    return figure
