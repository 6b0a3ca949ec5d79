"""Compiling kernels, by the host's C++ compiler or by NVRTC, into a cache that processes share."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from minigrad.backend import module_for
from minigrad.errors import InputError, require
from minigrad.kernels.cache import SEAL, CompileError, cached, digest, own_folder
from minigrad.kernels.source import Source

__all__ = [
    "compile_host", "compiler", "gpu_binary", "gpu_capability", "gpu_module", "gpu_options",
    "host_library", "library_file", "names_no_program",
]  # fmt: skip

REAL = {"float32": "float", "float64": "double"}
# NaN and infinity keep their meaning: no -ffast-math. No a·b + c in one rounding: compilers do that
# here and not there, and an element would have other bits at another place of an array
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-fno-math-errno",
    "-fno-trapping-math", "-ffp-contract=off", "-Wno-unknown-pragmas", "-x", "c++",
)  # fmt: skip
OLDEST_GPU = 75  # compute capability 7.5: what CUDA 13 still compiles for
_LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")
_complained: set[tuple[str, ...]] = set()


def compiler() -> tuple[str, ...] | None:
    """The C++ compiler and its first arguments: ``$CXX``, or c++, g++ or clang++ on PATH."""
    for words in (_words(os.environ.get("CXX", "")), ["c++"], ["g++"], ["clang++"]):
        path = shutil.which(words[0]) if words else None
        if path is not None:
            return (path, *words[1:])
    return None


def names_no_program(command: str) -> bool:
    """Whether a ``$CXX`` is set to what cannot be run, and is passed over by :func:`compiler`."""
    words = _words(command)
    return bool(command.strip()) and (not words or shutil.which(words[0]) is None)


@cache
def host_library(source: Source, real: str) -> ctypes.CDLL | None:
    """The file compiled for this processor, ``real`` being float32 or float64.

    ``None`` where there is no compiler, and where it fails: it says why on standard error, once a
    process, and of the ranks of a job once a node.
    """
    command = compiler()
    if command is None:
        return None
    try:
        return compile_host(command, source, real)
    except (CompileError, OSError) as error:
        first = all(os.environ.get(name, "0") == "0" for name in _LOCAL_RANKS)
        if first and command not in _complained:
            print(
                f"minigrad: {shlex.join(command)} could not compile {source.path.name}, so NumPy "
                "does the work of what it cannot compile, more slowly (MINIGRAD_CPU_KERNELS=0 "
                "turns the attempt off; it is made again after ten minutes, or by 'minigrad "
                f"doctor'):\n{str(error).strip()}",
                file=sys.stderr,
            )
        _complained.add(command)
        return None


def compile_host(command: tuple[str, ...], source: Source, real: str) -> ctypes.CDLL:
    """The file's library from the cache, else compiled by ``command``.

    In a child of ``os.fork()`` its kernels run on one thread: of OpenMP's threads a child has only
    the one that forked, and would wait for the others for ever. Raises :class:`CompileError`, or
    :class:`OSError` for what cannot be written or loaded.
    """
    return _loaded(str(library_file(command, source, real)))


@cache
def _loaded(file: str) -> ctypes.CDLL:
    # Read by OpenMP when it is loaded. Its threads would otherwise spin for milliseconds after each
    # loop, on the cores that BLAS or another program needs: a training step took 8 ms, not 0.7.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    library = ctypes.CDLL(file)
    set_threads = getattr(library, "omp_set_num_threads", None)
    if set_threads is not None and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: set_threads(1))
    return library


def library_file(command: tuple[str, ...], source: Source, real: str, again: bool = False) -> Path:
    """Where :func:`compile_host` has its library from: in the cache, or in this process's folder.

    ``again`` tries anew what failed a moment ago. Raises as :func:`compile_host` does.
    """
    options = (*FLAGS, f"-DREAL={REAL[real]}")
    key = digest(source.text, *options, *command, *map(_identity, command), _processor()).hex()

    def make() -> bytes:
        with tempfile.TemporaryDirectory(prefix="minigrad-") as folder:
            made = Path(folder, "kernels.so")
            rest = [f"-I{source.path.parent}", str(source.path), "-o", str(made)]
            for openmp in ("-fopenmp", "-fopenmp-simd"):  # some compilers lack its library
                said = _run([*command, *options, openmp, *rest])
                if not said and made.exists():
                    return made.read_bytes()
        raise CompileError(said or "it made nothing")

    return cached(f"{source.name}-{REAL[real]}-{key}.so", make, again)


def _run(command: list[str]) -> str:
    """What the compiler said when it failed; empty where it did not."""
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        return str(error)
    return (answer.stdout.strip() or f"exit code {answer.returncode}") if answer.returncode else ""


def _words(command: str) -> list[str]:
    """Compiler and arguments (``ccache g++``); a path with spaces is one word where it exists."""
    if shutil.which(command):
        return [command]
    with contextlib.suppress(ValueError):  # a quote that is not closed
        return shlex.split(command)
    return []


def _identity(word: str) -> str:
    """A program by its file, which costs no process: its version would."""
    path = shutil.which(word)
    if path is None:
        return ""
    found = os.stat(path)
    return f"{os.path.realpath(path)} {found.st_size} {found.st_mtime_ns}"


@cache
def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    lines = text.partition("\n\n")[0].splitlines()
    keys = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.partition(":")[0].strip() in keys)


def gpu_options(real: str) -> tuple[str, ...]:
    """What NVRTC is told, and where CUDA's headers are."""
    headers = require("cuda.pathfinder", "cuda13").find_nvidia_header_directory("cudart")
    options = ("-std=c++17", "-fmad=false", f"-DREAL={REAL[real]}")  # as FLAGS says of a·b + c
    return (*options, *([f"-I{headers}"] if headers else []))


