"""Results as JSON, one file a benchmark, and as a table for people."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Row
from benchmarks.machine import describe

__all__ = ["table", "write"]


def table(result: Result) -> str:
    """The result as lines of text."""
    width = max((len(row.what) for row in result.rows), default=0)
    lines = [result.title]
    lines += [f"  {row.what:<{width}}  {_value(row)}{_verdict(row)}" for row in result.rows]
    lines += [f"  note: {note}" for note in result.notes]
    return "\n".join(lines)


def write(folder: Path, name: str, result: Result) -> None:
    """Write NAME.json, and anew the README.md that shows all results in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "name": name,
        "title": result.title,
        "machine": describe(),
        "rows": [{**dataclasses.asdict(row), "met": row.met} for row in result.rows],
        "microseconds": result.microseconds,
        "notes": result.notes,
    }
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    records = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
    ]
    (folder / "README.md").write_text(_markdown(records), encoding="utf-8")


def _markdown(records: list[dict[str, Any]]) -> str:
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks`; what is measured, and how, is in ../README.md.",
        "Medians, quartiles in brackets.",
        "",
        "| benchmark | what | measured | goal | met |",
        "|---|---|---|---|---|",
    ]
    for record in records:
        for row in record["rows"]:
            value = _numbers(row["value"], row["unit"])
            goal = _goal(row["goal"], row.get("at_least", False))
            met = {None: "", True: "yes", False: "**no**"}[row["met"]]
            lines.append(f"| {record['name']} | {row['what']} | {value} | {goal} | {met} |")
    lines += ["", "| benchmark | commit | date | machine |", "|---|---|---|---|"]
    for record in records:
        m = record["machine"]
        versions = ", ".join(
            f"{label} {m[key]}"
            for label, key in (
                ("Python", "python"), ("NumPy", "numpy"), ("BLAS", "blas"), ("PyTorch", "torch"),
                ("JAX", "jax"), ("mpi4py", "mpi4py"), ("CuPy", "cupy"), ("CUDA", "cuda"),
                ("driver", "driver"),
            )
            if m.get(key)
        )  # fmt: skip
        load = "" if m["load"] is None else f", load {m['load']:.1f}"
        gpu = f"{m['gpu']}, " if m.get("gpu") else ""
        machine = f"{gpu}{m['cpu']}, {m['cores']} cores{load}, {m['system']}; {versions}"
        lines.append(f"| {record['name']} | {m['commit'] or '?'} | {m['date']} | {machine} |")
    notes = [f"- {record['name']}: {note}" for record in records for note in record["notes"]]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _value(row: Row) -> str:
    return _numbers(dataclasses.asdict(row.value), row.unit)


def _numbers(value: dict[str, float], unit: str) -> str:
    form = ",.0f" if unit == "bytes" else ".4g"
    median, low, high = (f"{value[key]:{form}}" for key in ("median", "low", "high"))
    shown = f"{median} {unit}".rstrip()
    return shown + (f" ({low} to {high})" if low != high else "")


def _goal(goal: float | None, at_least: bool) -> str:
    return "" if goal is None else f"{'≥' if at_least else '≤'} {goal:g}"


def _verdict(row: Row) -> str:
    if row.goal is None:
        return ""
    return f"  goal {_goal(row.goal, row.at_least)}: {'met' if row.met else 'MISSED'}"
