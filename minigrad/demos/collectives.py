"""A13 (D2 §2.5): which all-reduce is fastest depends on how long the buffer is.

A message of n bytes takes α + βn seconds, and adding n bytes γn (Thakur, Rabenseifner & Gropp
2005). Three rates, fitted to what is measured here, say for each algorithm and size how long it
takes: few messages win for short buffers, few bytes for long ones.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from minigrad.demos.common import library, seconds, table
from minigrad.distributed import Communicator
from minigrad.distributed.algorithms import (
    ALGORITHMS,
    Rates,
    WrittenOut,
    all_reduce,
    draw_costs,
    fastest,
    fit,
    predict,
)

__all__ = ["demo"]

_SIZES = {
    "1 KiB": 1 << 10, "8 KiB": 1 << 13, "64 KiB": 1 << 16, "512 KiB": 1 << 19, "4 MiB": 1 << 22,
}  # fmt: skip


def demo(comm: Communicator, folder: Path) -> None:
    """Measure on the ranks of ``comm``; pictures go to ``folder``."""
    own, ranks = library(comm), comm.size
    measured: dict[str, list[tuple[float, float]]] = {}
    for name in (own, *ALGORITHMS):
        by = comm if name == own else WrittenOut(comm, name)
        measured[name] = []
        for nbytes in _SIZES.values():
            buffer = np.zeros(nbytes // 4, np.float32)
            time = seconds(comm, partial(by.all_reduce, buffer), budget=0.05)
            measured[name].append((nbytes, time))
    if comm.rank:
        return
    rates = fit(
        [
            (all_reduce(name, ranks, int(nbytes) // 4), time)
            for name in ALGORITHMS
            for nbytes, time in measured[name]
        ]
    )
    predicted = {
        name: [(n, predict(all_reduce(name, ranks, n // 4), rates)) for n in _SIZES.values()]
        for name in ALGORITHMS
    }
    rows: list[tuple[object, ...]] = [("µs", *_SIZES)]
    rows += [(name, *(f"{1e6 * time:,.0f}" for _, time in line)) for name, line in measured.items()]
    print(table(*rows))
    print(_verdict(measured, rates, ranks))
    title = f"all-reduce of float32 on {ranks} ranks"
    draw_costs(measured, predicted, folder / "collectives.png", title)


def _verdict(measured: dict[str, list[tuple[float, float]]], rates: Rates, ranks: int) -> str:
    """The rates, and where the model would choose well."""
    lines = [
        f"\nfitted: α = {1e6 * rates.alpha:.3g} µs a message, β = {1e9 * rates.beta:.3g} ns a byte "
        f"sent, γ = {1e9 * rates.gamma:.3g} ns a byte added"
    ]
    for place, (size, nbytes) in enumerate(_SIZES.items()):
        best = min(ALGORITHMS, key=lambda name: measured[name][place][1])
        guess = fastest(ranks, nbytes // 4, rates)
        loss = measured[guess][place][1] / measured[best][place][1]
        lines.append(
            f"{size:>8}: {best} was the fastest; the model says {guess}"
            + (f", {loss:.2f} times that" if guess != best else "")
        )
    return "\n".join(lines)
