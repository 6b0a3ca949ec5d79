"""One test body for every way a kernel runs: on the CPU, in the block executor, on a GPU."""

from __future__ import annotations

import atexit
import shutil
from functools import cache
from typing import Any

import numpy as np
import pytest
from executor import Executor

from minigrad.backend import array_module, device_count, to_device
from minigrad.kernels import kernel
from minigrad.kernels.build import compiler
from minigrad.kernels.launch import Kernel, grid_of
from minigrad.kernels.source import find

__all__ = ["KINDS", "SPECIAL", "at", "on", "values"]

_COMPILER = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
KINDS = [
    pytest.param("cpu", marks=_COMPILER),
    pytest.param("executor", marks=_COMPILER),
    pytest.param(
        "gpu",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a CUDA device"),
        ],
    ),
]
"""Where a kernel can run, for ``pytest.mark.parametrize("where", KINDS)``."""

SPECIAL = [0.0, -0.0, 1e-45, -1e-40, 1e-38, 3e38, -1e30, np.inf, -np.inf, np.nan]
"""Zeros, denormals, huge, infinite and no numbers at all; of float32."""


def on(where: str, name: str, *arguments: Any, threads: int = 64, order: Any = "reverse") -> None:
    """Launch a kernel; arrays that it writes change in place. As :class:`Kernel` takes them."""
    real = next((a.dtype.name for p, a in _paired(name, arguments) if p.type == "real"), "float32")
    if where == "cpu":
        found = kernel(name, like=np.empty(0, real))
        assert found is not None, "the host's compiler made no kernel: it says why on stderr"
        found(*arguments)
    elif where == "gpu":
        given = [a if a is None or np.isscalar(a) else _on_gpu(a) for a in arguments]
        found = kernel(name, like=given[0], dtype=np.dtype(real))
        assert found is not None
        found(*given, threads=4 * threads)  # as many as in training
        for (p, mine), theirs in zip(_paired(name, arguments), given):
            if p.pointer and not p.const and mine is not None:
                mine[...] = theirs.get()
    else:
        entry = find(name).entries[name]
        checked = Kernel(find(name), entry, real, "cpu").check(arguments)
        values = [value for _, value in checked]
        grid = max(1, min(3, grid_of(entry, int(values[-1]), threads)))
        offsets = {
            p.name: value.ctypes.data % 16 // value.itemsize
            for p, value in checked
            if p.pointer and value is not None
        }
        _executor().run(
            name, *values, grid=grid, block=threads, order=order, real=real, offsets=offsets
        )


def _on_gpu(array: np.ndarray[Any, Any]) -> Any:
    """The array on a GPU, as far past a multiple of 64 bytes as it is here."""
    first = array.ctypes.data % 64 // array.itemsize
    whole = to_device(np.zeros(first + array.size, array.dtype), "cuda:0")
    part = whole[first:].reshape(array.shape)
    part.set(np.ascontiguousarray(array))
    return part


@cache
def _executor() -> Executor:
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    executor = Executor()
    atexit.register(executor.__exit__, None, None, None)
    return executor


def _paired(name: str, arguments: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    entry = find(name).entries[name]
    axes = {axis for p in entry.parameters for axis in p.shape}
    given = [p for p in entry.parameters if p.pointer or p.name not in axes]
    return list(zip(given, arguments, strict=True))


def values(rng: np.random.Generator, n: int, dtype: Any) -> np.ndarray[Any, Any]:
    """``n`` numbers of both signs, over eight orders of magnitude."""
    return (rng.normal(size=n) * 10.0 ** rng.uniform(-6, 2, n)).astype(dtype)


def at(offset: int, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy that begins ``offset`` elements after a multiple of 64 bytes."""
    whole = np.zeros(array.size + offset + 64 // array.itemsize, array.dtype)
    first = -whole.ctypes.data % 64 // array.itemsize + offset
    part = whole[first : first + array.size].reshape(array.shape)
    part[...] = array
    assert array_module(part) is np
    return part
