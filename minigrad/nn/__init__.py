"""Layers, initialisers, and Module, which holds them together."""

from minigrad.nn import init
from minigrad.nn.context import Context
from minigrad.nn.dropout import Dropout
from minigrad.nn.embedding import Embedding
from minigrad.nn.layers import (
    ELU,
    GELU,
    Dense,
    Flatten,
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
from minigrad.nn.normalisation import BatchNorm1d, LayerNorm
from minigrad.nn.summary import summary, watch

__all__ = [
    "ELU",
    "GELU",
    "BatchNorm1d",
    "Context",
    "Dense",
    "Dropout",
    "Embedding",
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


def __getattr__(name: str) -> object:
    elsewhere = {
        "Linear": "Dense(inputs, outputs, rng=rng)",
        "CrossEntropyLoss": "ops.cross_entropy",
    }
    hint = f"; what you look for is {elsewhere[name]}" if name in elsewhere else ""
    raise AttributeError(f"module 'minigrad.nn' has no attribute '{name}'{hint}")
