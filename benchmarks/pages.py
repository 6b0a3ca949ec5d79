"""The tables of measurements in README.md, README.zh-CN.md and docs/performance.md.

``python -m benchmarks report`` writes them anew from the JSON files in benchmarks/results, between
``<!-- measured: NAME -->`` and ``<!-- end -->``: no number there is typed by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["PAGES", "RESULTS", "filled", "publish", "records"]

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "docs" / "performance.md")

Records = Mapping[str, Mapping[str, Any]]
Line = tuple[str, str, tuple[str, ...]]
"""What a line says, the benchmark, and its rows that the line shows."""

_ADAMW = "AdamW, {} parameters, {}: minigrad / {}"
_CLIPPED = "AdamW with clipping, {} parameters, {}: minigrad / PyTorch clip_grad_norm_ + fused"
_SIZES = ("109,386", "6,000,000")
_DDP = "{} rows a rank: step / PyTorch DDP's (gloo)"
_SMALL, _LARGE = "784-128-64-10", "784-1024-1024-10"


def _both(form: str, *rest: str) -> tuple[str, ...]:
    return tuple(form.format(size, *rest) for size in _SIZES)


_FUSED = _both(_ADAMW, "one thread", "PyTorch fused")
_EAGER = ("batch 32: minigrad / PyTorch eager",)
_TWO = "{}, {}: throughput of two / of one"

SPEED: tuple[Line, ...] = (
    ("PyTorch's fused AdamW, 109,386 and 6,000,000 parameters", "optimizers", _FUSED),
    (
        "the same on two threads",
        "optimizers",
        _both(_ADAMW, "2 threads", "PyTorch fused"),
    ),
    (
        "its clipping by norm and fused AdamW, one thread",
        "optimizers",
        _both(_CLIPPED, "one thread"),
    ),
    ("the same on two threads", "optimizers", _both(_CLIPPED, "2 threads")),
    (
        "moving AdamW's 28 bytes a parameter by memcpy",
        "optimizers",
        _both(_ADAMW, "one thread", "memcpy"),
    ),
    ("the same on two threads", "optimizers", _both(_ADAMW, "2 threads", "memcpy")),
    ("PyTorch eager with fused Adam, training step 784-128-64-10, batch 32", "step", _EAGER),
    ("that step in JAX, compiled as a whole", "step", ("batch 32: minigrad / JAX jit",)),
    (
        "that step by hand in NumPy, every array made beforehand, batch 32, 128, 512",
        "step",
        tuple(f"batch {n}: minigrad / NumPy by hand" for n in (32, 128, 512)),
    ),
    (
        "PyTorch eager, 40 tiny ops forward and backward, factor constant, learned",
        "chain",
        tuple(f"{kind} factor: minigrad / PyTorch eager" for kind in ("constant", "learned")),
    ),
    (
        "PyTorch DDP (gloo), step on two ranks, 784-128-64-10, 32 rows a rank",
        "ranks",
        (_DDP.format(f"{_SMALL}, 32"),),
    ),
    ("the same, 784-1024-1024-10, 256 rows a rank", "ranks", (_DDP.format(f"{_LARGE}, 256"),)),
    (
        "MPICH's own all-reduce of 16 MiB, by the ring written out, Rabenseifner's",
        "collectives",
        ("16 MiB: ring / MPI", "16 MiB: rabenseifner / MPI"),
    ),
    ("`import numpy`, by `import minigrad`", "import", ("the import: minigrad / numpy",)),
    (
        "a step, by one in which all collectives are compared",
        "checks",
        ("check-collectives: checked / plain",),
    ),
)
SHORT: tuple[Line, ...] = (SPEED[0], SPEED[6], SPEED[10])
CHINESE: tuple[Line, ...] = (
    ("PyTorch 融合版 AdamW，109,386 与 6,000,000 个参数", *SHORT[0][1:]),
    ("PyTorch 即时模式加融合版 Adam，784-128-64-10 的一个训练步，批大小 32", *SHORT[1][1:]),
    ("PyTorch DDP（gloo），两个进程的一个训练步，784-128-64-10，每个进程 32 行", *SHORT[2][1:]),
)
THROUGHPUT: tuple[Line, ...] = tuple(
    (
        f"{network}, {rows} rows a rank: minigrad, PyTorch DDP (gloo)",
        "ranks",
        tuple(
            _TWO.format(who, f"{network}, {rows} rows a rank") for who in ("minigrad", "PyTorch")
        ),
    )
    for network, rows in ((_SMALL, 32), (_SMALL, 128), (_LARGE, 256))
)


def records(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """All results by the benchmark's name."""
    return {
        p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))
    }


def publish() -> None:
    """Write all pages' tables anew."""
    found = records()
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8"), found), encoding="utf-8")


def filled(text: str, found: Records) -> str:
    """A page's text with its tables as the results have them."""
    parts = {
        "speed": lambda: _table(SPEED, found, "minigrad against", "measured", "goal"),
        "short": lambda: _table(SHORT, found, "minigrad against", "measured", "goal"),
        "chinese": lambda: _table(CHINESE, found, "与之相比", "实测", "目标"),
        "throughput": lambda: _table(THROUGHPUT, found, "two ranks over one", "measured", "goal"),
        "bandwidth": lambda: _bandwidth(found),
    }
    return re.sub(
        r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)",
        lambda block: f"{block[1]}\n{parts[block[2]]()}\n\n{block[3]}",
        text,
        flags=re.DOTALL,
    )


def _table(lines: Iterable[Line], found: Records, *heads: str) -> str:
    rows: list[tuple[str, ...]] = []
    for what, name, wanted in lines:
        by_what = {row["what"]: row for row in found[name]["rows"]}
        shown = [by_what[each] for each in wanted]
        values = ", ".join(f"{row['value']['median']:.2f}" for row in shown)
        goals = [f"≤ {row['goal']:g}" if row["goal"] else "" for row in shown]
        goal = ", ".join(goals if len(set(goals)) > 1 else goals[:1])
        missed = [f"{row['value']['median']:.3g}" for row in shown if row["met"] is False]
        mark = {"目标": "未达到"}.get(heads[-1], "missed")
        rows.append((what, values, goal + (f", {mark}: {', '.join(missed)}" if missed else "")))
    if not any(row[-1] for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    return _markdown(heads, rows) + "\n\n" + _where({name for _, name, _ in lines}, found)


def _bandwidth(found: Records) -> str:
    """A row for each bandwidth, a column for each way to bring ranks together."""
    cells: dict[str, dict[str, str]] = {}
    for row in found["bandwidth"]["rows"]:
        rate, _, way = row["what"].partition(": ")
        cells.setdefault(rate, {})[way.removesuffix(" / flat")] = f"{row['value']['median']:.2f}"
    ways = list(next(iter(cells.values())))
    rows = [(rate, *(values[way] for way in ways)) for rate, values in cells.items()]
    return _markdown(("bandwidth", *ways), rows) + "\n\n" + _where({"bandwidth"}, found)


def _markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def _where(names: set[str], found: Records) -> str:
    """The machine and the days."""
    machines = [found[name]["machine"] for name in sorted(names)]
    days = sorted({machine["date"][:10] for machine in machines})
    where = {f"{machine['cpu']}, {machine['cores']} cores" for machine in machines}
    return f"{'; '.join(sorted(where))}; {' to '.join(dict.fromkeys((days[0], days[-1])))}."
