"""D2 §8.4: the same work on one thread, on the threads of one process, on ranks."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from minigrad import nn, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, threads
from minigrad.ask.ranks import on_ranks
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.distributed.host import core_count
from minigrad.figure import new_figure
from minigrad.shares import share

__all__ = ["answer", "on_rank"]

_WORK = {"product": "matrix product", "update": "Adam update"}


def answer(quick: bool = False) -> Answer:
    """A matrix product and an Adam update on one thread, two threads, two ranks."""
    size, count = (128, 2**16) if quick else (1024, 2**22)
    one = on_rank(SerialCommunicator(), size, count, 1)
    two = on_rank(SerialCommunicator(), size, count, 2)
    ranks, kind = on_ranks(2, on_rank, size, count, 1, threads=quick)
    n = {
        f"{work}, {how}": found[work]
        for work in _WORK
        for how, found in (("one", one), ("threads", two), ("ranks", ranks))
    }
    s = {name: f"{ms:.2f}" for name, ms in n.items()}
    gains = {work: one[work] / min(two[work], ranks[work]) for work in _WORK}
    n |= {f"gain, {work}": gain for work, gain in gains.items()}
    compiled = one["compiled"] > 0
    better = gains["product"] > 1.1
    zh_kind = {"processes": "", "threads": "（以线程代替）"}[kind]
    return Answer(
        numbers=n,
        en=(
            f"A product of two {size:,} × {size:,} matrices takes {s['product, one']} ms on one "
            f"thread, {s['product, threads']} ms on two threads of BLAS, and "
            f"{s['product, ranks']} ms on two ranks ({kind}) that take half of the rows each.",
            f"Adam's update of {count:,} parameters, "
            + ("a kernel with OpenMP" if compiled else "by NumPy, as no compiler was found")
            + f", takes {s['update, one']} ms on one thread, {s['update, threads']} ms with two "
            f"and {s['update, ranks']} ms on two ranks.",
            f"On {core_count()} cores the article is {borne_out(better)} where "
            f"arithmetic is the work, the product ({gains['product']:.2f} times as fast), and the "
            f"update, little arithmetic on much memory, becomes {gains['update']:.2f} times as "
            "fast; the thousands of threads of a GPU (CUDA) are not tried here.",
        ),
        zh=(
            f"两个 {size:,} × {size:,} 矩阵相乘，单线程需 {s['product, one']} 毫秒，"
            f"BLAS 双线程需 {s['product, threads']} 毫秒，两个进程{zh_kind}各算一半的行需 "
            f"{s['product, ranks']} 毫秒。",
            f"更新 {count:,} 个参数的一步 Adam"
            + ("（OpenMP 核函数）" if compiled else "（没有编译器，由 NumPy 计算）")
            + f"，单线程需 {s['update, one']} 毫秒，双线程需 {s['update, threads']} 毫秒，"
            f"两个进程需 {s['update, ranks']} 毫秒。",
            f"在 {core_count()} 个核心上，对以运算为主的矩阵乘法，文章的说法"
            f"{borne_out(better, 'zh')}（速度是单线程的 {gains['product']:.2f} 倍）；"
            f"参数更新运算少而访存多，速度是单线程的 {gains['update']:.2f} 倍；"
            "GPU 上成千上万的线程（CUDA）此处没有试验。",
        ),
        figure=_draw(one, two, ranks),
    )


def on_rank(comm: Communicator, size: int, count: int, each: int) -> dict[str, float]:
    """Milliseconds of the slowest rank, where each does its share on ``each`` threads."""
    start, stop = share(size, comm.rank, comm.size)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, size, size), np.float32)
    a, out = a[start:stop], np.empty((stop - start, size), np.float32)
    first, last = share(count, comm.rank, comm.size)
    theta = nn.Parameter(np.zeros(last - first, np.float32))
    adam = optim.Adam({"theta": theta}, 1e-3)
    adam.arenas[0].grad[:] = 1e-3
    adam.step()  # loads the kernel, whose threads are then known
    with threads(each):
        found = {
            "product": _slowest(comm, lambda: np.matmul(a, b, out=out)),
            "update": _slowest(comm, adam.step),
        }
    return found | {"compiled": float(adam.form == "compiled")}


def _slowest(comm: Communicator, work: Any, times: int = 9) -> float:
    """Milliseconds of the quickest of several calls, on the slowest rank."""
    found = np.zeros(times)
    for number in range(times):
        comm.barrier()
        began = time.perf_counter()
        work()
        found[number] = time.perf_counter() - began
    comm.all_reduce(found, "max")
    return 1e3 * float(found.min())


def _draw(*found: dict[str, float]) -> Any:
    figure = new_figure(8.4, 4.0)
    names = ["one thread", "two threads", "two ranks"]
    for axes, (work, title) in zip(figure.subplots(1, 2), _WORK.items()):
        bars = axes.bar(names, [one[work] for one in found], color=COLOURS[:3])
        labels = [f"{one[work]:.2f}\n({found[0][work] / one[work]:.2f} ×)" for one in found]
        axes.bar_label(bars, labels, padding=2)
        axes.set(title=title, ylabel="time (ms)")
        axes.margins(y=0.2)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    return figure
