"""Module: what it finds in itself, its state and modes; summary() and watch()."""

from __future__ import annotations

import re

import numpy as np
import pytest

from minigrad import nn, ops
from minigrad.autograd import Tensor
from minigrad.errors import InputError
from minigrad.nn import Module, Parameter


class Tied(Module):
    """y = tanh(xW)Wᵀ + b, and W is the weight of ``first`` as well as ``last``."""

    def __init__(self) -> None:
        self.first = nn.Dense(3, 2, rng=np.random.default_rng(0), bias=False, dtype="float64")
        self.last = self.first.weight
        self.shifts = [Parameter(np.zeros(3))]

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(self.first(x)) @ self.last.T + self.shifts[0]


def model() -> nn.Sequential:
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Dense(4, 3, rng=rng), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.5, rng=rng),
        nn.Dense(3, 2, rng=rng),
    )  # fmt: skip


NAMES = [
    "layers.0.weight", "layers.0.bias", "layers.1.scale", "layers.1.shift",
    "layers.4.weight", "layers.4.bias",
]  # fmt: skip
BUFFERS = ["layers.1.running_mean", "layers.1.running_var", "layers.3.key"]


def test_names() -> None:
    assert list(model().named_parameters()) == NAMES
    assert list(model().state_dict()) == NAMES + BUFFERS
    paths = [path for path, _ in model().named_modules()]
    assert paths == ["", *(f"layers.{i}" for i in range(5))]


def test_tied_weights_are_one_parameter_under_two_names() -> None:
    tied = Tied()
    assert list(tied.named_parameters()) == ["last", "shifts.0"]
    assert list(tied.state_dict()) == ["last", "shifts.0", "first.weight"]
    assert len(tied.parameters()) == 2
    twin = Tied()
    twin.load_state_dict({name: a + 1 for name, a in tied.state_dict().items()})
    np.testing.assert_array_equal(twin.last.data, tied.last.data + 1)
    assert twin.first.weight is twin.last


def test_state_goes_into_a_twin() -> None:
    one, two = model(), model()
    for i, array in enumerate(one.state_dict().values()):
        array += array.dtype.type(i + 1)
    one_arrays = list(two.state_dict().values())
    two.load_state_dict(one.state_dict())
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(two.state_dict()[name], array)
    assert all(a is b for a, b in zip(one_arrays, two.state_dict().values()))


def test_a_state_that_does_not_fit_is_told_in_full_and_changes_nothing() -> None:
    target = model()
    before = {name: array.copy() for name, array in target.state_dict().items()}
    state = {name: array + array.dtype.type(1) for name, array in before.items()}
    del state["layers.0.bias"], state["layers.3.key"]
    state |= {"extra": np.zeros(2), "layers.1.running_mean": np.zeros(7)}
    state["layers.4.weight"] = np.zeros((2, 3), np.float32)
    with pytest.raises(InputError) as caught:
        target.load_state_dict(state)
    for part in (
        "this Sequential: missing: layers.0.bias; missing: layers.3.key; unexpected: extra;",
        "layers.4.weight: shape (2, 3) given, (3, 2) expected",
        "layers.1.running_mean: shape (7,) given, (3,) expected",
    ):
        assert part in str(caught.value)
    for name, array in target.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_modes_and_context_reach_every_layer() -> None:
    outer, context = nn.Sequential(model(), model()), nn.Context()
    outer.attach(context)
    assert all(module.context is context for module in outer.modules())
    assert all(module.training for module in outer.train().modules())
    assert not any(module.training for module in outer.eval().modules())


def test_freeze() -> None:
    network = model()
    assert network[0].freeze() is network[0]
    wanted = [name for name, p in network.named_parameters().items() if p.requires_grad]
    assert wanted == NAMES[2:]
    network(np.ones((5, 4))).sum().backward()
    assert network[0].weight.grad is None
    assert network[4].weight.grad is not None


def test_a_module_without_forward() -> None:
    with pytest.raises(TypeError, match=re.escape("Module defines no forward(self, x)")):
        Module()(np.ones(3))


def test_summary() -> None:
    network = nn.Sequential(nn.Flatten(), model())
    network[1][0].freeze()
    rows = [
        "layer                              output      parameters  bytes",
        "----------------------------------------------------------------",
        "layers.0: Flatten()                (batch, 4)           0      0",
        "layers.1.layers.0: Dense(4, 3)     (batch, 3)          15     60",
        "layers.1.layers.1: BatchNorm1d(3)  (batch, 3)           6     24",
        "layers.1.layers.2: ReLU()          (batch, 3)           0      0",
        "layers.1.layers.3: Dropout(0.5)    (batch, 3)           0      0",
        "layers.1.layers.4: Dense(3, 2)     (batch, 2)           8     32",
        "----------------------------------------------------------------",
        "total                                                  29    116",
        "of these frozen: 15 parameters",
    ]
    assert nn.summary(network, (2, 2)).splitlines() == rows


def test_summary_counts_a_tied_weight_once_and_leaves_the_model_as_it_was() -> None:
    layer = nn.Dense(4, 4, rng=np.random.default_rng(0), dtype="float64")
    network = nn.Sequential(layer, nn.BatchNorm1d(4, dtype="float64"), layer)
    network[1].eval()
    text = nn.summary(network, (4,))
    assert text.splitlines()[-1].split() == ["total", "28", "224"]
    assert [module.training for module in network.modules()] == [True, True, False, True]
    assert not network[1].running_mean.any()
    assert network.on_forward is None
    assert nn.summary(nn.ReLU(), (3,)).splitlines()[2].startswith("model: ReLU()  (batch, 3)")


def test_watch_sees_the_layers_in_order_even_when_one_fails() -> None:
    network = model()
    watching = nn.watch(network)
    with watching as outputs:
        network(np.ones((5, 4), np.float32))
        assert [path for path, _, _ in outputs] == [*(f"layers.{i}" for i in range(5)), ""]
    with pytest.raises(InputError), watching:
        network(np.ones((5, 3), np.float32))
    assert len(outputs) == 6
    assert all(module.on_forward is None for module in network.modules())
