"""A kernel that can be called: what it is given is checked against its text, then it runs.

scale = kernel("scale_into", like=x)      # None where NumPy does this work
scale(x, y, 2.0)                          # counts follow from the shapes
again = scale.bind(x, y, 2.0)             # checked once, for arrays that stay
again()
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from minigrad.backend import Array, array_module, device_of, module_for
from minigrad.errors import InputError
from minigrad.kernels.source import Entry, Parameter, Source

__all__ = ["THREADS", "CPUKernel", "GPUKernel", "Kernel"]

THREADS = 256
_BLOCK = range(32, 1025, 32)  # threads: whole warps
_PER_THREAD = 4  # gpu.cuh's PACK
_LARGEST_GRID = 2**31 - 1
_SCALARS: dict[str, tuple[Any, Any]] = {
    "i64": (np.int64, ctypes.c_int64), "u64": (np.uint64, ctypes.c_uint64),
    "i32": (np.int32, ctypes.c_int32), "u32": (np.uint32, ctypes.c_uint32),
    "float": (np.float32, ctypes.c_float), "double": (np.float64, ctypes.c_double),
}  # fmt: skip
# one call each, and no look-ups of names, where a step makes hundreds
_memory_of: Any = ctypes.c_char.from_buffer
_address_of = ctypes.addressof
_C_REAL = {"float32": "float", "float64": "double"}


class Kernel:
    """An entry of kernels/ for one dtype and device.

    Called with its parameters in order, arrays and numbers, without the counts that name axes of
    arrays. Raises :class:`InputError`, before anything is touched, where an array's dtype, device,
    shape or layout is not what the entry says, where one to be written is read-only or overlaps
    another argument, and for a count below 0.
    """

    def __init__(self, source: Source, entry: Entry, real: str, device: str) -> None:
        self.source, self.entry, self.real, self.device = source, entry, real, device
        self.name = entry.name
        self.dtypes = [np.dtype(p.dtype(real)) for p in entry.parameters]
        self.axes = {axis for p in entry.parameters if p.pointer for axis in self.shape_of(p)}
        self.given = [p for p in entry.parameters if p.pointer or p.name not in self.axes]

    def shape_of(self, p: Parameter) -> tuple[str, ...]:
        """The axes of a pointer: names of counts, or numbers; a struct is as long as its fields."""
        return p.shape or (str(len(self.source.structs[p.type])),)

    def bind(self, *arguments: Any, threads: int = THREADS) -> Callable[[], None]:
        """Check the arguments once: a call that runs the kernel on these very arrays, again and
        again. ``threads`` are a GPU block's, a multiple of 32."""
        raise NotImplementedError

    def __call__(self, *arguments: Any, threads: int = THREADS) -> None:
        """Check the arguments and run the kernel."""
        self.bind(*arguments, threads=threads)()

    def check_threads(self, threads: int) -> None:
        """Raise :class:`InputError` for a block that no GPU has: here too where there is none."""
        whole = isinstance(threads, (int, np.integer))
        if not whole or threads % 32 or not 32 <= threads <= 1024:
            raise InputError(
                f"kernel {self.name}: a block of {threads} threads was asked for, but it must be a "
                "multiple of 32 from 32 to 1024"
            )

    def check(self, arguments: tuple[Any, ...]) -> list[tuple[Parameter, Any]]:
        """The entry's parameters with their arguments: counts filled in, numbers in their type."""
        if len(arguments) != len(self.given):
            names = ", ".join(p.name for p in self.given)
            raise InputError(
                f"kernel {self.name} takes ({names}), but {len(arguments)} arguments were given"
            )
        by_name = dict(zip((p.name for p in self.given), arguments))
        counts: dict[str, tuple[int, str]] = {}
        for p, dtype in zip(self.entry.parameters, self.dtypes):
            if p.pointer:
                self._check_array(p, dtype, by_name[p.name], counts)
        self._check_overlaps(by_name)
        every = {name: size for name, (size, _) in counts.items()} | by_name
        return [(p, self._number(p, every[p.name])) for p in self.entry.parameters]

    def _check_array(
        self, p: Parameter, dtype: np.dtype[Any], array: Any, counts: dict[str, tuple[int, str]]
    ) -> None:
        if array is None and p.optional:
            return
        if not hasattr(array, "dtype") or not hasattr(array, "flags"):
            raise self._wrong(p, f"is {type(array).__name__}, but must be an array")
        if device_of(array) != self.device:
            raise self._wrong(p, f"lives on {device_of(array)}, but this kernel on {self.device}")
        if array.dtype != dtype:
            raise self._wrong(p, f"has dtype {array.dtype}, but must have {dtype}")
        if not array.flags.c_contiguous:
            raise self._wrong(
                p, "is a view with gaps or in another order; pass a contiguous copy of it"
            )
        if not getattr(array.flags, "aligned", True):
            raise self._wrong(p, f"begins amid a {dtype} in memory; pass a copy of it")
        if not p.const and not getattr(array.flags, "writeable", True):
            raise self._wrong(p, "is read-only, but the kernel writes to it")
        wanted = self.shape_of(p)
        if len(array.shape) != len(wanted):
            raise self._wrong(p, f"has shape {array.shape}, but must have ({', '.join(wanted)})")
        if not p.shape and array.shape[0] != int(wanted[0]):
            what = f"has {array.shape[0]} numbers, but struct {p.type} has {wanted[0]}"
            raise self._wrong(p, what)
        for axis, size in zip(wanted, array.shape):
            known, who = counts.setdefault(axis, (int(axis) if axis.isdigit() else size, p.name))
            if size != known:
                raise self._wrong(
                    p, f"has {size} along '{axis}', but "
                    + (f"must have {known}" if axis.isdigit() else f"{who} has {known}"),
                )  # fmt: skip

    def _check_overlaps(self, by_name: Mapping[str, Any]) -> None:
        pointers = [p for p in self.given if p.pointer and by_name[p.name] is not None]
        ranges = [(*_extent(by_name[p.name]), p) for p in pointers]
        for (a, a_end, p), (b, b_end, q) in itertools.combinations(ranges, 2):
            if a < b_end and b < a_end and not (p.const and q.const):
                raise self._wrong(p, f"shares memory with '{q.name}', and one of them is written")

    def _wrong(self, p: Parameter, what: str) -> InputError:
        return InputError(f"kernel {self.name}: its argument '{p.name}' {what}")

    def _number(self, p: Parameter, value: Any) -> Any:
        if p.pointer:
            return value
        kind = _SCALARS[_C_REAL[self.real] if p.type == "real" else p.type][0]
        if not issubclass(kind, np.integer):
            if not isinstance(value, (int, float, np.integer, np.floating)):
                raise self._wrong(p, f"is {value!r}, but must be a number")
            with np.errstate(over="ignore"):
                return kind(value)
        if not isinstance(value, (int, np.integer)):
            raise self._wrong(p, f"is {value!r}, but must be a whole number")
        low, high = _range(kind, p.type)
        if not low <= value <= high:
            wanted = f"from {low} to {high}" if p.type != "i64" else "0 or above"
            raise self._wrong(p, f"is {value}, but must be {wanted}")
        return kind(value)


