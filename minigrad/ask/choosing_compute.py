"""D0 §6: the time of a step by model size, threads and ranks, and what a cost model foretells."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from minigrad import optim, plan
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, network, threads, train
from minigrad.ask.ranks import Kind, on_ranks
from minigrad.data import load
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.figure import new_figure

__all__ = ["answer", "on_rank"]

_BATCH = 256
_Found = dict[str, float]
"""Milliseconds of a step by width, and what else a rank found."""


def answer(quick: bool = False) -> Answer:
    """Steps of networks of several widths on one thread, two threads and two ranks, against the
    predictions of ``minigrad plan`` from one width's speed and the ranks' bandwidth."""
    widths = [32, 256] if quick else [64, 256, 512, 1024]
    one = on_rank(SerialCommunicator(), widths, 1, quick)
    two = on_rank(SerialCommunicator(), widths, 2, quick)
    ranks, kind = on_ranks(2, on_rank, widths, 1, quick, threads=quick)
    jobs = {width: _job(width, one[f"{widths[-1]}"], widths[-1], ranks["rate"]) for width in widths}
    told = {
        count: [1e3 * plan.time(job, plan.Layout(data=count)).total for job in jobs.values()]
        for count in (1, 2)
    }
    last = jobs[widths[-1]]
    held = plan.memory(last, plan.Layout())
    measured = {
        "one thread": [one[str(width)] for width in widths],
        "two threads": [two[str(width)] for width in widths],
        "two ranks": [ranks[str(width)] for width in widths],
    }
    n = {
        "small ms": measured["one thread"][0], "large ms": measured["one thread"][-1],
        "small, threads": measured["two threads"][0], "large, threads": measured["two threads"][-1],
        "small, ranks": measured["two ranks"][0], "large, ranks": measured["two ranks"][-1],
        "told, small": told[1][0], "told, ranks": told[2][-1],
        "MB": one["MB"], "told MB": (held.weights + held.gradients + held.state) / 1e6,
    }  # fmt: skip
    return _tell(n, (widths[0], widths[-1]), kind, _draw(widths, measured, told))


def _tell(n: dict[str, float], widths: tuple[int, int], kind: Kind, figure: Any) -> Answer:
    s = {name: f"{value:.2f}" for name, value in n.items()}
    small = min(n["small, threads"], n["small, ranks"]) < 0.9 * n["small ms"]
    large = min(n["large, threads"], n["large, ranks"]) < 0.9 * n["large ms"]
    zh_kind = {"processes": "", "threads": "（以线程代替）"}[kind]
    a, b = (f"{width:,}" for width in widths)
    return Answer(
        numbers=n,
        en=(
            f"A step on {_BATCH} digits takes {s['small ms']} ms with layers of {a} units and "
            f"{s['large ms']} ms with {b}; on two threads {s['small, threads']} and "
            f"{s['large, threads']} ms, on two ranks ({kind}) {s['small, ranks']} and "
            f"{s['large, ranks']} ms.",
            f"The cost model of 'minigrad plan', told the speed at {b} units and the ranks' "
            f"bandwidth, foretells {s['told, ranks']} ms for two ranks there and "
            f"{s['told, small']} ms for {a} units on one, overhead left out; of memory "
            f"{s['told MB']} MB for weights, gradients and Adam's state, and {s['MB']} MB are "
            "held.",
            f"The article's advice, more resources for larger models, is {borne_out(large)} for "
            f"{b} units and {borne_out(small)} for {a}: check first that the model fits in memory, "
            "then add processors while the step still gets quicker.",
        ),
        zh=(
            f"对 {_BATCH} 张数字图片训练一步，每层 {a} 个单元需 {s['small ms']} 毫秒，{b} 个需 "
            f"{s['large ms']} 毫秒；两个线程时为 {s['small, threads']} 与 {s['large, threads']} "
            f"毫秒，两个进程{zh_kind}时为 {s['small, ranks']} 与 {s['large, ranks']} 毫秒。",
            f"把 {b} 个单元时的速度与进程间带宽告诉 'minigrad plan' 的成本模型，"
            f"它预测此时两个进程需 {s['told, ranks']} 毫秒，"
            f"{a} 个单元时单个进程需 {s['told, small']} 毫秒"
            f"（不计固定开销）；权重、梯度与 Adam 状态预计占内存 {s['told MB']} MB，"
            f"实际占用 {s['MB']} MB。",
            f"文章建议模型越大、用的计算资源越多，这在 {b} 个单元时{borne_out(large, 'zh')}，"
            f"在 {a} 个单元时{borne_out(small, 'zh')}：先确认内存放得下模型，"
            "再增加处理器，直到每步不再变快为止。",
        ),
        figure=figure,
    )


def _parameters(width: int) -> int:
    return 64 * width + width * width + 10 * width + 2 * width + 10


def _job(width: int, ms: float, at: int, rate: float) -> plan.Job:
    """A training of two layers of ``width``, by a processor that needs ``ms`` where it is ``at``
    and ranks that exchange ``rate`` bytes a second."""
    return plan.Job(
        parameters=_parameters(width), layers=2, width=width, tokens=1, batch=_BATCH,
        memory=8e9, bandwidth=rate, node_bandwidth=rate, latency=5e-6,
        flops=6 * _parameters(at) * _BATCH / (ms / 1e3), efficiency=1.0, network="dense",
        precision="fp32",
    )  # fmt: skip


def on_rank(comm: Communicator, widths: list[int], each: int, quick: bool) -> _Found:
    """Time steps of the ranks of ``comm``, of ``each`` threads, and their all-reduce."""
    data, found = load("digits"), {}
    with threads(each):
        for width in widths:
            model = network(64, width, width, 10)
            adam = optim.Adam(model, 1e-3)
            times = np.array([
                train(model, adam, data, steps=3, batch_size=_BATCH, comm=comm).seconds[-1] / 3
                for _ in range(2 if quick else 4)
            ])  # fmt: skip
            comm.all_reduce(times, "max")
            found[str(width)] = 1e3 * float(times.min())
            state = sum(array.nbytes for array in adam.state_like().values() if array.ndim)
            held = sum(arena.data.nbytes + arena.grad.nbytes for arena in adam.arenas)
    message, best = np.ones(2**18 if quick else 2**20, np.float32), np.inf
    for _ in range(5):
        comm.barrier()
        began = time.perf_counter()
        comm.all_reduce(message)
        best = min(best, time.perf_counter() - began)
    return found | {"MB": (held + state) / 1e6, "rate": message.nbytes / best}


def _draw(widths: list[int], measured: dict[str, list[float]], told: dict[int, list[float]]) -> Any:
    figure = new_figure(7.4, 4.6)
    axes = figure.subplots()
    for (name, values), colour, marker in zip(measured.items(), COLOURS, "osD"):
        axes.plot(widths, values, marker=marker, color=colour, label=name)
    for (count, values), colour in zip(told.items(), (COLOURS[0], COLOURS[2])):
        label = f"foretold, {count} rank{'s' * (count > 1)}"
        axes.plot(widths, values, "--", color=colour, alpha=0.7, label=label)
    axes.set(xlabel="width of the two hidden layers", ylabel="time of a step (ms)")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(widths, [f"{width:,}" for width in widths])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
