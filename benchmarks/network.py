"""The articles' network (D4 §4), 784-128-64-10 with ReLU, in minigrad, PyTorch and JAX.

Everywhere the same first weights and the same random batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.harness import Work
from benchmarks.numpy_step import NumpyStep
from minigrad import nn, ops, optim

__all__ = [
    "LR", "SIZES", "batches", "jax_step", "minigrad_model", "minigrad_step", "numpy_step",
    "torch_model", "torch_step", "weights",
]  # fmt: skip

SIZES = (784, 128, 64, 10)
LR = 1e-4  # slow enough that after thousands of steps gradients are still of an ordinary size

Array = np.ndarray[Any, Any]
Batches = list[tuple[Array, Array]]


def weights(sizes: Sequence[int] = SIZES, seed: int = 0) -> list[tuple[Array, Array]]:
    """The first weight (n, m) and bias (m,) of each layer of a network of ``sizes``, float32."""
    rng = np.random.default_rng(seed)
    return [
        (nn.init.he_uniform(rng, (n, m), "float32"), np.zeros(m, np.float32))
        for n, m in itertools.pairwise(sizes)
    ]


def batches(rows: int, count: int = 4, seed: int = 1) -> Batches:
    """``count`` random batches: x (rows, 784) in [0, 1), labels (rows,) from 0 to 9."""
    rng = np.random.default_rng(seed)
    return [
        (rng.random((rows, SIZES[0]), np.float32), rng.integers(0, SIZES[-1], rows))
        for _ in range(count)
    ]


def minigrad_model(sizes: Sequence[int] = SIZES) -> nn.Sequential:
    """The network with :func:`weights`."""
    layers: list[nn.Module] = []
    for W, b in weights(sizes):
        activation = None if len(layers) == len(sizes) - 2 else "relu"
        dense = nn.Dense(*W.shape, activation=activation, rng=np.random.default_rng(0))
        dense.weight.data = W
        assert dense.bias is not None
        dense.bias.data = b
        layers.append(dense)
    return nn.Sequential(*layers)


def torch_model(torch: Any, sizes: Sequence[int] = SIZES) -> Any:
    """The same in PyTorch, whose weights are (m, n)."""
    layers: list[Any] = []
    for W, b in weights(sizes):
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def minigrad_step(data: Batches) -> Work:
    """A step on the next batch each time it is called; returns the loss."""
    model = minigrad_model()
    optimizer = optim.Adam(model, LR)
    supply = itertools.cycle(data)

    def step() -> Any:
        x, labels = next(supply)
        loss = ops.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step(zero_grad=True)
        return loss

    return step


def numpy_step(data: Batches) -> Work:
    """The same by hand."""
    run = NumpyStep(weights(), len(data[0][0]), LR)
    supply = itertools.cycle(data)
    return lambda: run(*next(supply))


def torch_step(torch: Any, data: Batches) -> Work:
    """The same in PyTorch eager with its fused Adam."""
    model = torch_model(torch)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    cross_entropy = torch.nn.functional.cross_entropy
    supply = itertools.cycle([tuple(map(torch.from_numpy, batch)) for batch in data])

    def step() -> Any:
        x, labels = next(supply)
        optimizer.zero_grad()
        loss = cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def jax_step(libraries: tuple[Any, Any], data: Batches) -> Work:
    """The same in JAX and Optax: one compiled function, which may write over the parameters."""
    jax, optax = libraries
    rule = optax.adam(LR)
    parameters = jax.tree.map(jax.numpy.asarray, weights())
    state = rule.init(parameters)
    supply = itertools.cycle([tuple(map(jax.numpy.asarray, batch)) for batch in data])

    def loss_of(parameters: Any, x: Any, labels: Any) -> Any:
        *hidden, (W, b) = parameters
        for V, c in hidden:
            x = jax.nn.relu(x @ V + c)
        losses = optax.softmax_cross_entropy_with_integer_labels(x @ W + b, labels)
        return losses.mean()

    def update(parameters: Any, state: Any, x: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, labels)
        change, state = rule.update(gradients, state, parameters)
        return optax.apply_updates(parameters, change), state, loss

    compiled = jax.jit(update, donate_argnums=(0, 1))

    def step() -> Any:
        nonlocal parameters, state
        parameters, state, loss = compiled(parameters, state, *next(supply))
        return loss.block_until_ready()

    return step
