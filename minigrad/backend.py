"""Which array module, which device, and copies between them.

The only module that imports CuPy. Everything else asks :func:`array_module` for the module
that owns an array and calls it ``xp``; NumPy and CuPy answer to the same names.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from typing import Any, TypeAlias

import numpy as np

from minigrad.errors import InputError, require

__all__ = [
    "Array",
    "aligned_zeros",
    "array_module",
    "device_count",
    "device_of",
    "module_for",
    "nccl_library",
    "to_device",
    "to_numpy",
    "use_device",
]

Array: TypeAlias = Any
"""A ``numpy.ndarray`` or a ``cupy.ndarray``: no type that exists names both."""


def array_module(*operands: Any, op: str = "this operation") -> Any:
    """The module (``numpy`` or ``cupy``) that the array ``operands`` belong to.

    Operands that are no arrays (Python numbers, ``None``) are passed over. Raises
    :class:`InputError` where NumPy and CuPy arrays meet, saying which operand lives where.

    >>> from minigrad.backend import array_module
    >>> array_module(np.ones(3)).__name__
    'numpy'
    """
    cupy = sys.modules.get("cupy")
    if cupy is None:
        return np
    on_gpu = [isinstance(operand, cupy.ndarray) for operand in operands]
    if not any(on_gpu):
        return np
    for position, operand in enumerate(operands):
        if isinstance(operand, np.ndarray) and operand.ndim > 0:
            other = on_gpu.index(True)
            raise InputError(
                f"{op}: operand {position + 1} lives on cpu and operand {other + 1} on "
                f"{device_of(operands[other])}; move one of them with .to('cpu') or .to('cuda:0')"
            )
    return cupy


def device_of(array: Array) -> str:
    """``"cpu"`` or ``"cuda:N"``.

    >>> from minigrad.backend import device_of
    >>> device_of(np.ones(3))
    'cpu'
    """
    return (
        f"cuda:{array.device.id}" if hasattr(array, "device") and hasattr(array, "get") else "cpu"
    )


def module_for(device: str) -> Any:
    """The array module of ``device`` (``"cpu"``, ``"cuda"``, ``"cuda:N"``)."""
    if device == "cpu":
        return np
    _gpu_index(device)
    return require("cupy", "cuda13")


def device_count() -> int:
    """How many CUDA devices can be used; 0 without CuPy or without a driver."""
    if importlib.util.find_spec("cupy") is None:
        return 0
    cupy = require("cupy", "cuda13")
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0


def nccl_library() -> Any:
    """CuPy's module for NCCL; None without CuPy, or where CuPy does not find the library."""
    if importlib.util.find_spec("cupy") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is missing, which is no fault
        library = require("cupy.cuda.nccl", "cuda13")
    return library if library.available else None


def use_device(device: str, local_rank: int = 0) -> str:
    """Make ``device`` the one that new arrays of this thread are made on; its full name.

    ``"cuda"`` without a number is the GPU of this machine that falls to rank ``local_rank``: one
    each, and shared where there are more ranks than GPUs.
    """
    if device == "cpu":
        return device
    cupy, available = module_for(device), device_count()
    index = _gpu_index(device) if ":" in device else local_rank % max(1, available)
    _check_available(device, index, available)
    cupy.cuda.Device(index).use()
    return f"cuda:{index}"


def aligned_zeros(xp: Any, size: int, dtype: Any) -> Array:
    """``size`` zeros that begin at a multiple of 64 bytes, a cache line, as vector units like."""
    spare = 64 // np.dtype(dtype).itemsize
    whole = xp.zeros(size + spare, dtype)
    address = whole.ctypes.data if xp is np else whole.data.ptr
    start = -address % 64 // whole.itemsize
    return whole[start : start + size]


def to_device(array: Array, device: str) -> Array:
    """``array`` on ``device``: itself where it is there already, a copy elsewhere."""
    if device == "cpu":
        return to_numpy(array)
    index = _gpu_index(device)
    cupy = module_for(device)
    _check_available(device, index, device_count())
    with cupy.cuda.Device(index):
        if isinstance(array, np.ndarray) and cupy.cuda.get_current_stream().is_capturing():
            raise InputError(
                "a captured step cannot fetch data from the host: copy them in before it, into "
                "a Tensor that stays, with x.data = batch"
            )
        return cupy.asarray(array)


def to_numpy(array: Array) -> Array:
    """``array`` as a NumPy array; waits for the GPU's stream where it lives on one."""
    return array.get() if device_of(array) != "cpu" else np.asarray(array)


def _check_available(device: str, index: int, available: int) -> None:
    if index >= available:
        raise InputError(
            f"device '{device}' was asked for, but this machine has {available} usable CUDA "
            "device(s); choose --device cpu, or run 'minigrad doctor' to see what is missing"
        )


def _gpu_index(device: str) -> int:
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdigit():
        raise InputError(f"unknown device '{device}': give 'cpu', 'cuda' or 'cuda:0', 'cuda:1', …")
    return int(index or "0")
