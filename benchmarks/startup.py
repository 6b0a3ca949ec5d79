"""What ``import minigrad`` costs: every rank of every job pays it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import ROUNDS, Result, Times

__all__ = ["run"]

ROOT = Path(__file__).parent.parent
MODULES = ("minigrad", "numpy")


def run() -> Result:
    """Each import in a new process, in turn: the import alone, and the whole process."""
    alone: dict[str, list[float]] = {module: [] for module in MODULES}
    whole: dict[str, list[float]] = {module: [] for module in MODULES}
    for module in MODULES:
        _seconds(module)  # compiles, and brings the files into memory
    for _ in range(2 * ROUNDS):
        for module in MODULES:
            began = time.perf_counter()
            alone[module].append(_seconds(module))
            whole[module].append(time.perf_counter() - began)
    result = Result("import minigrad against import numpy, each in a new process")
    for what, times in (("the import", Times(alone)), ("the whole process", Times(whole))):
        result.rows += times.ratio("minigrad", "numpy", what, goal=1.5)
        result.microseconds.update(times.medians(what))
    return result


def _seconds(module: str) -> float:
    """How long the import takes inside a new process."""
    code = (
        "import time; began = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - began)"
    )
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled once
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(answer.stdout)
