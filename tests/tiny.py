"""A problem small enough to be trained hundreds of times: ``from tiny import train``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from minigrad import nn, ops, optim
from minigrad.data import DataLoader
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Reducer
from minigrad.train import Run, fit

FEATURES, CLASSES = 4, 3
LOSS = partial(ops.cross_entropy, reduction="none")
OPTIMIZERS = {
    "sgd": lambda model: optim.SGD(model, 0.1, l2=0.01),
    "momentum": lambda model: optim.SGD(model, 0.05, momentum=0.9, nesterov=True),
    "adam": lambda model: optim.Adam(model, optim.Cosine(0.01, T=20)),
    "adamw": lambda model: optim.AdamW(model, 0.01, weight_decay=0.1),
    "adagrad": lambda model: optim.Adagrad(model, 0.05, l1=0.001),
    "rmsprop": lambda model: optim.RMSprop(model, 0.01, proximal_l1=0.01),
    "lion": lambda model: optim.Lion(model, 0.003),
    "lamb": lambda model: optim.LAMB(model, 0.01),
    "plateau": lambda model: optim.SGD(
        model, optim.ReduceOnPlateau(0.2, patience=0, threshold=0.5, factor=0.5), momentum=0.9
    ),
}


def data(samples: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Classes that a linear map and some noise make, (samples, FEATURES) and (samples,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, FEATURES))
    return x, (x @ rng.normal(size=(FEATURES, CLASSES)) + rng.normal(size=CLASSES)).argmax(-1)


def network(
    seed: int = 0,
    dropout: float = 0.0,
    batch_norm: bool = False,
    dtype: str = "float64",
    size: int = 5,
) -> nn.Sequential:
    """Dense, perhaps batch norm, tanh, perhaps dropout, dense."""
    rng = np.random.default_rng(seed)
    # a bias before batch norm has the gradient 0, and an optimizer that divides by the
    # gradient's size would make large steps of its rounding errors
    layers: list[nn.Module] = [nn.Dense(FEATURES, size, rng=rng, bias=not batch_norm, dtype=dtype)]
    # two rows that nearly agree have a variance near 0, and 1/√ε would magnify their rounding
    layers += [nn.BatchNorm1d(size, epsilon=0.1, dtype=dtype)] * batch_norm
    layers += [nn.Tanh()]
    layers += [nn.Dropout(dropout, rng=rng)] * (dropout > 0)
    return nn.Sequential(*layers, nn.Dense(size, CLASSES, rng=rng, dtype=dtype))


def train(
    comm: Communicator | None = None,
    *,
    model: nn.Module | None = None,
    optimizer: str | optim.Optimizer = "momentum",
    samples: int = 29,
    batch_size: int = 8,
    epochs: int = 2,
    bucket_bytes: int = 1 << 20,
    reducer: Reducer | None = None,
    **options: Any,
) -> Run:
    """``fit`` on :func:`data`, validated on nine other samples."""
    comm = SerialCommunicator() if comm is None else comm
    model = network() if model is None else model
    if isinstance(optimizer, str):
        optimizer = OPTIMIZERS[optimizer](model)
    parallel = DataParallel(model, optimizer, comm, reducer=reducer, bucket_bytes=bucket_bytes)
    return go_on(parallel, samples=samples, batch_size=batch_size, epochs=epochs, **options)


def go_on(
    parallel: DataParallel, *, samples: int = 29, batch_size: int = 8, epochs: int, **options: Any
) -> Run:
    """``fit`` as :func:`train` calls it."""
    ranks = parallel.replicas
    loader = DataLoader(*data(samples), batch_size=batch_size, rank=ranks.rank, size=ranks.size)
    options = {"validation": data(9, seed=6), "check_every": 2, **options}
    return fit(parallel, LOSS, loader, epochs=epochs, **options)


def facts(run: Run | Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The history without what the clock says."""
    history = run.history if isinstance(run, Run) else run
    clock = ("seconds", "samples_per_s")
    return [{k: v for k, v in record.items() if k not in clock} for record in history]


def same(one: Run, other: Run, tolerance: float = 0.0) -> None:
    """Assert that two runs have the same history and leave the same model."""
    for a, b in zip(facts(one), facts(other), strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(
            list(a.values()), list(b.values()), rtol=tolerance, atol=tolerance
        )
    state, twin = one.model.state_dict(), other.model.state_dict()
    assert state.keys() == twin.keys()
    for name in state:
        np.testing.assert_allclose(
            state[name], twin[name], rtol=tolerance, atol=tolerance, err_msg=name
        )
