"""AdamW's ladder, each rung beside a copy; and what kernels/README.md shows of it.

``python -m benchmarks ladder`` measures, and :func:`publish` then draws the picture and fills in
the page, both from benchmarks/results/ladder.json: no number there is typed by hand.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pieces
from benchmarks.gpu import event_clock
from benchmarks.harness import ROUNDS, Result, Times, Work, agree, compare
from benchmarks.memcpy import memcpy
from benchmarks.roofline import (
    COPY,
    GPU_SIZE,
    IN_PLACE,
    SIZES,
    labels,
    microseconds,
    picture,
    place,
)
from benchmarks.rungs import BYTES, HYPER, RUNGS, Rung, State, formula, in_blocks, load, state
from minigrad.backend import aligned_zeros, device_count, module_for
from minigrad.distributed.host import core_count
from minigrad.kernels import kernel, source, switched_off
from minigrad.kernels.build import compiler, host_library
from minigrad.optim.executor import CHUNK

__all__ = ["PAGE", "PICTURE", "RECORD", "page", "publish", "run"]

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "kernels" / "README.md"
RECORD = ROOT / "benchmarks" / "results" / "ladder.json"
PICTURE = ROOT / "docs" / "images" / "adamw-roofline.png"
TITLE = "AdamW's ladder, float32: the time of each rung over that of moving 28 bytes a parameter"


def run() -> Result:
    """Each rung on one core; on two cores and on a GPU, those that can use them."""
    result = Result(TITLE)
    if busy := _busy():
        print(busy, file=sys.stderr, flush=True)
        result.notes.append(busy)
    missing = left_out()
    rungs = [rung for rung in RUNGS if not (rung.compiled and missing)]
    result.notes += [missing] if missing else []
    _agree(rungs)
    for n in SIZES:
        _add(result, place(n, "one core"), compare(_contestants(rungs, n, "core")))
        if not missing and "two cores" in labels(n):
            _on_two_cores(result, rungs, n)
    if device_count():
        cupy = module_for("cuda")
        works = _contestants(list(RUNGS), GPU_SIZE, "gpu", "cuda:0")
        times = compare(works, rounds=2 * ROUNDS, clock=event_clock(cupy))
        _add(result, place(GPU_SIZE, "GPU"), times)
    return result


def _busy() -> str:
    """A warning where other programs are at work; empty where the machine is quiet."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f"load average {load:.1f} at the start: other programs take part" if load > 1 else ""


def left_out() -> str:
    """Why there are no compiled kernels for the CPU; empty where there are."""
    if switched_off():
        return "MINIGRAD_CPU_KERNELS=0: the compiled rungs were left out"
    if compiler() is None or kernel("adam", like=np.empty(0, np.float32)) is None:
        return "there is no C++ compiler that works: the compiled rungs were left out"
    return ""


def _agree(rungs: list[Rung]) -> None:
    for what in dict.fromkeys(rung.computes for rung in rungs):
        some = [rung for rung in rungs if rung.computes == what]
        states = [state(1000) for _ in some]
        works = [rung.make(s, HYPER) for rung, s in zip(some, states)]
        agree({rung.name: _first_of(s, work) for rung, s, work in zip(some, states, works)})


def _first_of(s: State, work: Work) -> Work:
    def step() -> Any:
        work()
        return s.theta[0]

    return step


