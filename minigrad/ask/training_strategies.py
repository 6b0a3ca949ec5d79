"""D3 §6, question 2: data, tensor and pipeline parallelism beside one process."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad import nn, ops, optim
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, network
from minigrad.autograd import Tensor, grad
from minigrad.backend import Array
from minigrad.data import Batch, DataLoader, Dataset, load
from minigrad.distributed import Communicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.layout import arrange
from minigrad.distributed.mesh import Mesh
from minigrad.distributed.threads import run_ranks
from minigrad.distributed.traced import Trace
from minigrad.figure import new_figure

__all__ = ["answer"]

_RANKS, _BATCH = 4, 64
_LAYOUTS = {
    "one process": (1, 1, 1),
    "data": (_RANKS, 1, 1),
    "tensor": (1, _RANKS, 1),
    "pipeline": (1, 1, _RANKS),
}  # replicas, parts of a layer, stages


class _Run(NamedTuple):
    weights: Array  # all, after the last step
    held: int  # parameters on the rank that holds most
    sent: float  # bytes a step from the rank that sends most
    losses: Array


def answer(quick: bool = False) -> Answer:
    """The same training on one process and on four ranks (threads) divided in three ways: the
    result, what a rank holds and what it sends; and what a random mini-batch's gradient is."""
    data = load("digits", dtype="float64")
    steps = 4 if quick else 40
    runs = {name: _train(data, sizes, steps) for name, sizes in _LAYOUTS.items()}
    alone = runs["one process"]
    divided = [name for name in _LAYOUTS if name != "one process"]
    n = {f"{name} held": float(run.held) for name, run in runs.items()}
    n |= {f"{name} sent": runs[name].sent / 1024 for name in divided}
    n["difference"] = max(float(np.abs(runs[k].weights - alone.weights).max()) for k in divided)
    n["loss before"], n["loss after"] = map(float, alone.losses[[0, -1]])
    n["mean gradient"], n["one gradient"] = _mini_batches(data)
    whole, copy, tensor, pipeline = (f"{n[f'{name} held']:,.0f}" for name in _LAYOUTS)
    ds, ts, ps = (f"{n[f'{name} sent']:.0f}" for name in divided)
    off, before, after = (
        f"{n['difference']:.0e}",
        *(f"{n[f'loss {w}']:.2f}" for w in ("before", "after")),
    )
    mean, one = f"{n['mean gradient']:.0e}", f"{n['one gradient']:.2f}"
    rows = _BATCH // _RANKS
    same = n["difference"] < 1e-9
    return Answer(
        n,
        (
            f"Data, tensor and pipeline parallelism on {_RANKS} ranks (threads here) "
            f"{'all' if same else 'do not all'} train what one process trains: after {steps} "
            f"steps (loss from {before} to {after}) the largest difference of a weight is {off}.",
            f"Of {whole} parameters a rank of data parallelism holds {copy}, of tensor "
            f"parallelism {tensor}, of a pipeline at most {pipeline}; a step with {_BATCH} images "
            f"makes it send {ds}, {ts} and {ps} KiB: the first divides the batch ({rows} images "
            "each), the others the model.",
            "So the article's sentence that distributed training splits the model is true of "
            "model parallelism only, data parallelism copies it; and SGD's gradient is not "
            f"replaced by a random one: single mini-batches are off by {one} of its norm, their "
            f"mean by {mean}.",
        ),
        (
            f"在 {_RANKS} 个进程（以线程代替）上，数据并行、张量并行和流水线并行的"
            f"训练结果{'都' if same else '并不都'}与单进程相同：{steps} 步之后"
            f"（损失从 {before} 变为 {after}），权重的最大差异为 {off}。",
            f"全部 {whole} 个参数中，每个进程在数据并行时持有 {copy} 个，张量并行时 {tensor} "
            f"个，流水线并行时最多 {pipeline} 个；用 {_BATCH} 张图片训练一步，分别要发送 "
            f"{ds}、{ts} 和 {ps} KiB：第一种切分批次（每个进程 {rows} 张图片），后两种切分模型。",
            "所以文章说分布式训练“将大模型拆分为多个子模型”，只对模型并行成立，数据并行是复制模型"
            f"；随机梯度下降也不是把梯度换成随机值：单个小批量的梯度与完整梯度相差其范数的 {one} "
            f"倍，它们的平均值相差 {mean} 倍。",
        ),
        _draw(runs),
    )


def _model() -> nn.Sequential:
    return network(64, 64, 64, 64, 10, dtype="float64")


