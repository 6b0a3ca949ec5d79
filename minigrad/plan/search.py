"""Which layouts there are, which fit, which is fastest, and how few ranks would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minigrad.errors import InputError
from minigrad.plan.costs import Job, Layout, Memory, Time, memory, time

__all__ = ["Option", "alone", "divisors", "layouts", "options", "smallest"]


@dataclass(frozen=True)
class Option:
    """A layout with what it costs."""

    layout: Layout
    memory: Memory
    time: Time
    fits: bool


def options(job: Job, ranks: int) -> list[Option]:
    """All layouts of ``ranks`` ranks, each with its best number of micro-batches; what fits first,
    then by the time of a step, then by memory.

    The best number is the smallest within 1% of the fastest that fits, since larger products run
    better; or the one that needs least memory where none does.
    Raises :class:`InputError` where there is no layout at all.
    """
    found = [_best(job, layout) for layout in layouts(job, ranks)]
    if not found:
        most = _most_data(job) * max(tensor * pipeline for tensor, pipeline in _slices(job))
        near = next(n for n in range(min(ranks - 1, most), 0, -1) if any(layouts(job, n)))
        raise InputError(
            f"{ranks} ranks cannot be laid out: tensor must divide the ranks per node "
            f"({job.ranks_per_node}) and the width ({job.width}), pipeline the layers "
            f"({job.layers}), and each of the data ranks needs a sample for each micro-batch "
            f"(--batch {job.batch}); {near} ranks can, or give a larger --batch"
        )
    return sorted(found, key=_rank_of)


def layouts(job: Job, ranks: int) -> Iterator[Layout]:
    """Every data × tensor × pipeline × ZeRO stage of ``ranks`` ranks, one micro-batch.

    Tensor divides the width and the ranks per node, so that a group never leaves its node;
    pipeline divides the layers; data is at most the batch, over the micro-batches if given.
    """
    for tensor, pipeline in _slices(job):
        data, rest = divmod(ranks, tensor * pipeline)
        if rest or not 1 <= data <= _most_data(job):
            continue
        for zero in (0, 1, 2) if data > 1 else (0,):
            yield Layout(data, tensor, pipeline, zero)


def alone(found: Sequence[Option]) -> list[Option]:
    """Of ``found`` those with one kind of parallelism beside data, each divided as far as it
    goes: data with ZeRO 0, 1 and 2, tensor, pipeline."""
    plain = [o for o in found if o.layout.zero == 0]
    kinds = [
        *([o for o in found if o.layout.zero == stage and _model(o) == 1] for stage in (0, 1, 2)),
        [o for o in plain if o.layout.pipeline == 1 < o.layout.tensor],
        [o for o in plain if o.layout.tensor == 1 < o.layout.pipeline],
    ]
    return [max(kind, key=_model) for kind in kinds if kind]


def smallest(job: Job) -> Option | None:
    """The layout with the fewest ranks that fits, the fastest of those; ``None`` if none does.

    For a given tensor and pipeline no layout needs less memory than ZeRO 2, and its memory only
    shrinks with more data ranks: so the fewest of each are found by halving.
    """
    fewest = [
        data * tensor * pipeline
        for tensor, pipeline in _slices(job)
        if (data := _fewest_data(job, tensor, pipeline))
    ]
    return options(job, min(fewest))[0] if fewest else None


def divisors(n: int) -> list[int]:
    """The numbers that divide ``n``, in order."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def _slices(job: Job) -> list[tuple[int, int]]:
    """(tensor, pipeline): into how many parts the model can be cut."""
    tensors = [t for t in divisors(job.ranks_per_node) if job.width % t == 0]
    return [(t, p) for t in tensors for p in divisors(job.layers)]


def _most_data(job: Job) -> int:
    return job.batch // (job.micro_batches or 1)


def _fewest_data(job: Job, tensor: int, pipeline: int) -> int:
    """The smallest number of data ranks that fits; 0 if none does."""

    def fits(data: int) -> bool:
        layout = Layout(data, tensor, pipeline, 2)
        return any(memory(job, one).total <= job.memory for one in _cuts(job, layout))

    low, high = 1, _most_data(job)
    if high < 1 or not fits(high):
        return 0
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


def _cuts(job: Job, layout: Layout) -> Iterator[Layout]:
    """``layout`` with each number of micro-batches to try: powers of two, and single samples."""
    share = -(-job.batch // layout.data)  # the largest one
    powers = (1 << n for n in range(share.bit_length()))
    for m in [job.micro_batches] if job.micro_batches else sorted({*powers, share}):
        yield Layout(layout.data, layout.tensor, layout.pipeline, layout.zero, m)


def _best(job: Job, layout: Layout) -> Option:
    found = [_option(job, one) for one in _cuts(job, layout)]
    first = min(found, key=_rank_of)
    enough = 1.01 * first.time.total if first.fits else 0.0
    return next((o for o in found if o.fits and o.time.total <= enough), first)


def _option(job: Job, layout: Layout) -> Option:
    held = memory(job, layout)
    return Option(layout, held, time(job, layout), held.total <= job.memory)


def _rank_of(option: Option) -> tuple[bool, float, float]:
    first, then = option.time.total, option.memory.total
    return (False, first, then) if option.fits else (True, then, first)


def _model(option: Option) -> int:
    return option.layout.tensor * option.layout.pipeline
