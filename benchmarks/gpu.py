"""Kernels on a GPU: against the card's own copy rate, against PyTorch, and a step as one graph.

Times are those between two CUDA events. A contestant works once untimed right before its turn, and
nothing waits for that: while the GPU is at it, the host is already ahead with what is timed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks import network, optimizers, pieces
from benchmarks.harness import (
    Clock,
    Result,
    Row,
    Times,
    Work,
    agree,
    compare,
    optional_torch,
    spread,
)
from benchmarks.pieces import Piece
from minigrad import Tensor, cuda_graph, ops, optim
from minigrad.backend import device_count, module_for
from minigrad.errors import InputError

__all__ = ["FULL", "Bench", "Sizes", "event_clock", "run"]

WARMUP = 3  # steps before a graph is captured
ROUNDS = 20


@dataclass(frozen=True)
class Sizes:
    """How large the pieces are."""

    copied: int  # bytes
    parameters: tuple[int, int]
    logits: tuple[int, int]
    table: tuple[int, int]  # of layer norm, dense and dropout
    batch: int


FULL = Sizes(
    copied=2**30, parameters=(10_000, 10_000), logits=(8192, 50257), table=(16384, 4096), batch=32
)


def run() -> Result:
    """All of it on the first GPU. Raises :class:`InputError` where there is none."""
    if device_count() == 0:
        raise InputError(
            "the benchmark 'gpu' needs CuPy and a CUDA device, and there is none here; "
            "'minigrad doctor' says what is missing"
        )
    cupy, torch = module_for("cuda"), optional_torch()
    if torch is not None and not torch.cuda.is_available():
        torch = None

    def release() -> None:
        cupy.get_default_memory_pool().free_all_blocks()
        if torch is not None:
            torch.cuda.empty_cache()

    bench = Bench("cuda:0", FULL, event_clock(cupy), torch, release=release)
    for part in (bench.optimizer, bench.cross_entropy, bench.others, bench.step):
        part()
        release()
    return bench.result


def event_clock(cupy: Any) -> Clock:
    """By two CUDA events around the work; PyTorch's default stream is CuPy's."""
    first, last = cupy.cuda.Event(), cupy.cuda.Event()

    def seconds(work: Work, repetitions: int) -> float:
        first.record()
        for _ in range(repetitions):
            work()
        last.record()
        last.synchronize()
        return float(cupy.cuda.get_elapsed_time(first, last)) * 1e-3

    return seconds


class Bench:
    """The comparisons on one device; the CPU does them too, for tests, but for the graphs."""

    def __init__(
        self,
        device: str,
        sizes: Sizes,
        clock: Clock,
        torch: Any = None,
        *,
        rounds: int = ROUNDS,
        budget: float = 3.0,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self.device, self.sizes, self.torch, self.release = device, sizes, torch, release
        self.compare = partial(compare, budget=budget, rounds=rounds, clock=clock)
        self.result = Result("kernels on a GPU, float32")
        self.copy = pieces.copy(device, sizes.copied)
        seconds = self.compare({"copy": self.copy.work}).seconds["copy"]
        rates = [self.copy.moved / s / 1e9 for s in seconds]
        what = f"{self.copy.what} on the device, read and written"
        self.result.rows.append(Row(what, spread(rates), "GB/s"))
        if torch is None:
            self.result.notes.append("PyTorch with CUDA is not installed: its part was left out")

    def optimizer(self) -> None:
        """AdamW; then with the gradient's norm, which reads the gradient once more."""
        theta = pieces.random(self.device, *self.sizes.parameters)
        g = pieces.random(self.device, *self.sizes.parameters, seed=1)
        parts = (
            ("AdamW", False, "PyTorch fused", 0.95, 0.92),
            ("norm, clip and AdamW", True, "PyTorch clip_grad_norm_ + fused", 0.75, None),
        )
        for what, clip, other, goal, least in parts:
            works = {"minigrad": optimizers.contestant("AdamW", theta, g, clip=clip)}
            if self.torch is not None:
                works[other] = optimizers.torch_adamw(self.torch, theta, g, clip=clip)
            what = f"{what}, {theta.size:,} parameters"
            moved = (optimizers.BYTES + 4 * clip) * theta.size
            times = self._shared(Piece(what, works.pop("minigrad"), moved), works, least)
            self.result.rows += times.ratio("minigrad", other, what, goal)
            self.release()

    def cross_entropy(self) -> None:
        """Softmax with cross-entropy over many classes, forward and backward."""
        piece, logits, labels = pieces.cross_entropy(self.device, *self.sizes.logits)
        others: dict[str, Work] = {}
        if self.torch is not None:
            others["PyTorch"] = _torch_cross_entropy(self.torch, logits, labels)
        times = self._shared(piece, others, 0.85)
        self.result.rows += times.ratio("minigrad", "PyTorch", piece.what)

    def others(self) -> None:
        """What has no goal, one after the other: each takes its memory when its turn comes."""
        rows, features = self.sizes.table
        makers: list[Callable[[], Piece]] = [
            partial(pieces.layer_norm, self.device, rows, features),
            partial(pieces.dense_activation, self.device, "relu", rows, features),
            partial(pieces.dense_activation, self.device, "gelu", rows, features),
            partial(pieces.dropout, self.device, rows, features),
            partial(pieces.to_half, self.device, rows * features),
            partial(pieces.to_float, self.device, rows * features),
        ]
        for make in makers:
            self._shared(make(), {}, None)
            self.release()

    def step(self, capture: Callable[..., Any] = cuda_graph) -> None:
        """The articles' training step, whose batches lie on the device: launched op by op, and
        captured as a graph, into whose arrays each batch is copied."""
        data = network.batches(self.sizes.batch)
        contestants = {
            "minigrad captured": captured_step(data, self.device, capture),
            "minigrad": uncaptured_step(data, self.device),
        }
        if self.torch is not None and self.device != "cpu":
            contestants["PyTorch captured"] = torch_captured_step(self.torch, data)
        agree(contestants, times=8)
        times = self.compare(contestants)
        what = f"training step 784-128-64-10, Adam, batch {self.sizes.batch}"
        for other, goal in (("minigrad", 0.2), ("PyTorch captured", 1.0)):
            self.result.rows += times.ratio("minigrad captured", other, what, goal)
        self.result.microseconds |= times.medians(what)

    def _shared(self, piece: Piece, others: dict[str, Work], goal: float | None) -> Times:
        """Times of minigrad's ``piece``, ``others`` that do the same, and the copy; the row with
        the share of the copy's rate."""
        contestants = {"minigrad": piece.work, **others}
        if others:
            agree(contestants)
        times = self.compare({**contestants, "copy": self.copy.work})
        copy = ("copy", self.copy.moved)
        self.result.rows.append(times.share("minigrad", piece.moved, copy, piece.what, goal))
        self.result.microseconds |= times.medians(piece.what)
        return times


