"""``minigrad doctor``: what is installed, whether it fits together, and what to do if not.

A missing part is no error, since all but NumPy is optional; parts that contradict each other are.
"""

from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Literal

import numpy as np

import minigrad
from minigrad.backend import device_count, module_for, nccl_library
from minigrad.distributed.host import core_count
from minigrad.distributed.staging import cuda_aware
from minigrad.errors import InputError, MissingExtra
from minigrad.kernels import report
from minigrad.launch import (
    Parser,
    family,
    job,
    launcher_at,
    library_version,
    outside_mpi,
    short_name,
)

__all__ = [
    "Check",
    "check_extras",
    "check_gpu",
    "check_gpu_arrays",
    "check_kernels",
    "check_launchers",
    "check_mpi",
    "check_numpy",
    "check_python",
    "check_ranks",
    "check_threads",
    "diagnose",
    "main",
]

_EXTRAS = {
    "matplotlib": ("viz", "pictures"),
    "scikit-learn": ("data", "the data sets"),
    "safetensors": ("checkpoint", "checkpoints"),
    "pygraphviz": ("explain", "pictures and pages of explanations"),
    "latex2mathml": ("explain", "formulas on pages of explanations"),
    "tqdm": ("demo", "progress bars"),
}
_PROBE = """
import sys
from mpi4py import MPI
sys.stdout.write(f"ranks {MPI.COMM_WORLD.Get_size()}\\n")
"""


@dataclass(frozen=True)
class Check:
    """One line of the report; ``advice`` says what to do where ``state`` is not "ok"."""

    name: str
    state: Literal["ok", "missing", "wrong"]
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state:8}{self.name:13}{self.text}" + f"; {self.advice}" * bool(self.advice)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; 1 if something installed contradicts something else, otherwise 0."""
    Parser(
        prog="minigrad doctor",
        description="Say what is installed, whether it fits together, and what to do if not.",
    ).parse_args(argv)
    wrong = 0
    for check in diagnose():
        print(check, flush=True)
        wrong += check.state == "wrong"
    if wrong:
        print(f"{wrong} of these contradict{'s' * (wrong == 1)} the rest: see what to do there")
    return int(wrong > 0)


def diagnose() -> Iterator[Check]:
    """The whole report, line by line as it is found out."""
    for check in _CHECKS:
        yield from check()


def check_python() -> list[Check]:
    """Python and minigrad itself."""
    text = f"{platform.python_version()} ({sys.executable}), minigrad {minigrad.__version__}"
    return [Check("Python", "ok", text)]


def check_numpy() -> list[Check]:
    """NumPy and the BLAS it multiplies matrices with."""
    settings = np.show_config(mode="dicts") or {}
    blas = settings.get("Build Dependencies", {}).get("blas", {})
    text = f"{np.__version__} with BLAS {blas.get('name', '?')} {blas.get('version', '')}".rstrip()
    if find_spec("threadpoolctl"):
        pools = import_module("threadpoolctl").threadpool_info()
        text += "".join(
            f", {pool['num_threads']} threads" for pool in pools if pool["user_api"] == "blas"
        )
    return [Check("NumPy", "ok", text)]