class CPUKernel(Kernel):
    """A function of a compiled library."""

    def __init__(self, source: Source, entry: Entry, real: str, library: ctypes.CDLL) -> None:
        super().__init__(source, entry, real, "cpu")
        self.function = library[entry.name]
        self.function.restype = None
        kinds = [p.type if p.type != "real" else _C_REAL[real] for p in entry.parameters]
        self.types: list[Any] = [
            ctypes.c_void_p if p.pointer else _SCALARS[kind][1]
            for p, kind in zip(entry.parameters, kinds)
        ]
        self.function.argtypes = self.types
        # for the quick look: of each array its dtype and axes, of each number None and its range
        self._taken = len(self.given)
        self._optional = {p.name for p in self.given if p.optional}
        self._known = {axis: int(axis) for axis in self.axes if axis.isdigit()}
        self._plan: list[tuple[str, Any, tuple[Any, ...]]] = [
            (p.name, dtype, self.shape_of(p))
            if p.pointer
            else (p.name, None, _range(dtype.type, p.type))
            for p, dtype in zip(entry.parameters, self.dtypes)
        ]

    def bind(self, *arguments: Any, threads: int = THREADS) -> Callable[[], None]:
        self.check_threads(threads)
        values = [_address(v) if p.pointer else v.item() for p, v in self.check(arguments)]
        raw: Any = [kind(value) for kind, value in zip(self.types, values)]
        function = self.function

        def run(_keep: Any = arguments) -> None:  # the arrays live as long as the call does
            function(*raw)

        return run

    def __call__(self, *arguments: Any, threads: int = THREADS) -> None:
        try:
            whole = type(threads) is int and threads in _BLOCK
            raw = self._quick(arguments) if whole else None
            if raw is not None:
                self.function(*raw)
                return
        except (TypeError, ValueError, ctypes.ArgumentError):
            pass
        self.bind(*arguments, threads=threads)()  # something is unusual: the way that can say what

    def _quick(self, arguments: tuple[Any, ...]) -> list[Any] | None:
        """Addresses and numbers, where a glance shows that all is well: 3 µs in place of 30."""
        if len(arguments) != self._taken:
            return None
        counts, shapes = self._known.copy(), {}
        raw: list[Any] = []
        extents = []
        given = iter(arguments)
        for name, dtype, axes in self._plan:
            if dtype is None:
                value = counts[name] if name in counts else next(given)
                if not axes[0] <= value <= axes[1]:
                    return None
                raw.append(value)
                continue
            array = next(given)
            if array is None and name in self._optional:
                raw.append(None)
                continue
            if type(array) is not ndarray or array.dtype is not dtype or not array.flags.carray:
                return None
            shape, length = array.shape, array.nbytes
            if axes not in shapes:
                if len(shape) != len(axes) or not length:
                    return None
                for axis, size in zip(axes, shape):
                    if counts.setdefault(axis, size) != size:
                        return None
                shapes[axes] = shape
            elif shape != shapes[axes]:
                return None
            start = _address_of(_memory_of(array))
            raw.append(start)
            extents.append((start, start + length))
        extents.sort()
        end = 0
        for start, stop in extents:
            if start < end:
                return None
            end = stop
        return raw


