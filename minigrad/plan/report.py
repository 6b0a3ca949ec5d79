"""What ``minigrad plan`` prints: sentences first, then tables."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from minigrad.plan.costs import Job, Layout
from minigrad.plan.search import Option, alone
from minigrad.plan.units import amount, seconds, size

__all__ = ["text"]

_HEAD = (
    ("", "", "", "", "micro-", "memory", "of which", "", "without", "", "", "", ""),
    ("data", "tensor", "pipeline", "ZeRO", "batches", "a rank", "activations", "step", "overlap",
     "compute", "bubble", "messages", "fits"),
)  # fmt: skip
_LEGEND = """\
step: gradients are reduced during backward, as far as it lasts; without overlap: after it
compute, bubble (waiting in the pipeline), messages: shares of the step
ZeRO 1 divides the optimizer's state among the data ranks, ZeRO 2 the gradients too"""


def text(job: Job, ranks: int, found: Sequence[Option], fewest: Option | None, show: int) -> str:
    """The answer for ``found``, the options for ``ranks`` in order, and the ``fewest`` ranks that
    fit; the ``show`` fastest that fit are listed."""
    fitting = [option for option in found if option.fits]
    parts = [
        *map(_wrapped, _sentences(job, ranks, found, fewest)),
        "",
        *_assumed(job),
        "",
        "Data parallelism alone, then with as much tensor or pipeline as there can be:",
        *_table(alone(found)),
    ]
    if fitting:
        of = f"the fastest {min(show, len(fitting))} of " if len(fitting) > show else ""
        parts += ["", f"What fits, {of}{_counted(len(fitting), 'layout')}:"]
        parts += [
            line.removesuffix("  fits").removesuffix("   yes") for line in _table(fitting[:show])
        ]
    return "\n".join([*parts, "", _LEGEND])


def _sentences(job: Job, ranks: int, found: Sequence[Option], fewest: Option | None) -> list[str]:
    return [
        _answer(job, ranks, found, sum(option.fits for option in found)),
        _smallest(job, fewest),
        "All numbers are predictions by a cost model, not measurements: see what is assumed, and "
        "what 'minigrad plan --help' lets you set.",
    ]


def _answer(job: Job, ranks: int, found: Sequence[Option], fitting: int) -> str:
    best, room = found[0], size(job.memory)
    if not fitting:
        return (
            f"Nothing fits: {_counted(ranks, 'rank')} of {room} cannot train "
            f"{amount(job.parameters)} parameters; the layout that needs least, "
            f"{_named(best.layout)}, needs {size(best.memory.total)} a rank."
        )
    return (
        f"{fitting} of {_counted(len(found), 'layout')} of {_counted(ranks, 'rank')} "
        f"fit{'s' * (fitting == 1)} in {room} a rank. The fastest is {_named(best.layout)}: "
        f"{seconds(best.time.total)} a step, {size(best.memory.total)} a rank."
    )


def _smallest(job: Job, fewest: Option | None) -> str:
    if fewest is None:
        return (
            f"No number of ranks would do: divided as far as its width ({job.width:,}), its layers "
            f"({job.layers}), the ranks per node ({job.ranks_per_node}) and the batch "
            f"({job.batch:,}) allow, a rank's part is still larger than {size(job.memory)}."
        )
    count = fewest.layout.ranks
    return (
        f"The smallest number of ranks that fits at all is {count:,}: {_named(fewest.layout)}, "
        f"{seconds(fewest.time.total)} a step, {size(fewest.memory.total)} a rank."
    )


def _assumed(job: Job) -> list[str]:
    kept = "estimated" if job.activations is None else f"{size(job.activations)} a sample"
    same = job.node_bandwidth == job.bandwidth
    near = "the same" if same else f"{size(job.node_bandwidth)}/s"
    return [
        f"model     {amount(job.parameters)} parameters: {job.network}, "
        f"{_counted(job.layers, 'layer')} of width {job.width:,}; activations {kept}",
        f"training  {job.optimizer}, {job.precision}; {_counted(job.batch, 'sample')} a step, "
        f"{_counted(job.tokens, 'token')} each",
        f"a rank    {size(job.memory)}; {amount(job.flops)} operations a second at its peak, of "
        f"which {100 * job.efficiency:.3g}% are reached",
        f"network   {size(job.bandwidth)}/s a rank, {near} within a node of "
        f"{_counted(job.ranks_per_node, 'rank')}; {seconds(job.latency)} a message",
    ]


def _table(chosen: Sequence[Option]) -> list[str]:
    rows = [*_HEAD, *(_row(option) for option in chosen)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(option: Option) -> tuple[str, ...]:
    layout, time = option.layout, option.time
    messages = time.tensor + time.pipeline + time.data - time.hidden
    return (
        *(f"{n:,}" for n in (layout.data, layout.tensor, layout.pipeline)),
        str(layout.zero),
        f"{layout.micro_batches:,}",
        size(option.memory.total, pad=True),
        size(option.memory.activations, pad=True),
        seconds(time.total, pad=True),
        seconds(time.without_overlap, pad=True),
        *(f"{100 * part / time.total:.0f}%" for part in (time.compute, time.bubble, messages)),
        "yes" if option.fits else "no",
    )


def _named(layout: Layout) -> str:
    parts = [f"{kind} {n:,}" for kind in ("data", "tensor", "pipeline")
             if (n := getattr(layout, kind)) > 1]  # fmt: skip
    name = " × ".join(parts) or "one rank"
    zero = f" with ZeRO {layout.zero}" if layout.zero else ""
    return f"{name}{zero}, {_counted(layout.micro_batches, 'micro-batch', 'es')}"


def _counted(n: int, what: str, plural: str = "s") -> str:
    return f"{n:,} {what}{plural * (n != 1)}"


def _wrapped(sentence: str) -> str:
    return textwrap.fill(sentence, 100, break_on_hyphens=False)
