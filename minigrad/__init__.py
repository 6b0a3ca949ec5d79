"""minigrad: a deep-learning framework small enough to read.

import minigrad as mg

x = mg.Tensor([1.0, 2.0], requires_grad=True)
(x ** 2).sum().backward()
x.grad                      # array([2., 4.], dtype=float32)
"""

import importlib
from typing import Any

from minigrad import ops
from minigrad.autograd import Tensor, grad, hvp, is_recording, no_grad, vjp
from minigrad.errors import InputError, MissingExtra

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "MissingExtra",
    "Tensor",
    "__version__",
    "cuda_graph",
    "grad",
    "hvp",
    "is_recording",
    "no_grad",
    "ops",
    "vjp",
]

_PARTS = (
    "arena", "backend", "checkpoint", "data", "distributed", "kernels", "metrics", "nn", "optim",
    "plot", "testing", "train",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """``minigrad.nn`` and the other parts are imported when first asked for."""
    if name in _PARTS:
        return importlib.import_module(f"minigrad.{name}")
    if name == "cuda_graph":
        return importlib.import_module("minigrad.capture").cuda_graph
    raise AttributeError(f"module 'minigrad' has no attribute '{name}'")
