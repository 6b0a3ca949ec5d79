"""The articles' programs against Keras: from the same weights, on the same batches, how far apart
the losses are at any step of three epochs. Nothing here is timed.

In float64 Keras is followed as it is. In float32 two things part any two libraries. Keras's Adam
takes its bias correction in float32, where β₂ = 0.999 is rounded and 1 − β₂ᵗ keeps five digits at
best; its steps are up to 3e-5 too long or too short, and training magnifies that a thousandfold.
:func:`exact_rate` is a schedule that makes up for it, as if that one factor were taken in double
precision; nothing of Keras is replaced, and the comparison is shown with and without. And a ReLU's
input as near to 0 as 1e-8 may be above it in one library and below it in the other, and from there
on the two train apart; which first weights come across one is chance, so there are three draws.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result, Row, spread
from minigrad.data import DataLoader
from minigrad.errors import InputError
from tutorials.articles import c1, c3, c4

__all__ = [
    "CASES",
    "DRAWS",
    "EPOCHS",
    "GOAL",
    "Case",
    "differences",
    "exact_rate",
    "in_float64",
    "keras_on_jax",
    "run",
]

EPOCHS, BATCH, GOAL = 3, 32, 1e-4
DRAWS = (1, 2, 0)


@dataclass(frozen=True)
class Case:
    """A program: its own ``losses`` of (model, x, y), and what Keras needs to follow it.

    The Keras model has dense layers of ``units`` with ReLU between them and ``last`` at the end,
    ``loss`` of keras is its loss, and ``decay`` that of its rate: η₀/(1 + decay·t). With ``whole``
    one step on all data follows the epochs.
    """

    data: Callable[[], tuple[Any, Any]]
    build: Callable[[np.random.Generator], Any]
    losses: Callable[[Any, Any, Any], Sequence[float]]
    units: tuple[int, ...]
    last: str | None
    loss: Callable[[Any], Any]
    decay: float = 0.0
    whole: bool = False


def _c3(from_logits: bool) -> Case:
    return Case(
        c3.data,
        c3.build,
        lambda *given: c3.train(*given, EPOCHS, from_logits=from_logits),
        (256, 128, 64, 32, 16, 8, 1),
        "sigmoid",
        lambda keras: keras.losses.BinaryCrossentropy(from_logits=from_logits),
        decay=0.0001,
        whole=True,
    )


def _c4(printed: bool) -> Case:
    return Case(
        c4.data,
        lambda rng: c4.build(rng, printed),
        lambda *given: c4.train(*given, EPOCHS),
        (128, 64, 10),
        "softmax" if printed else None,
        lambda keras: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )


CASES = {
    "C1": Case(
        c1.data,
        c1.build,
        lambda *given: c1.train(*given, EPOCHS),
        (128, 128, 10),
        "softmax",
        lambda keras: keras.losses.CategoricalCrossentropy(),
    ),
    "C3": _c3(from_logits=False),
    "C3, two sigmoids as printed": _c3(from_logits=True),
    "C4": _c4(printed=False),
    "C4, two softmaxes as printed": _c4(printed=True),
}


def keras_on_jax() -> Any:
    """Keras 3 on JAX on the CPU, or ``None`` where one of them is not installed.

    Raises :class:`InputError` if Keras runs on something else in this process already.
    """
    if None in (find_spec("keras"), find_spec("jax")):
        return None
    importlib.import_module("jax").config.update("jax_platforms", "cpu")
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "jax"  # read once, when keras is imported
    try:
        keras = importlib.import_module("keras")
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = before
    if keras.backend.backend() != "jax":
        raise InputError(
            f"Keras runs on {keras.backend.backend()} in this process, and JAX is needed: "
            "start a new process that does not import keras before"
        )
    return keras


def exact_rate(keras: Any, rate: Any, adam: Any, steps: int) -> Any:
    """The schedule ``rate`` for so many steps of ``adam``, over what its correction
    √(1−β₂ᵗ)/(1−β₁ᵗ) in float32 is too large: the product is rounded once, from double precision."""
    ops, t = keras.ops, np.arange(1, steps + 1)
    exact = np.sqrt(1 - adam.beta_2**t) / (1 - adam.beta_1**t)

    class ExactRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: Any) -> Any:
            number = ops.cast(step + 1, "float32")
            power1 = ops.power(ops.cast(adam.beta_1, "float32"), number)
            power2 = ops.power(ops.cast(adam.beta_2, "float32"), number)
            rounded = ops.sqrt(1 - power2) / (1 - power1)  # word for word as in Keras
            return rate(step) * ops.take(ops.convert_to_tensor(exact, "float32"), step) / rounded

    return ExactRate()


def differences(
    keras: Any,
    name: str,
    *,
    draw: int = DRAWS[0],
    exact: bool = True,
    steps: int | None = None,
) -> Any:
    """Of program ``name`` of :data:`CASES`: the relative difference of each step's loss from
    Keras's, (steps,), by default of all. Both start from the weights that minigrad draws, with the
    seed ``draw``, in Keras's default dtype. ``exact=False`` is Keras with its own rounding of the
    bias correction."""
    case, dtype = CASES[name], keras.config.floatx()
    x, y = (part.astype(dtype) if part.dtype.kind == "f" else part for part in case.data())
    model = case.build(np.random.default_rng(draw))
    for parameter in model.parameters():
        parameter.requires_grad = False
        parameter.rebind(parameter.data.astype(dtype))
        parameter.requires_grad = True
    batches = list(_batches(x, y, case.whole))
    layers = [keras.layers.Flatten()]
    layers += [keras.layers.Dense(units, activation="relu") for units in case.units[:-1]]
    layers += [keras.layers.Dense(case.units[-1], activation=case.last)]
    other = keras.Sequential([keras.layers.Input(x.shape[1:]), *layers])
    other.set_weights([parameter.numpy() for parameter in model.parameters()])
    # Keras 3 has no Adam(decay=…) any longer; this schedule is what it meant
    rate = keras.optimizers.schedules.InverseTimeDecay(0.001, 1, case.decay)
    adam = keras.optimizers.Adam(rate)
    if exact:
        adam = keras.optimizers.Adam(exact_rate(keras, rate, adam, len(batches)))
    other.compile(optimizer=adam, loss=case.loss(keras))

    theirs = []
    for inputs, labels in batches[:steps]:
        other.reset_metrics()  # or the mean over all steps so far comes back
        theirs.append(float(other.train_on_batch(inputs, labels)))
    expected = np.array(theirs)
    found = np.array(case.losses(model, x, y))[:steps]
    return np.abs(found - expected) / np.abs(expected)


def _batches(x: Any, y: Any, whole: bool) -> Iterator[tuple[Any, Any]]:
    loader = DataLoader(x, y, batch_size=BATCH)
    for epoch in range(EPOCHS):
        for batch in loader.epoch(epoch):
            yield batch.x, batch.y
    if whole:
        yield x, y


def run() -> Result:
    """The largest relative difference of every program."""
    keras = keras_on_jax()
    if keras is None:
        raise InputError(
            "this needs Keras and JAX: install them with python -m pip install -e '.[parity]'"
        )
    result = Result(
        f"losses of {EPOCHS} epochs, the largest relative difference from Keras at any step"
        f", median of {len(DRAWS)} draws of the first weights"
    )
    ways = {
        "float32, its bias correction made exact": lambda name: [
            float(differences(keras, name, draw=draw).max()) for draw in DRAWS
        ],
        "float32, with its own rounding of 1 − β₂ᵗ": lambda name: [
            float(differences(keras, name, draw=draw, exact=False).max()) for draw in DRAWS
        ],
        "float64": in_float64,
    }
    for what, worst in ways.items():
        for name in CASES:
            row = f"{name}, minigrad and Keras in {what}"
            goal = None if "own" in what else GOAL
            result.rows.append(Row(row, spread(worst(name)), "relative", goal=goal))
    result.notes.append(f"Keras {keras.__version__} on JAX, on the CPU")
    return result


def in_float64(name: str, draws: Sequence[int] = DRAWS) -> list[float]:
    """The largest relative difference for each draw, from Keras as it is, in float64: in a process
    of its own, since JAX chooses its precision once."""
    code = (
        "import sys; from benchmarks import parity; keras = parity.keras_on_jax(); "
        "keras.config.set_floatx('float64'); "
        "print(*(parity.differences(keras, sys.argv[1], draw=int(draw), exact=False).max() "
        "for draw in sys.argv[2:]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, name, *map(str, draws)],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [float(number) for number in ran.stdout.split()]
