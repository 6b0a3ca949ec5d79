"""Kernels in the block executor (block_executor.h): a program for each file, sent job after job.

    with Executor() as executor:
        executor.run("adam", theta, g, m, v, hyper, norm, n, grid=2, block=64, order="reverse")

Arrays change in place, as on a GPU. What the executor has to object to raises ExecutorError.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad.kernels import source

__all__ = ["ORDERS", "Executor", "ExecutorError"]

HERE = Path(__file__).parent
ORDERS = ("forward", "reverse", 1)
REALS = {"float32": "float", "float64": "double"}
FLAGS = [
    *("-std=c++17", "-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"),
    "-fsanitize=address,alignment,signed-integer-overflow,shift",
    *("-Wall", "-Wextra", "-Wno-unknown-pragmas", "-DBLOCK_EXECUTOR"),
]
_MACHINERY = re.compile(r"^ *#\d+ .*(block_\w+\.h|/c\+\+/|sanitizer|libc|_start)|^=+$")
VALUE, READ_ONLY, WRITTEN, NOTHING, AGAIN = range(5)


class ExecutorError(AssertionError):
    """A kernel did what it must not, or could not be compiled; the message says where."""


class Executor:
    """Runs the kernels of a folder's files; without one, minigrad's. A context manager."""

    def __init__(self, folder: Path | None = None) -> None:
        self._files = source.sources() if folder is None else _read(folder)
        self._programs: dict[tuple[str, str], _Program] = {}

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *exception: object) -> None:
        for program in self._programs.values():
            program.close()

    def run(
        self,
        kernel: str,
        *values: Any,
        grid: int | tuple[int, ...],
        block: int | tuple[int, ...],
        order: str | int = "forward",
        real: str | None = None,
        offsets: dict[str, int] | None = None,
        **named: Any,
    ) -> None:
        """One launch, with the kernel's parameters in order or by name.

        Arrays are contiguous and of the parameter's dtype, ``None`` is a null pointer, and an array
        that is given twice is one buffer. ``order`` of threads and blocks is ``"forward"``,
        ``"reverse"`` or a seed. ``real`` is taken from the arrays where it is not given.
        ``offsets`` says how many elements past a multiple of 16 bytes an array begins.
        """
        file = next((f for f in self._files.values() if kernel in f.entries), None)
        if file is None:
            raise KeyError(kernel)
        parameters = file.entries[kernel].parameters
        given = dict(zip([p.name for p in parameters], values)) | named
        if len(values) + len(named) != len(parameters) or len(given) != len(parameters):
            raise TypeError(f"{kernel} takes {', '.join(p.name for p in parameters)}")
        reals = [p.name for p in parameters if p.pointer and p.type == "real"]
        found = [str(given[name].dtype) for name in reals if given[name] is not None]
        real = real or (found[0] if found else "float32")
        program = self._programs.get((file.name, real))
        if program is None:
            program = self._programs[file.name, real] = _Program(_build(file.path, real))

        message, outputs = [_job(kernel, grid, block, order, len(parameters))], []
        for at, parameter in enumerate(parameters):
            array, dtype = given[parameter.name], np.dtype(parameter.dtype(real))
            twin = [i for i, p in enumerate(parameters[:at]) if given[p.name] is array]
            if array is None:
                message.append(struct.pack("=3Q", NOTHING, 0, 0))
            elif not parameter.pointer:
                bytes_ = np.asarray(array).astype(dtype).tobytes()
                message += [struct.pack("=3Q", VALUE, len(bytes_), 0), bytes_]
            elif array.dtype != dtype or not array.flags.c_contiguous:
                raise TypeError(f"{parameter.name} of {kernel} is a contiguous array of {dtype}")
            elif twin:
                message.append(struct.pack("=3Q", AGAIN, twin[0], 0))
            else:
                # whether it is written: as this parameter, or as another that is given it again
                written = any(given[p.name] is array and not p.const for p in parameters)
                offset = (offsets or {}).get(parameter.name, 0) * dtype.itemsize
                kind = WRITTEN if written else READ_ONLY
                message += [struct.pack("=3Q", kind, array.nbytes, offset), array.tobytes()]
                outputs += [array] * written
        answer = program.ask(b"".join(message), sum(array.nbytes for array in outputs))
        for array in outputs:
            array[...] = np.frombuffer(answer[: array.nbytes], array.dtype).reshape(array.shape)
            answer = answer[array.nbytes :]


class _Program:
    """The process that runs one file's kernels. It ends at the first error, and is started anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, job: bytes, size: int) -> bytes:
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115
            self._process = subprocess.Popen(
                [self._path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=os.environ | {"ASAN_OPTIONS": "", "UBSAN_OPTIONS": "print_stacktrace=1"},
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(job)
            stdin.flush()
            answer = stdout.read(1 + size)
        except BrokenPipeError:
            answer = b""
        if len(answer) == 1 + size:
            return answer[1:]
        self._process.wait()
        self._errors.seek(0)
        message = self._errors.read().decode(errors="replace")
        self.close()
        raise ExecutorError(_short(message) or "the block executor ended without a word")

    def close(self) -> None:
        if self._process is not None:
            self._process.__exit__(None, None, None)  # closes the pipes, which ends it, and waits
            self._errors.close()
            self._process = None


def _short(message: str) -> str:
    """Without the executor's own lines, the library's, and the sanitizer's map of memory."""
    lines = message.partition("Shadow bytes")[0].strip().splitlines()
    return "\n".join(line for line in lines if not _MACHINERY.search(line))


def _read(folder: Path) -> dict[str, source.Source]:
    return {path.stem: source._read(path) for path in sorted(folder.glob("*.cu"))}


def _job(kernel: str, grid: Any, block: Any, order: str | int, arguments: int) -> bytes:
    turns = {"forward": 0, "reverse": -1}.get(order, order)  # type: ignore[arg-type]
    sizes = [(*np.atleast_1d(size), 1, 1)[:3] for size in (grid, block)]
    return struct.pack("=64s6IqQ", kernel.encode(), *sizes[0], *sizes[1], turns, arguments)


@cache
def _compiler() -> str:
    """The C++ compiler; skips the test where there is none that has the sanitizers."""
    named = os.environ.get("CXX", "")
    compiler = next(filter(None, map(shutil.which, (named, "c++", "g++", "clang++"))), None)
    if compiler is None:
        pytest.skip("the block executor needs a C++ compiler: c++, g++ or clang++")
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, "trial")
        text = "typedef _Float16 half; int main() {}"
        command = [compiler, *FLAGS, "-x", "c++", "-", "-o", str(trial)]
        tried = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        if tried.returncode or subprocess.run([trial], capture_output=True, check=False).returncode:
            reason = (tried.stderr.strip().splitlines() or ["it builds, and does not run"])[-1]
            pytest.skip(f"{compiler} has no address sanitizer or no _Float16: {reason}")
    return compiler


@cache
def _build(path: Path, real: str) -> Path:
    """The program, built unless one of the very same texts and compiler is there already."""
    compiler = _compiler()
    texts = [path, *sorted(HERE.glob("*.h")), *sorted(source.folder().glob("*.cuh"))]
    include = [f"-I{folder}" for folder in (HERE, source.folder())]
    command = [compiler, *FLAGS, f"-DREAL={REALS[real]}", *include, "-x", "c++", str(path)]
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    key = _digest([*(text.read_bytes() for text in texts), repr(command).encode(), version])
    program = _cache() / f"{path.stem}-{real}-{key}"
    if not program.exists():
        building = program.with_name(f"{program.name}.{os.getpid()}")
        command += ["-o", str(building)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            raise ExecutorError(built.stderr)
        building.replace(program)
    return program


@cache
def _cache() -> Path:
    """A folder of this user's own under the temporary one, which the next session finds again."""
    folder = Path(tempfile.gettempdir(), f"minigrad-block-executor-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    mine = folder.stat().st_uid == os.getuid() and not folder.is_symlink()
    return folder if mine else Path(tempfile.mkdtemp())


def _digest(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