def check_threads() -> list[Check]:
    """Cores, and what a person has set about threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    given = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    text = f"{core_count()} of {os.cpu_count()} usable; {', '.join(given) or 'no thread variables'}"
    return [Check("cores", "ok", text)]


def check_mpi() -> list[Check]:
    """mpi4py with its library, the launchers on PATH, and two ranks really started."""
    try:
        library = library_version()
    except MissingExtra as error:
        installed = find_spec("mpi4py") is not None
        return [Check("MPI", "wrong" if installed else "missing", "no MPI library", str(error))]
    version = metadata.version("mpi4py")
    found = [Check("MPI", "ok", f"mpi4py {version} with {short_name(library)}")]
    return found + check_launchers(family(library)) + check_ranks()


def check_launchers(wanted: str) -> list[Check]:
    """Whether the ``mpiexec`` and ``mpirun`` that a shell finds are of the family ``wanted``."""
    results = []
    for name in ("mpiexec", "mpirun"):
        path = shutil.which(name)
        if path is None:
            continue
        found = launcher_at(path).family
        if found == wanted:
            results.append(Check(name, "ok", f"{path} ({found})"))
        else:
            text = f"{path} is of {found or 'an unknown MPI'}, mpi4py of {wanted or 'another'}"
            advice = (
                "every process would be rank 0: use 'minigrad launch -n N …', or put the folder of "
                f"the fitting {name} first on PATH"
            )
            results.append(Check(name, "wrong", text, advice))
    if not results:
        advice = "use 'minigrad launch -n N …', or activate the environment that has one"
        results.append(Check("mpiexec", "missing", "none on PATH", advice))
    return results


def check_ranks(timeout: float = 60) -> list[Check]:
    """Start two ranks as ``minigrad launch`` does, and ask each how many there are."""
    name = "two ranks"
    try:
        arguments, environ = job(2, ["-c", _PROBE], outside_mpi(os.environ))
    except MissingExtra as error:
        return [Check(name, "missing", "no launcher", str(error))]
    except InputError as error:
        return [Check(name, "wrong", "no launcher that fits", str(error))]
    path = arguments[0]
    by_hand = f"run by hand and read what it says: {path} -n 2 hostname"
    try:
        answer = subprocess.run(
            arguments, env=environ, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return [Check(name, "wrong", f"{path} hung for {timeout:g} s", by_hand)]
    except OSError as error:
        return [Check(name, "wrong", f"{path} cannot be run ({error})", by_hand)]
    sizes = re.findall(r"ranks (\d+)", answer.stdout)
    if sizes == ["2", "2"]:
        return [Check(name, "ok", f"{path} starts ranks that see each other")]
    if "1" in sizes:
        advice = (
            "it belongs to another MPI; in minigrad's folder run: python -m pip install -e '.[mpi]'"
        )
        return [Check(name, "wrong", f"{path} starts ranks that are alone", advice)]
    said = (answer.stderr.strip() or "nothing").splitlines()[0]
    text = f"{path} failed with exit code {answer.returncode} and said: {said}"
    return [Check(name, "wrong", text, by_hand)]


def check_gpu() -> list[Check]:
    """The driver, its devices, and whether CuPy is made for them."""
    smi = shutil.which("nvidia-smi")
    has_gpu = (
        bool(smi)
        and subprocess.run([smi or "", "-L"], capture_output=True, check=False).returncode == 0
    )
    packages = [name for name in ("cupy-cuda12x", "cupy-cuda13x", "cupy") if _version(name)]
    if not packages:
        advice = (
            "in minigrad's folder run: python -m pip install -e '.[cuda13]' (a driver that knows "
            "CUDA 13) or '.[cuda12]'"
        )
        text = "a GPU, but no CuPy" if has_gpu else "no GPU and no CuPy: training runs on the CPU"
        return [Check("GPU", "missing", text, advice if has_gpu else "")]
    if len(packages) > 1:
        advice = f"python -m pip uninstall {' '.join(packages)}, then install one of them"
        return [Check("GPU", "wrong", f"{' and '.join(packages)} overwrite each other", advice)]
    text = f"{packages[0]} {_version(packages[0])}"
    try:
        devices = device_count()
        runtime = module_for("cuda").cuda.runtime
        built, driver = runtime.runtimeGetVersion() // 1000, runtime.driverGetVersion() // 1000
    except Exception as error:  # CuPy reports a broken installation in many ways
        reason = report.first_line(error)
        advice = "in minigrad's folder run: python -m pip install -e '.[cuda13]' or '.[cuda12]'"
        return [Check("GPU", "wrong", f"{text} cannot be used ({reason})", advice)]
    if 0 < driver < built:
        advice = f"in minigrad's folder run: python -m pip install -e '.[cuda{driver}]'"
        return [
            Check("GPU", "wrong", f"{text} needs CUDA {built}, the driver has {driver}", advice)
        ]
    if devices == 0:
        advice = "training runs on the CPU; for a GPU, install NVIDIA's driver"
        return [Check("GPU", "missing", f"{text}, but no usable device", advice)]
    names = [runtime.getDeviceProperties(index)["name"].decode() for index in range(devices)]
    return [Check("GPU", "ok", f"{text}, CUDA {built}: {', '.join(names)}")]


def check_gpu_arrays() -> list[Check]:
    """Which way arrays on GPUs go from rank to rank; no line where there is no GPU or no MPI."""
    name = "GPU arrays"
    try:
        if device_count() == 0 or find_spec("mpi4py") is None:
            return []
        library, aware = nccl_library(), cuda_aware()
    except InputError as error:
        return [Check(name, "wrong", "no way found", str(error))]
    except Exception:  # of a broken CuPy, which another line tells
        return []
    way = "as they are" if aware else "by way of the host, which this MPI needs"
    if library is None:
        advice = (
            "where each rank has a GPU, NCCL is faster: in minigrad's folder run "
            "python -m pip install -e '.[nccl13]' or '.[nccl12]'"
        )
        return [Check(name, "missing", f"no NCCL; through MPI {way}", advice)]
    major, rest = divmod(library.get_version(), 10000)
    version = f"{major}.{rest // 100}.{rest % 100}"
    text = f"NCCL {version} where each rank has a GPU of its own, else through MPI {way}"
    return [Check(name, "ok", text)]


def check_kernels() -> list[Check]:
    """Who does the kernels' work, on the CPU and on each GPU: by compiling every file of them."""
    findings = itertools.chain(report.texts(), report.on_cpu(), report.on_gpus())
    return [Check("kernels", state, text, advice) for state, text, advice in findings]


def check_extras() -> list[Check]:
    """The optional packages, and what each is for."""
    results = []
    for package, (extra, use) in _EXTRAS.items():
        version = _version(package)
        if version:
            results.append(Check(package, "ok", version))
        else:
            advice = f"for {use}, in minigrad's folder run: python -m pip install -e '.[{extra}]'"
            results.append(Check(package, "missing", "not installed", advice))
    return results


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


_CHECKS: tuple[Callable[[], list[Check]], ...] = (
    check_python,
    check_numpy,
    check_threads,
    check_mpi,
    check_gpu,
    check_gpu_arrays,
    check_kernels,
    check_extras,
)