class GPUKernel(Kernel):
    """A function of a CUDA module, launched on the current stream."""

    def __init__(self, source: Source, entry: Entry, real: str, device: str, module: Any) -> None:
        super().__init__(source, entry, real, device)
        self.function = module.get_function(entry.name)
        self.place = module_for(device).cuda.Device(int(device.partition(":")[2]))

    def bind(self, *arguments: Any, threads: int = THREADS) -> Callable[[], None]:
        self.check_threads(threads)
        values = [value for _, value in self.check(arguments)]
        nothing = np.uint64(0)
        raw = tuple(nothing if value is None else value for value in values)
        grid = (grid_of(self.entry, int(values[-1]), threads),)
        function, place = self.function, self.place

        def run() -> None:
            if grid[0]:  # a grid of no blocks is an error in CUDA
                with place:
                    function(grid, (threads,), raw)

        return run


def grid_of(entry: Entry, count: int, threads: int) -> int:
    """How many blocks cover ``count``, an entry's last parameter: loops take what is over."""
    per_block = threads * _PER_THREAD if entry.kind == "ELEMENTS" else 1
    return min(-(-count // per_block), _LARGEST_GRID)


def _range(kind: Any, type_: str) -> tuple[float, float]:
    """What a number may be; every i64 is a count."""
    if not issubclass(kind, np.integer):
        return -math.inf, math.inf
    limits = np.iinfo(kind)
    return 0 if type_ == "i64" else int(limits.min), int(limits.max)


def _address(array: Any) -> int | None:
    if array is None:
        return None
    return int(array.ctypes.data if array_module(array) is np else array.data.ptr)


def _extent(array: Array) -> tuple[int, int]:
    start = _address(array) or 0
    return start, start + array.nbytes
