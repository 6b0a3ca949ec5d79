"""On what the numbers were taken: they hold there."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.backend import device_count, module_for
from minigrad.distributed.host import core_count

__all__ = ["describe"]

ROOT = Path(__file__).parent.parent


def describe() -> dict[str, Any]:
    """Processor, GPU, cores, load, versions, commit and date. ``None`` for what is not there."""
    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": core_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "torch": _version("torch"),
        "jax": _version("jax"),
        "mpi4py": _version("mpi4py"),
        **_gpu(),
        "threads": 1,
    }


def _cpu() -> str:
    """The processor's name; its family and model as well where that says little."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    name = fields.get("model name", platform.machine())
    numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _gpu() -> dict[str, Any]:
    """The first card, its driver, CUDA (of the runtime, and the newest that the driver knows), and
    CuPy; all ``None`` without a card."""
    names = ("gpu", "gpu_bytes", "driver", "cuda", "driver_cuda", "cupy")
    if device_count() == 0:
        return dict.fromkeys(names)
    cupy = module_for("cuda")
    runtime = cupy.cuda.runtime
    card = runtime.getDeviceProperties(0)
    cuda, newest = (
        f"{number // 1000}.{number % 1000 // 10}"
        for number in (runtime.runtimeGetVersion(), runtime.driverGetVersion())
    )
    found = (card["name"].decode(), card["totalGlobalMem"], _driver(), cuda, newest)
    return dict(zip(names, (*found, cupy.__version__), strict=True))


def _driver() -> str | None:
    """The version of NVIDIA's driver, which CUDA itself does not tell."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return None
    words = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    return answer.stdout.partition("\n")[0].strip() or None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit that was measured, with a mark if minigrad/ or kernels/ differ from it."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        changes = _git("status", "--porcelain", "--", "minigrad", "kernels")
        return head + " with changes" * bool(changes)
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
