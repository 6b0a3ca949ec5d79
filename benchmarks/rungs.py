"""The rungs of the ladder in kernels/README.md: AdamW from NumPy passes to one kernel.

A rung is a function ``make(state, hyper)``, whose result does one step each time it is called.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Work
from minigrad import optim
from minigrad.backend import Array, aligned_zeros, array_module, device_of, module_for, to_device
from minigrad.kernels import kernel, source
from minigrad.kernels.build import compile_host, compiler, gpu_module
from minigrad.kernels.launch import CPUKernel, GPUKernel, Kernel
from minigrad.optim.compiled import numbers
from minigrad.optim.executor import CHUNK
from minigrad.optim.norm import neutral
from minigrad.optim.regularisation import decayed

__all__ = [
    "BYTES",
    "FOLDER",
    "HYPER",
    "RUNGS",
    "Rung",
    "State",
    "constants",
    "load",
    "sources",
    "state",
]

FOLDER = Path(__file__).parent.parent / "kernels" / "ladder"
BYTES = 28  # what AdamW cannot do without: θ, m, v read and written, g read; in float32
# β₁ is so near 1 that gradients that were zeroed do not lead m to denormals, which are slow
HYPER: dict[str, Any] = {
    "eta": 1e-4, "t": 1, "beta1": 1 - 1e-6, "beta2": 0.999, "epsilon": 1e-8,
    "epsilon_placement": "outside", "weight_decay": 0.01, "scale": 1.0, "clip_value": None,
    "l1": 0.0, "l2": 0.0, "proximal_l1": 0.0, "zero": False,
}  # fmt: skip


@dataclass
class State:
    """Parameters, gradient and both moments: arrays of one length, on one device."""

    theta: Array
    g: Array
    m: Array
    v: Array

    def __getitem__(self, cut: slice) -> State:
        return State(self.theta[cut], self.g[cut], self.m[cut], self.v[cut])


def formula(s: State, h: Mapping[str, Any]) -> Work:
    """The teaching step: every operation makes a new array."""
    names = ("eta", "beta1", "beta2", "epsilon")

    def step() -> None:
        theta = decayed(s.theta, h["eta"], h["weight_decay"])
        s.theta, s.m, s.v = optim.adam_step(
            theta, s.g, s.m, s.v, h["t"], **{name: h[name] for name in names}
        )

    return step


def in_place(s: State, h: Mapping[str, Any], scratch: Array | None = None) -> Work:
    """Both corrections in two numbers, and results where there is memory already."""
    scratch = array_module(s.theta).empty_like(s.theta) if scratch is None else scratch

    def step() -> None:
        theta = s.theta
        theta *= 1 - h["eta"] * h["weight_decay"]
        optim.Adam.in_place(theta, s.g, s.m, s.v, scratch, scratch, h)

    return step


def in_blocks(s: State, h: Mapping[str, Any]) -> Work:
    """All passes over one block before the next: they find it in the cache."""
    scratch = np.empty_like(s.theta[:CHUNK])
    starts = range(0, s.theta.size, CHUNK)
    blocks = [s[start : start + CHUNK] for start in starts]
    steps = [in_place(block, h, scratch[: block.theta.size]) for block in blocks]

    def step() -> None:
        for one in steps:
            one()

    return step


def one_kernel(name: str, s: State, h: Mapping[str, Any]) -> Work:
    """A kernel of the ladder that takes what naive.cu takes."""
    return load(name, s.theta).bind(s.theta, s.g, s.m, s.v, *constants(h))


def constants(h: Mapping[str, Any]) -> tuple[float, ...]:
    """What a kernel of the ladder is given: everything that is the same for all elements."""
    c = optim.Adam.constants(h)
    keep, beta1, beta2 = 1 - h["eta"] * h["weight_decay"], c["beta1"], c["beta2"]
    return keep, beta1, 1 - beta1, beta2, 1 - beta2, c["eta"], c["epsilon"]


def final(s: State, h: Mapping[str, Any]) -> Work:
    """The library's, which reads its numbers from memory."""
    found = kernel("adam", like=s.theta)
    assert found is not None, "left_out() said that there is one"
    hyper = to_device(np.array(numbers(optim.AdamW, h), float), device_of(s.theta))
    return found.bind(s.theta, s.g, s.m, s.v, hyper, neutral(array_module(s.theta)))


