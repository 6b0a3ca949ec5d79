"""The kernels in kernels/, compiled for the device that holds an array, or ``None`` for NumPy.

On a GPU every kernel is compiled or an error says why not. On a CPU the host's C++ compiler makes
them at first use; without one, or with ``MINIGRAD_CPU_KERNELS=0``, NumPy does their work, in the
formulas that stand beside each call.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.backend import Array, device_of

if TYPE_CHECKING:
    from minigrad.kernels.launch import Kernel

__all__ = ["kernel", "reference", "switched_off"]


class _Mode(threading.local):
    reference = False


_mode = _Mode()
_one_loads = threading.Lock()
_found: dict[tuple[str, Any, str], Kernel | None] = {}


def kernel(name: str, like: Array, dtype: Any = None) -> Kernel | None:
    """The kernel ``name`` for the device and dtype of ``like``; ``None`` where there is none.

    ``dtype`` (float32 or float64) where it is not that of ``like``. Raises :class:`InputError` for
    unknown names and, on a GPU, for a device that is too old.
    """
    if _mode.reference:
        return None
    key = (name, dtype or like.dtype, "cpu" if type(like) is np.ndarray else device_of(like))
    if key not in _found:
        with _one_loads:
            if key not in _found:
                _found[key] = _load(*key)
    return _found[key]


def _load(name: str, dtype: Any, device: str) -> Kernel | None:
    # what finds and compiles takes 40 ms to import, and is needed with the first kernel
    from minigrad.kernels.build import REAL, gpu_module, host_library
    from minigrad.kernels.launch import CPUKernel, GPUKernel
    from minigrad.kernels.source import find

    source, real = find(name), np.dtype(dtype).name
    entry = source.entries[name]
    if real not in REAL or (device == "cpu" and switched_off()):
        return None
    if device != "cpu":
        module = gpu_module(source, real, int(device.partition(":")[2]))
        return GPUKernel(source, entry, real, device, module)
    library = host_library(source, real)
    return None if library is None else CPUKernel(source, entry, real, library)


def switched_off() -> bool:
    """Whether a person wants NumPy alone: ``MINIGRAD_CPU_KERNELS=0``."""
    return os.environ.get("MINIGRAD_CPU_KERNELS", "1") == "0"


@contextlib.contextmanager
def reference() -> Iterator[None]:
    """Within it, this thread runs no kernels but the formulas beside them."""
    before = _mode.reference
    _mode.reference = True
    try:
        yield
    finally:
        _mode.reference = before
