"""Layers, initialisers, and Module, which holds them together."""

from minigrad.nn import init
from minigrad.nn.layers import (
    ELU,
    GELU,
    BatchNorm1d,
    Dense,
    Dropout,
    Flatten,
    LayerNorm,
    LeakyReLU,
    PReLU,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from minigrad.nn.module import Module, Parameter
from minigrad.nn.summary import summary, watch

__all__ = [
    "ELU",
    "GELU",
    "BatchNorm1d",
    "Dense",
    "Dropout",
    "Flatten",
    "LayerNorm",
    "LeakyReLU",
    "Module",
    "PReLU",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "init",
    "summary",
    "watch",
]