def _contestants(rungs: list[Rung], n: int, on: str, device: str = "cpu") -> dict[str, Work]:
    """What runs there; a state serves all of them, but for the one that makes new arrays."""
    shared, own = state(n, device), state(n, device)
    works = {
        rung.name: rung.make(own if rung.make is formula else shared, HYPER)
        for rung in rungs
        if on in rung.on and (rung.make is not in_blocks or n > CHUNK)
    }
    if any(rung.compiled for rung in rungs):
        x = aligned_zeros(module_for(device), n * BYTES // 8, np.float32)
        x[...] = 1
        works[IN_PLACE] = load("scale_by", x).bind(x, 1.0)
    if on == "gpu":
        return {**works, COPY: pieces.copy(device, n * BYTES // 2).work}
    copy = memcpy(n * BYTES, threads=2 if on == "all" else 1)
    here, there = aligned_zeros(np, n * BYTES, np.uint8).reshape(2, -1)
    return {**works, COPY: copy or partial(np.copyto, there, here)}


def _on_two_cores(result: Result, rungs: list[Rung], n: int) -> None:
    library = host_library(source.find("adam"), "float32")
    if core_count() < 2 or not hasattr(library, "omp_set_num_threads"):
        result.notes.append(f"{n:,} parameters: there are no two cores here, or no OpenMP")
        return
    library.omp_set_num_threads(2)  # type: ignore[union-attr]
    try:
        times = compare(_contestants(rungs, n, "all"), rest=5e-3)
    finally:
        library.omp_set_num_threads(1)  # type: ignore[union-attr]
    _add(result, place(n, "two cores"), times)


def _add(result: Result, where: str, times: Times) -> None:
    for name in times.seconds:
        if name != COPY:
            result.rows += times.ratio(name, COPY, where)
    result.microseconds.update(times.medians(where))


def publish(record: Path) -> None:
    """Draw the picture and fill in the page from benchmarks/results/ladder.json; a ``record``
    elsewhere was only a trial."""
    if record.resolve() == RECORD:
        found = json.loads(record.read_text(encoding="utf-8"))
        picture(found, PICTURE)
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


def page(text: str, record: Mapping[str, Any] | None) -> str:
    """The page with its tables as the record has them; ``None``: nothing was measured."""
    parts = {"cpu": _cpu(record), "gpu": _gpu(record)}
    return re.sub(
        r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{parts[found[2]]}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


def _cpu(record: Mapping[str, Any] | None) -> str:
    lines = []
    for n, where in SIZES.items():
        lines += [f"{n:,} parameters, {16 * n / 1e6:.1f} MB: {where}.", ""]
        lines += [*_table(record, "core", n), ""]
    return "\n".join([*lines, _machine(record)]).strip()


def _gpu(record: Mapping[str, Any] | None) -> str:
    lines = [f"{GPU_SIZE:,} parameters.", "", *_table(record, "gpu", GPU_SIZE)]
    card = record["machine"].get("gpu") if record else None
    lines += ["", f"{card}, driver {record['machine']['driver']}."] if card and record else []
    return "\n".join(lines)


def _table(record: Mapping[str, Any] | None, on: str, n: int) -> list[str]:
    places = [place(n, label) for label in labels(n)]
    heads = [head for label in labels(n) for head in (f"{label}: µs", "of the copy rate")]
    lines = [
        f"| rung | passes | bytes | {' | '.join(heads)} |",
        "|---" + "|--:" * (2 + len(heads)) + "|",
    ]
    for rung in RUNGS:
        if on in rung.on:
            cells = [cell for where in places for cell in _cells(record, where, rung)]
            row = [f"{rung.number} {rung.name}", str(rung.passes), str(rung.bytes), *cells]
            lines.append(f"| {' | '.join(row)} |")
    for name in (IN_PLACE, COPY):
        cells = [cell for where in places for cell in _pair(record, where, name, BYTES)]
        lines.append(f"| {' | '.join([name, '1', str(BYTES), *cells])} |")
    return lines


def _cells(record: Mapping[str, Any] | None, where: str, rung: Rung) -> list[str]:
    if microseconds(record, where, COPY) is None:
        return ["not measured yet", ""]
    if rung.make is in_blocks and microseconds(record, where, rung.name) is None:
        return ["as rung 1" if "one core" in where else "", ""]
    return _pair(record, where, rung.name, rung.bytes)


def _pair(record: Mapping[str, Any] | None, where: str, name: str, moved: int) -> list[str]:
    """Time, and the share of the copy rate at which so many bytes a parameter move."""
    us = microseconds(record, where, name)
    if record is None or us is None:
        return ["", ""]
    ratios = {row["what"]: row["value"]["median"] for row in record["rows"]}
    share = moved / BYTES / ratios.get(f"{where}: {name} / {COPY}", 1.0)
    return [f"{us:,.0f}", f"{100 * share:.0f} %"]


def _machine(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return ""
    m = record["machine"]
    load = "" if m["load"] is None else f", load {m['load']:.1f}"
    return f"{m['cpu']}, {m['cores']} cores{load}; NumPy {m['numpy']}; {m['date']}, {m['commit']}."
