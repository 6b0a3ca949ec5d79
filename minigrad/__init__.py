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
"""The version of this package."""

__all__ = [
    "InputError",
    "MissingExtra",
    "Tensor",
    "__version__",
    "cuda_graph",
    "explain",
    "explain_ranks",
    "grad",
    "hvp",
    "is_recording",
    "no_grad",
    "ops",
    "vjp",
]

_PARTS = (
    "arena", "backend", "checkpoint", "data", "distributed", "explanation", "kernels", "metrics",
    "nn", "optim", "plot", "testing", "train",
)  # fmt: skip
_FUNCTIONS = {
    "cuda_graph": "minigrad.capture",
    "explain": "minigrad.explanation",
    "explain_ranks": "minigrad.explanation",
}


def __getattr__(name: str) -> Any:
    """Parts and functions that need more than the engine are imported when first asked for."""
    if name in _PARTS:
        return importlib.import_module(f"minigrad.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'minigrad' has no attribute '{name}'")
