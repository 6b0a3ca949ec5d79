"""What a layout of ranks costs: memory per rank, and the time of a step. Arithmetic alone.

Everything here is a prediction. Memory counts what the training must hold; time counts arithmetic
at a steady rate and messages by the alpha-beta model, α seconds a message and β a byte:

- memory and volume of ZeRO: Rajbhandari et al. 2020, "ZeRO", §5 and §7
- tensor parallelism: Shoeybi et al. 2019, "Megatron-LM", §3
- pipelines and layouts of all three: Narayanan et al. 2021, "Efficient Large-Scale Language Model
  Training on GPU Clusters Using Megatron-LM", §2 and §3
- the ring: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms"
- what a transformer keeps: Korthikanti et al. 2022, "Reducing Activation Recomputation", §4,
  where attention scores are computed again in backward
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from minigrad.errors import InputError, unknown

__all__ = [
    "NETWORKS", "PRECISIONS", "STATES", "Job", "Layout", "Memory", "Network", "Time",
    "in_flight", "memory", "ring_pass", "samples", "time",
]  # fmt: skip

STATES = {
    "sgd": 0, "momentum": 4, "rmsprop": 4, "adagrad": 4, "lion": 4, "adam": 8, "adamw": 8,
    "lamb": 8,
}  # fmt: skip
"""Bytes of state per parameter that an optimizer keeps, in float32."""

PRECISIONS = {"fp32": (4, 4, 0), "mixed": (2, 2, 4)}
"""Bytes per parameter: of the weight, of its gradient, and of its float32 master copy."""


@dataclass(frozen=True)
class Network:
    """A family of networks, made of equal layers of ``width`` h.

    A layer has ``squares`` · h² parameters; forward sums ``all_reduces`` · h numbers a token over a
    tensor group, and backward as many. For backward it keeps (``whole`` + ``split``) · h numbers a
    token, the second part divided among the group. A sample has ``tokens`` by default.
    """

    squares: int
    all_reduces: float
    whole: float
    split: float
    tokens: int


NETWORKS = {
    # a pair of Dense layers, by columns and by rows: one all-reduce, the middle divided
    "dense": Network(squares=1, all_reduces=0.5, whole=0.5, split=0.5, tokens=1),
    # 10 + 24 bytes at 2 bytes a number
    "transformer": Network(squares=12, all_reduces=2, whole=5, split=12, tokens=2048),
}


@dataclass(frozen=True)
class Job:
    """What is to be trained, and on what. Sizes in bytes, rates per second, times in seconds.

    ``tokens`` in a ``batch`` sample is 1 where a sample is one vector. ``activations``: bytes that
    forward keeps for one sample in the whole network; ``None``: estimated from its shape.
    ``micro_batches``: into how many parts each replica cuts its share of the batch; ``None``: as
    many as is fastest. ``bandwidth`` is that of a rank; within a node it is ``node_bandwidth``.
    ``flops`` · ``efficiency`` operations a second are what a rank really does.
    """

    parameters: float
    layers: int
    width: int
    tokens: int
    batch: int
    memory: float
    bandwidth: float
    node_bandwidth: float
    latency: float
    flops: float
    efficiency: float = 0.4
    ranks_per_node: int = 8
    network: str = "transformer"
    optimizer: str = "adam"
    precision: str = "mixed"
    activations: float | None = None
    micro_batches: int | None = None

    def __post_init__(self) -> None:
        for kind, choices in (("network", NETWORKS), ("optimizer", STATES)):
            if getattr(self, kind) not in choices:
                raise unknown(kind, getattr(self, kind), choices)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        for name in ("layers", "width", "tokens", "batch", "ranks_per_node", "micro_batches"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise InputError(f"{name.replace('_', ' ')} {given}: give a number of at least 1")
        if not 0 < self.efficiency <= 1:
            raise InputError(f"efficiency {self.efficiency}: a share of the peak, such as 0.4")
        if self.micro_batches is not None and self.micro_batches > self.batch:
            raise InputError(
                f"{self.micro_batches} micro-batches of a batch of {self.batch} samples: each "
                "needs a sample, so give fewer, or a larger batch"
            )

    @property
    def number_bytes(self) -> int:
        """Bytes of one number of the activations, which is that of a weight."""
        return PRECISIONS[self.precision][0]


@dataclass(frozen=True)
class Layout:
    """``data`` × ``pipeline`` × ``tensor`` ranks, of which tensor varies fastest; ``zero`` is the
    stage (0: replicas, 1: optimizer state divided, 2: gradients too)."""

    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    zero: int = 0
    micro_batches: int = 1

    @property
    def ranks(self) -> int:
        """How many ranks it takes."""
        return self.data * self.tensor * self.pipeline


@dataclass(frozen=True)
class Memory:
    """Bytes on the rank that holds most."""

    weights: float
    gradients: float
    state: float
    activations: float

    @property
    def total(self) -> float:
        """All together."""
        return self.weights + self.gradients + self.state + self.activations


@dataclass(frozen=True)
class Time:
    """Seconds of a step: arithmetic, messages of the three kinds, waiting in the pipeline
    (``bubble``), and how much of ``data`` goes on during backward (``hidden``), at best."""

    compute: float
    tensor: float
    pipeline: float
    bubble: float
    data: float
    hidden: float

    @property
    def without_overlap(self) -> float:
        """A step in which communication never goes on during arithmetic."""
        return self.compute + self.tensor + self.pipeline + self.bubble + self.data

    @property
    def total(self) -> float:
        """A step in which gradients are reduced during backward."""
        return self.without_overlap - self.hidden


def samples(job: Job, layout: Layout) -> int:
    """Samples in the largest micro-batch of the largest share of the batch."""
    return math.ceil(math.ceil(job.batch / layout.data) / layout.micro_batches)


def in_flight(layout: Layout) -> int:
    """Micro-batches whose activations the first stage holds at once (1F1B; Narayanan §2.2.1)."""
    return min(layout.micro_batches, layout.pipeline)


def memory(job: Job, layout: Layout) -> Memory:
    """What a rank must hold: parameters / (tensor · pipeline), with ZeRO's divisions by data.

    Left out are temporary arrays, buffers for messages and what libraries take for themselves.
    """
    weight, gradient, master = PRECISIONS[job.precision]
    n = job.parameters / (layout.tensor * layout.pipeline)
    state = (master + STATES[job.optimizer]) * n
    kept = _activations(job, layout.tensor) / layout.pipeline
    return Memory(
        weights=weight * n,
        gradients=gradient * n / (layout.data if layout.zero >= 2 else 1),
        state=state / (layout.data if layout.zero >= 1 else 1),
        activations=in_flight(layout) * samples(job, layout) * kept,
    )


def _activations(job: Job, tensor: int) -> float:
    """Bytes that one sample leaves in all layers of one of ``tensor`` ranks."""
    if job.activations is not None:
        return job.activations / tensor
    network = NETWORKS[job.network]
    numbers = (network.whole + network.split / tensor) * job.width * job.layers * job.tokens
    return numbers * job.number_bytes


def time(job: Job, layout: Layout) -> Time:
    """A step: 2 operations per parameter and token forward, 4 backward, and the messages.

    A pipeline of p stages and m micro-batches waits for (p−1)/(m+p−1) of the time. Gradients are
    reduced during the last backward pass; ZeRO 2, which has nowhere to keep them whole, reduces
    them in every micro-batch. Updated weights are gathered after it. The optimizer's update, input
    and output are taken to cost nothing, and small products to run as fast as large ones.
    """
    tokens = samples(job, layout) * job.tokens
    m, p = layout.micro_batches, layout.pipeline
    n = job.parameters / (layout.tensor * p)
    crossing = tokens * job.width * job.number_bytes

    compute = 6 * n * tokens / (job.flops * job.efficiency)
    beta = _beta(job, layout, layout.tensor)
    directions = 2 * NETWORKS[job.network].all_reduces * job.layers / p
    tensor = directions * 2 * ring_pass(layout.tensor, crossing, job.latency, beta)
    beta = _beta(job, layout, layout.tensor * p)
    pipeline = 2 * (job.latency + crossing * beta) if p > 1 else 0.0

    beta = _beta(job, layout, layout.ranks)
    weight, gradient, _ = PRECISIONS[job.precision]
    reduce = ring_pass(layout.data, gradient * n, job.latency, beta)
    gather = ring_pass(layout.data, weight * n, job.latency, beta)
    if layout.zero == 0:  # an all-reduce is both passes, and both are of gradients
        reduce, gather = 2 * reduce, 0.0
    times = m if layout.zero >= 2 else 1
    return Time(
        compute=m * compute,
        tensor=m * tensor,
        pipeline=m * pipeline,
        bubble=(p - 1) * (compute + tensor + pipeline),
        data=times * reduce + gather,
        hidden=times * min(reduce, compute * 4 / 6),
    )


def ring_pass(ranks: int, size: float, alpha: float, beta: float) -> float:
    """Seconds of a reduce-scatter, or an all-gather, of ``size`` bytes around a ring: each is half
    of an all-reduce, 2(p−1)α + 2(p−1)/p · size · β (Patarasuk and Yuan 2009)."""
    return (ranks - 1) * (alpha + size * beta / ranks)


def _beta(job: Job, layout: Layout, span: int) -> float:
    """Seconds a byte within a group that lies in ``span`` neighbouring ranks."""
    near = layout.ranks <= job.ranks_per_node or job.ranks_per_node % span == 0
    return 1 / (job.node_bandwidth if near else job.bandwidth)
