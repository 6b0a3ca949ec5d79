"""What ``minigrad doctor`` says of kernels: who does their work, here and on each GPU."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import Literal, TypeAlias

from minigrad.backend import device_count
from minigrad.errors import InputError
from minigrad.kernels import switched_off
from minigrad.kernels.build import (
    compile_host,
    compiler,
    gpu_module,
    library_file,
    names_no_program,
)
from minigrad.kernels.cache import CompileError, cache_folder
from minigrad.kernels.source import faults, sources

__all__ = ["Finding", "first_line", "on_cpu", "on_gpus", "texts"]

Finding: TypeAlias = tuple[Literal["ok", "missing", "wrong"], str, str]
"""The state of a part, what was found and, where that is not "ok", what to do."""


def texts() -> Iterator[Finding]:
    """Files of kernels that do not keep the rules of :mod:`minigrad.kernels.source`."""
    for error in faults():
        yield "wrong", str(error), "correct it there; the kernels of other files work"


def on_cpu() -> Iterator[Finding]:
    """Compiles every file for float32, or finds it in the cache, and says who compiled how many."""
    try:
        if switched_off():
            advice = "unset it to have them compiled"
            yield "missing", "NumPy does their work, for MINIGRAD_CPU_KERNELS is 0", advice
            return
    except InputError as error:
        yield "wrong", str(error), "set it to 0 or 1, or unset it"
        return
    if names_no_program(given := os.environ.get("CXX", "")):
        text = f"CXX is '{given}', which names nothing that can be run"
        yield "wrong", text, "unset it, or name a C++ compiler"
    command = compiler()
    if command is None:
        text = "there is no C++ compiler, so NumPy does their work, more slowly"
        yield "missing", text, "install g++ or clang++ to have them compiled"
    else:
        yield from _compiled_by(command)


def _compiled_by(command: tuple[str, ...]) -> Iterator[Finding]:
    name = shlex.join(command)
    made, failed = {}, {}
    for source in sources().values():
        try:
            file = library_file(command, source, "float32", again=True)
            made[file] = compile_host(command, source, "float32")
        except (CompileError, OSError) as error:
            failed[source.path.name] = first_line(error)
    if failed:
        what = "the kernels" if not made else ", ".join(failed)
        text = f"{name} cannot compile {what} and said: {next(iter(failed.values()))}"
        advice = (
            "NumPy does this work, more slowly; install g++ or clang++, or name another compiler "
            "in CXX, to have it compiled"
        )
        yield "wrong", text, advice
    if made:
        file, library = next(iter(made.items()))
        parallel = getattr(library, "omp_get_max_threads", None)
        threads = f"OpenMP threads: {parallel()}" if parallel else "one thread, for lack of OpenMP"
        folder = cache_folder()
        kept = file.parent == folder
        where = f"kept in {folder}" if kept else f"by each process anew: {folder} is not writable"
        count = f"{len(made)} of {len(made) + len(failed)} files"
        yield "ok", f"{count} compiled by {name}; {threads}; {where}", ""


def on_gpus() -> Iterator[Finding]:
    """Compiles every file for each GPU."""
    try:
        devices = device_count()
    except Exception:  # doctor's line on the GPU says what is wrong with CuPy
        return
    for index in range(devices):
        try:
            count = len([gpu_module(source, "float32", index) for source in sources().values()])
            yield "ok", f"{count} files compiled by NVRTC for cuda:{index}", ""
        except InputError as error:  # one that is too old
            yield "wrong", str(error), ""
        except Exception as error:  # CuPy reports a broken installation in many ways
            text = f"NVRTC failed for cuda:{index} and said: {first_line(error)}"
            advice = "in minigrad's folder run: python -m pip install -e '.[cuda13]' or '.[cuda12]'"
            yield "wrong", text, advice


def first_line(error: Exception) -> str:
    """The first line of what an error says, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