def _cost(outputs: Tensor, part: Batch) -> Tensor:
    return ops.cross_entropy(outputs, part.y, reduction="sum")


def _train(data: Dataset, sizes: tuple[int, int, int], steps: int) -> _Run:
    ranks = int(np.prod(sizes))
    found = run_ranks(ranks, lambda comm: _on_rank(comm, data, sizes, steps))
    # a pipeline's last stage has the loss of all; replicas have each their share of it
    losses = sum(run.losses for run in found) / (sizes[1] * _BATCH)
    most = max(found, key=lambda run: run.held)
    return _Run(found[0].weights, most.held, max(run.sent for run in found), np.asarray(losses))


def _on_rank(comm: Communicator, data: Dataset, sizes: tuple[int, int, int], steps: int) -> _Run:
    replicas, tensor, stages = sizes
    trace = Trace(comm)
    mesh = Mesh(trace.wrap(comm), data=replicas, tensor=tensor, pipeline=stages)
    model = arrange(_model(), mesh)
    parallel = DataParallel(model, optim.SGD(model, 0.05, momentum=0.9), mesh)
    loader = DataLoader(
        data.x_train, data.y_train, batch_size=_BATCH, rank=mesh.data.rank, size=mesh.data.size
    )
    batches = [
        batch for epoch in range(3) for batch in loader.epoch(epoch) if batch.total == _BATCH
    ]
    losses = np.zeros(steps)
    first = len(trace.events)
    for step, batch in enumerate(batches[:steps]):

        def cost(outputs: Tensor, part: Batch, step: int = step) -> Tensor:
            loss = _cost(outputs, part)
            losses[step] += loss.item()
            return loss

        parallel.run(batch.split(_RANKS if stages > 1 else 1), cost, 1 / batch.total)
        parallel.step()
    calls = [event for event in trace.events[first:] if event.track == "communication"]
    sent = sum(_sends(event.name, event.facts["bytes"], comm.size) for event in calls) / steps
    held = sum(parameter.size for parameter in model.parameters())
    state = parallel.state_dict()
    names = _model().state_dict()
    return _Run(np.concatenate([state[f"model/{k}"].ravel() for k in names]), held, sent, losses)


def _sends(kind: str, nbytes: int, ranks: int) -> float:
    """The bytes that a rank sends in a call, where collectives go around a ring."""
    share = (ranks - 1) / ranks
    return {"send": 1.0, "all_reduce": 2 * share, "gather_into": share}.get(kind, 0.0) * nbytes


def _mini_batches(data: Dataset) -> tuple[float, float]:
    """Of the gradients of an epoch's mini-batches: how far their mean is from that of all the
    data, and how far a single one is, on average; both in parts of its norm."""
    model = _model()

    def gradient(x: Array, y: Array) -> Array:
        loss = ops.cross_entropy(model(x), y)
        return np.concatenate([g.data.ravel() for g in grad(loss, model.parameters())])

    n = len(data.x_train) // _BATCH * _BATCH
    x, y = data.x_train[:n], data.y_train[:n]
    full = gradient(x, y)
    single = np.array([gradient(b.x, b.y) for b in DataLoader(x, y, batch_size=_BATCH).epoch(0)])
    norm = np.linalg.norm(full)
    return (
        float(np.linalg.norm(single.mean(axis=0) - full) / norm),
        float(np.linalg.norm(single - full, axis=1).mean() / norm),
    )


def _draw(runs: dict[str, _Run]) -> Any:
    figure = new_figure(11.0, 3.6)
    held, sent, curves = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
    colours = (COLOURS[7], COLOURS[0], COLOURS[2], COLOURS[5])
    names = [name.replace(" ", "\n") for name in runs]
    for axes, values, label in (
        (held, [run.held for run in runs.values()], "parameters a rank holds (at most)"),
        (sent, [run.sent / 1024 for run in runs.values()], "KiB a rank sends in a step (at most)"),
    ):
        bars = axes.bar(names, values, color=colours)
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=9)
        axes.set_ylabel(label)
        axes.margins(y=0.12)
    sizes = (11, 8, 5, 2.5)
    for (name, run), colour, size in zip(runs.items(), colours, sizes):
        steps = np.arange(1, len(run.losses) + 1)
        curves.plot(steps, run.losses, "o", color=colour, markersize=size, label=name)
    curves.set(xlabel="step", ylabel="loss of the batch", title="one on top of another")
    curves.grid(alpha=0.3)
    curves.legend(fontsize=9)
    return figure