def uncaptured_step(data: network.Batches, device: str) -> Work:
    """A step on the next batch, after as many on the first as a graph needs to warm up."""
    step = _minigrad(device)[0]
    there = _on(device, data)
    for _ in range(WARMUP):
        step(*there[0])
    supply = itertools.cycle(there)
    return lambda: step(*next(supply))


def captured_step(data: network.Batches, device: str, capture: Callable[..., Any]) -> Work:
    """The same, captured: each batch is copied to where the graph reads it."""
    step, optimizer = _minigrad(device)
    there = _on(device, data)
    x, labels = (Tensor(tensor.data.copy()) for tensor in there[0])
    replay = capture(lambda: step(x, labels), optimizer, warmup=WARMUP)
    supply = itertools.cycle(there)

    def work() -> Any:
        new_x, new_labels = next(supply)
        x.data[...], labels.data[...] = new_x.data, new_labels.data
        return replay()

    return work


def torch_captured_step(torch: Any, data: network.Batches) -> Work:
    """PyTorch's step captured as its manual shows, with batches copied in likewise."""
    model = network.torch_model(torch).cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=network.LR, fused=True, capturable=True)
    there = [tuple(torch.from_numpy(array).cuda() for array in batch) for batch in data]
    x, labels = (tensor.clone() for tensor in there[0])

    def step() -> Any:
        optimizer.zero_grad()  # to None: the graph's backward then writes and does not add
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARMUP):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    supply = itertools.cycle(there)

    def work() -> Any:
        new_x, new_labels = next(supply)
        x.copy_(new_x)
        labels.copy_(new_labels)
        graph.replay()
        return loss

    return work


def _minigrad(device: str) -> tuple[Callable[[Tensor, Tensor], Tensor], optim.Optimizer]:
    model = network.minigrad_model().to(device)
    optimizer = optim.Adam(model, network.LR)

    def step(x: Tensor, labels: Tensor) -> Tensor:
        loss = ops.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step(zero_grad=True)
        return loss

    return step, optimizer


def _on(device: str, data: network.Batches) -> list[tuple[Tensor, Tensor]]:
    return [
        (Tensor(x, device=device), Tensor(labels.astype(np.int64), device=device))
        for x, labels in data
    ]


def _torch_cross_entropy(torch: Any, logits: Any, labels: Any) -> Work:
    z, y = torch.from_dlpack(logits).requires_grad_(), torch.from_dlpack(labels)

    def work() -> Any:
        loss = torch.nn.functional.cross_entropy(z, y)
        torch.autograd.grad(loss, z)
        return loss.detach()

    return work
