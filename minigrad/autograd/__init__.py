"""Reverse-mode automatic differentiation (article D1 §3.2): Tensor, op, backward, grad."""

from minigrad.autograd.functions import grad, hvp, vjp
from minigrad.autograd.graph import Leaf, Node, Version, number
from minigrad.autograd.mode import is_recording, no_grad
from minigrad.autograd.op import op, within
from minigrad.autograd.plan import Op, functions
from minigrad.autograd.tensor import Tensor, as_array

__all__ = [
    "Leaf",
    "Node",
    "Op",
    "Tensor",
    "Version",
    "as_array",
    "functions",
    "grad",
    "hvp",
    "is_recording",
    "no_grad",
    "number",
    "op",
    "vjp",
    "within",
]
