"""The kernels in kernels/, compiled for the device that holds an array, or ``None`` for NumPy.

On a GPU every kernel is compiled or an error says why not. On a CPU the host's C++ compiler makes
them at first use; without one, or with ``MINIGRAD_CPU_KERNELS=0``, NumPy does their work, in the
formulas that stand beside each call. That variable and :func:`reference` hold where a kernel is
looked up, for optimizers where one is made: what was looked up before stays as it was.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.backend import Array, device_of
from minigrad.errors import InputError

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

    There are kernels for float32 and float64: for other dtypes, on a GPU too, it is ``None``, and
    so it is within :func:`reference` and, on a CPU, with ``MINIGRAD_CPU_KERNELS=0``. ``dtype``
    where it is not that of ``like``. Raises :class:`InputError` for unknown names, for ``like``
    that is no array, for a file of kernels that does not keep the rules, and for a GPU that is too
    old.
    """
    if _mode.reference:
        return None
    try:
        own = like.dtype
    except AttributeError:
        what = f"kernel {name}: like is {type(like).__name__}, but must be an array"
        raise InputError(what) from None
    key = (name, dtype or own, "cpu" if type(like) is np.ndarray else device_of(like))
    if key not in _found:
        with _one_loads:
            if key not in _found:
                _found[key] = _load(*key)
    return _found[key]


def _load(name: str, dtype: Any, device: str) -> Kernel | None:
    # what finds and compiles takes 40 ms to import, and is needed with the first kernel
    from minigrad.kernels.build import REAL, gpu_capability, gpu_module, host_library
    from minigrad.kernels.launch import CPUKernel, GPUKernel
    from minigrad.kernels.source import find

    source, real = find(name), np.dtype(dtype).name
    entry = source.entries[name]
    if real not in REAL or (device == "cpu" and switched_off()):
        return None
    if device != "cpu":
        index = int(device.partition(":")[2])
        gpu_capability(index, name)
        module = gpu_module(source, real, index)
        return GPUKernel(source, entry, real, device, module)
    library = host_library(source, real)
    return None if library is None else CPUKernel(source, entry, real, library)


def switched_off() -> bool:
    """Whether a person wants NumPy alone: ``MINIGRAD_CPU_KERNELS=0``, or off, false, no.

    Raises :class:`InputError` for what is neither that nor 1, on, true, yes or empty.
    """
    given = os.environ.get("MINIGRAD_CPU_KERNELS", "").strip()
    if given.lower() in ("0", "off", "false", "no"):
        return True
    if given.lower() in ("", "1", "on", "true", "yes"):
        return False
    raise InputError(
        f"MINIGRAD_CPU_KERNELS is '{given}', but must be 1 (kernels compiled for the CPU) or 0 "
        "(NumPy does their work)"
    )


@contextlib.contextmanager
def reference() -> Iterator[None]:
    """Within it, this thread runs no kernels but the formulas beside them.

    >>> with mg.kernels.reference():
    ...     print(mg.kernels.kernel("adam", np.zeros(3)))
    None
    """
    before = _mode.reference
    _mode.reference = True
    try:
        yield
    finally:
        _mode.reference = before
