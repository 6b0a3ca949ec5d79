"""Compiling kernels: by the host's C++ compiler into a cache, or by NVRTC for the GPU at hand."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from minigrad.backend import module_for
from minigrad.errors import InputError
from minigrad.kernels.source import Source

__all__ = ["cache_folder", "compiler", "gpu_module", "gpu_options", "gpu_text", "host_library"]

REAL = {"float32": "float", "float64": "double"}
# NaN and infinity keep their meaning: no -ffast-math
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-fno-math-errno",
    "-fno-trapping-math", "-Wno-unknown-pragmas", "-x", "c++",
)  # fmt: skip
OLDEST_GPU = 75  # compute capability 7.5: what CUDA 13 still compiles for


def compiler() -> str | None:
    """The C++ compiler: ``$CXX``, or the first of c++, g++ and clang++ on PATH; else ``None``."""
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        path = shutil.which(name) if name else None
        if path is not None:
            return path
    return None


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``$MINIGRAD_CACHE``, or minigrad in the user's cache."""
    given = os.environ.get("MINIGRAD_CACHE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "minigrad"


@cache
def host_library(source: Source, real: str) -> ctypes.CDLL | None:
    """The file compiled for this processor, ``real`` being float32 or float64.

    ``None`` where there is no compiler, and where it fails: it says why on standard error, once.
    """
    path = compiler()
    if path is None:
        return None
    key = _digest(source.text, real, " ".join(FLAGS), _identity(path), _processor())
    name = f"{source.name}-{REAL[real]}-{key}.so"
    try:
        place = cache_folder()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(place, os.W_OK):
            raise PermissionError(place)
    except OSError:  # no home, or one that cannot be written: for this process alone
        place = _own_folder()
    library = place / name
    try:
        if not library.exists():
            with _one_at_a_time(place / f"{name}.lock"):
                if not library.exists():
                    _compile(path, source, real, library)
        return ctypes.CDLL(str(library))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        print(
            f"minigrad: {path} could not compile {source.path.name}, so NumPy does its work, more "
            f"slowly (MINIGRAD_CPU_KERNELS=0 turns this attempt off):\n{said.strip()}",
            file=sys.stderr,
        )
        return None


def _compile(path: str, source: Source, real: str, library: Path) -> None:
    """Compile to a name of our own, then rename: whoever looks finds all of it or nothing."""
    handle, name = tempfile.mkstemp(dir=library.parent, suffix=".part")
    os.close(handle)
    command = [path, *FLAGS, f"-DREAL={REAL[real]}", f"-I{source.path.parent}", str(source.path)]
    try:
        for openmp in ("-fopenmp", "-fopenmp-simd"):  # some compilers come without its library
            answer = subprocess.run(
                [*command, openmp, "-o", name], capture_output=True, text=True, check=False
            )
            if answer.returncode == 0:
                os.replace(name, library)
                return
        answer.check_returncode()
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """While one process compiles, those that want the same wait for it, where files can be locked;
    elsewhere each compiles, which is slow but right."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            handle = stack.enter_context(path.open("w"))
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@cache
def _own_folder() -> Path:
    import atexit

    place = tempfile.mkdtemp(prefix="minigrad-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=10).hexdigest()


def _identity(path: str) -> str:
    """The compiler by its file, which costs no process: its version would."""
    found = os.stat(os.path.realpath(path))
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


def gpu_text(source: Source) -> str:
    """The file with its includes put in place: CuPy's cache knows a module by its text."""
    return re.sub(r'^#(include "\w+\.cuh"|pragma once)$', "", source.text, flags=re.MULTILINE)


def gpu_options(real: str) -> tuple[str, ...]:
    """What NVRTC is told."""
    return ("-std=c++17", f"-DREAL={REAL[real]}")


@cache
def gpu_module(source: Source, real: str, device: int) -> Any:
    """The file compiled for GPU ``device``; what does not compile is an error."""
    cupy = module_for("cuda")
    capability = int(cupy.cuda.Device(device).compute_capability)
    if capability < OLDEST_GPU:
        raise InputError(
            f"kernel file {source.path.name}: cuda:{device} has compute capability "
            f"{capability / 10}, but at least {OLDEST_GPU / 10} is needed; use --device cpu"
        )
    with cupy.cuda.Device(device):
        module = cupy.RawModule(code=gpu_text(source), options=gpu_options(real))
        module.compile()
    return module