def folded(s: State, h: Mapping[str, Any]) -> Work:
    """With what training asks for besides: the scale of a clipped gradient, and zeros after it."""
    return final(s, {**h, "scale": 0.5, "zero": True})


def apart(s: State, h: Mapping[str, Any]) -> Work:
    """The same in passes of their own."""
    scale_by, zero = load("scale_by", s.theta), load("zero", s.theta)
    passes = [
        scale_by.bind(s.g, 0.5),
        scale_by.bind(s.theta, 1 - h["eta"] * h["weight_decay"]),
        final(s, {**h, "weight_decay": 0.0}),
        zero.bind(s.g),
    ]

    def step() -> None:
        for one in passes:
            one()

    return step


@dataclass(frozen=True)
class Rung:
    """A way to do one step: ``make(state, hyper)`` gives the call.

    ``bytes`` are those a float32 parameter moves to and from memory, ``passes`` how often arrays
    are walked through; ``on`` says where it runs: ``"all"`` cores, one ``"core"``, ``"gpu"``.
    Rungs that say of themselves the same ``computes`` must come to the same numbers.
    """

    number: int
    name: str
    passes: int
    bytes: int
    make: Callable[[State, Mapping[str, Any]], Work]
    on: tuple[str, ...] = ("core", "gpu")
    compiled: bool = True
    computes: str = "AdamW"


CLIPPED = "AdamW of a clipped gradient, then zeros"
RUNGS = (
    Rung(0, "the formula in NumPy", 15, 136, formula, compiled=False),
    Rung(1, "in place", 13, 120, in_place, compiled=False),
    Rung(2, "in blocks", 13, BYTES, in_blocks, ("core",), compiled=False),
    Rung(3, "a naive kernel", 1, BYTES, partial(one_kernel, "adam_naive")),
    Rung(4, "vectors", 1, BYTES, partial(one_kernel, "adam_vectors")),
    Rung(5, "adam.cu", 1, BYTES, final, ("core", "all", "gpu")),
    Rung(6, "clip, decay, zero apart", 4, 48, apart, ("core", "all", "gpu"), computes=CLIPPED),
    Rung(6, "clip, decay, zero folded in", 1, 32, folded, ("core", "all", "gpu"), computes=CLIPPED),
)


@cache
def sources() -> dict[str, source.Source]:
    """The ladder's files by kernel; their headers are the library's."""
    headers = {p.name: p.read_text(encoding="utf-8") for p in source.folder().glob("*.cuh")}
    found: dict[str, source.Source] = {}
    for path in sorted(FOLDER.glob("*.cu")):
        own = source._read(path)
        whole = source.Source(own.name, path, headers | own.files, own.entries, own.structs)
        found |= dict.fromkeys(own.entries, whole)
    return found


def load(name: str, like: Array) -> Kernel:
    """The ladder's kernel ``name`` for the dtype and device of ``like``."""
    file, real, device = sources()[name], like.dtype.name, device_of(like)
    entry = file.entries[name]
    if device != "cpu":
        module = gpu_module(file, real, int(device.partition(":")[2]))
        return GPUKernel(file, entry, real, device, module)
    return CPUKernel(file, entry, real, _library(file, real))


@cache
def _library(file: source.Source, real: str) -> ctypes.CDLL:
    plain = ["-fno-tree-vectorize"] if file.name == "naive" else []
    command = compiler()
    assert command is not None, "left_out() said that there is one"
    return compile_host((*command, f"-I{source.folder()}", *plain), file, real)


def state(n: int, device: str = "cpu", dtype: Any = np.float32) -> State:
    """Random parameters and gradients, and moments as after some steps."""
    xp = module_for(device)
    arrays = [aligned_zeros(xp, n, dtype) for _ in range(4)]
    rng = xp.random.RandomState(0)
    for array in arrays:
        array[...] = rng.standard_normal(n).astype(dtype)
    xp.square(arrays[3], out=arrays[3])
    return State(*arrays)