def gpu_binary(source: Source, real: str, capability: int) -> bytes:
    """The file as NVRTC compiles it for a compute capability (90 is 9.0): needs no GPU.

    Not by CuPy's own compiler, which flushes denormals to zero whatever it is told. A GPU newer
    than NVRTC gets PTX, which its driver compiles. Raises :class:`CompileError`.
    """
    nvrtc = require("cupy_backends.cuda.libs.nvrtc", "cuda13")
    target = max(arch for arch in nvrtc.getSupportedArchs() if int(arch) <= capability)
    exact = int(target) == capability
    options = (*gpu_options(real), f"-arch={'sm' if exact else 'compute'}_{target}")
    headers = {name.encode(): text.encode() for name, text in source.files.items()}
    text = source.files[source.path.name]
    program = nvrtc.createProgram(text, source.path.name, list(headers.values()), list(headers))
    try:
        nvrtc.compileProgram(program, options)
        return bytes(nvrtc.getCUBIN(program) if exact else nvrtc.getPTX(program))
    except nvrtc.NVRTCError as error:
        said = nvrtc.getProgramLog(program).strip()
        raise CompileError(f"{source.path.name} does not compile for a GPU:\n{said}") from error
    finally:
        nvrtc.destroyProgram(program)


def gpu_capability(device: int, *kernels: str) -> int:
    """The compute capability of GPU ``device`` (90 is 9.0).

    Raises :class:`InputError`, which names the ``kernels``, where it is too old for them.
    """
    capability = int(module_for("cuda").cuda.Device(device).compute_capability)
    if capability < OLDEST_GPU:
        raise InputError(
            f"kernel{'s' * (len(kernels) > 1)} {', '.join(kernels)}: cuda:{device} has compute "
            f"capability {capability / 10}, but at least {OLDEST_GPU / 10} is needed; "
            "use --device cpu"
        )
    return capability


@cache
def gpu_module(source: Source, real: str, device: int) -> Any:
    """The file compiled for GPU ``device``, as a RawModule; what does not compile is an error."""
    capability = gpu_capability(device, *source.entries)
    nvrtc = require("cupy_backends.cuda.libs.nvrtc", "cuda13")
    version = str(nvrtc.getVersion())
    key = digest(source.text, *gpu_options(real), version, str(capability)).hex()
    name = f"{source.name}-{REAL[real]}-sm{capability}-{key}.cubin"
    kept = cached(name, lambda: gpu_binary(source, real, capability))
    file = own_folder() / f"{name}.{device}"  # CuPy wants a file, without our seal
    file.write_bytes(kept.read_bytes()[:-SEAL])
    return module_for("cuda").RawModule(path=str(file))
