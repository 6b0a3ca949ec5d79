"""The arena: parameters and gradients are views of two buffers, and stay so."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import nn, optim
from minigrad.arena import Arena, arenas_of
from minigrad.autograd import Tensor
from minigrad.errors import InputError
from minigrad.nn import Module, Parameter

SHAPES = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.tuples() | st.tuples(st.integers(0, 4)) | st.tuples(st.integers(1, 3), st.integers(1, 3)),
    min_size=1,
    max_size=6,
)


def mlp(seed: int = 0, dtype: str = "float64") -> nn.Sequential:
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Dense(3, 4, rng=rng, dtype=dtype), nn.Tanh(), nn.Dense(4, 2, rng=rng, dtype=dtype)
    )


class Tied(Module):
    def __init__(self) -> None:
        self.encode = Parameter(np.eye(3, 2))
        self.decode = self.encode
        self.bias = Parameter(np.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.encode) @ self.decode.T + self.bias


@given(shapes=SHAPES, data=st.data())
def test_parameters_and_gradients_are_views_in_contiguous_groups(
    shapes: dict[str, tuple[int, ...]], data: st.DataObject
) -> None:
    group_of = {name: data.draw(st.sampled_from(["one", "two"])) for name in shapes}
    groups = {g: [n for n in shapes if group_of[n] == g] for g in ("one", "two")}
    rng = np.random.default_rng(0)
    before = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    parameters = {name: Parameter(array.copy()) for name, array in before.items()}
    gradients = {name: rng.normal(size=shapes[name]) for name in list(shapes)[1:]}
    for name, gradient in gradients.items():
        parameters[name].grad = gradient
    arena = Arena(parameters, groups)
    assert len(arena) == arena.spans[-1].stop
    for name, where in arena.groups.items():
        assert (
            where.start % 16 == 0 or not groups[name]
        )  # packs of a kernel, and cache lines, begin there
        spans = [span for span in arena.spans if group_of[span.name] == name]
        assert [span.start for span in spans] == [where.start, *(s.stop for s in spans)][:-1]
        inside = [span.name for span in spans]
        assert inside == groups[name][::-1]
        assert where.stop - where.start == sum(before[n].size for n in inside)
    for name, parameter in parameters.items():
        np.testing.assert_array_equal(parameter.data, before[name])
        np.testing.assert_array_equal(parameter.grad, gradients.get(name, np.zeros(shapes[name])))
        assert (parameter.arena, parameter.name) == (arena, name)
    arena.data[:], arena.grad[:] = 7, 8
    for parameter in parameters.values():
        assert (parameter.data == 7).all()
        assert (parameter.grad == 8).all()
    arena.zero_grad()
    assert not arena.grad.any()


def test_groups_must_hold_every_parameter_once() -> None:
    parameters = mlp().named_parameters()
    first = next(iter(parameters))
    for groups in ({"a": [first]}, {"a": list(parameters), "b": [first]}):
        with pytest.raises(InputError, match="must hold each of its parameters once"):
            Arena(parameters, groups)


def test_views_are_never_rebound() -> None:
    model = mlp()
    optimizer = optim.Adam(model, 0.1)
    parameters = model.parameters()
    before = [(p.data, p.grad) for p in parameters]
    arena = optimizer.arenas[0]
    for _ in range(3):
        optimizer.zero_grad()
        model(np.ones((5, 3))).sum().backward()
        optimizer.step()
    for parameter in parameters:
        parameter.data = parameter.data * 2
        parameter.grad = parameter.grad + 1
    model.load_state_dict(mlp(seed=4).state_dict())
    for p, (data, grad) in zip(parameters, before):
        assert p.data is data
        assert p.grad is grad
        assert np.shares_memory(data, arena.data)
        assert np.shares_memory(grad, arena.grad)


def test_a_tied_weight_is_one_span_that_is_ready_once() -> None:
    model = Tied()
    arena = optim.SGD(model, 0.1).arenas[0]
    assert sorted(span.name for span in arena.spans) == ["bias", "encode"]
    ready: list[str] = []
    for name, leaf in arena.leaves.items():
        leaf.on_ready = lambda leaf, name=name: ready.append(f"{name} {leaf.grad.sum():.0f}")
    model(np.ones((1, 3))).sum().backward()
    alone = Tied()
    alone.encode, alone.decode = Parameter(np.eye(3, 2)), Parameter(np.eye(3, 2))
    alone(np.ones((1, 3))).sum().backward()
    both = alone.encode.grad + alone.decode.grad
    np.testing.assert_array_equal(model.encode.grad, both)
    assert sorted(ready) == ["bias 3", f"encode {both.sum():.0f}"]


def test_frozen_parameters_stay_out() -> None:
    model = mlp()
    model[0].freeze()
    frozen = model[0].weight.data.copy()
    optimizer = optim.SGD(model, 0.1)
    assert {s.name for s in optimizer.arenas[0].spans} == {"layers.2.weight", "layers.2.bias"}
    model(np.ones((5, 3))).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(model[0].weight.data, frozen)
    with pytest.raises(InputError, match="no parameter to train"):
        optim.SGD(mlp().freeze(), 0.1)


def test_an_arena_for_each_dtype() -> None:
    model = nn.Sequential(mlp(dtype="float32"), nn.Dense(2, 2, rng=np.random.default_rng(0)))
    model.layers.append(nn.LayerNorm(2, dtype="float64"))
    arenas = optim.SGD(model, 0.1).arenas
    assert {arena.data.dtype.name: len(arena) for arena in arenas} == {
        "float32": 32 + 4 + 2 + 2,  # 24 weights, and biases from the next multiple of 16 on
        "float64": 4,
    }
    assert all(arena.grad.dtype == arena.data.dtype for arena in arenas)


def test_a_second_optimizer_shares_the_arena_or_takes_the_parameters() -> None:
    model = mlp()
    one = optim.SGD(model, 0.1)
    assert optim.Adam(model, 0.1).arenas[0] is one.arenas[0]
    other: list[Any] = [
        {"groups": {"head": {"match": "layers.2.*", "lr": 1.0}}, "parameters": model},
        {"parameters": model[2]},
        {"parameters": {"x": model[0].weight}},
        {"parameters": nn.Sequential(model, mlp())},
    ]
    assert arenas_of(model.named_parameters(), _by_axes(model)) == one.arenas
    for options in other:
        before, values = optim.SGD(model, 0.1), model[2].weight.data.copy()
        after = optim.SGD(options.pop("parameters"), 0.1, **options)
        assert before.arenas[0].moved
        assert not after.arenas[0].moved
        np.testing.assert_array_equal(model[2].weight.data, values)
        for action in (before.zero_grad, before.step):
            with pytest.raises(InputError, match="parameters have moved"):
                action()
        model(np.ones((5, 3))).sum().backward()
        after.step()


def test_freezing_and_moving_leave_the_arena() -> None:
    model = mlp()
    old = optim.SGD(model, 0.1)
    model[0].freeze()
    with pytest.raises(InputError, match="make a new optimizer"):
        old.zero_grad()
    new, frozen = optim.SGD(model, 0.1), model[0].weight.data.copy()
    model(np.ones((5, 3))).sum().backward()
    before = model[2].weight.data.copy()
    new.step()
    np.testing.assert_array_equal(model[0].weight.data, frozen)
    assert (model[2].weight.data != before).any()


def test_a_deep_copy_is_a_model_of_its_own() -> None:
    model = mlp()
    optim.SGD(model, 0.1)
    twin = copy.deepcopy(model)
    optimizer = optim.SGD(twin, 0.1)
    twin(np.ones((5, 3))).sum().backward()
    before = model[0].weight.data.copy()
    optimizer.step()
    np.testing.assert_array_equal(model[0].weight.data, before)
    assert (twin[0].weight.data != before).any()
    assert twin.state_dict().keys() == model.state_dict().keys()


def _by_axes(model: Module) -> dict[str, list[str]]:
    named = model.named_parameters().items()
    return {
        "decay": [name for name, p in named if p.ndim > 1],
        "no_decay": [name for name, p in named if p.ndim < 2],
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda model, optimizer: optimizer.step(),
        lambda model, optimizer: model.load_state_dict(mlp(seed=1).state_dict()),
        lambda model, optimizer: setattr(model[2].weight, "data", 1.0),
    ],
    ids=["step", "load_state_dict", "data"],
)
def test_an_update_between_forward_and_backward_is_caught(change: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model, 0.1)
    model(np.ones((5, 3))).sum().backward()
    loss = model(np.ones((5, 3))).sum()
    change(model, optimizer)
    says = re.escape("kept parameter 'layers.2.weight' for backward, but it has been overwritten")
    with pytest.raises(InputError, match=says):
        loss.backward()
    model(np.ones((5, 3))).sum().backward()


def test_a_graph_from_before_the_arena_is_caught() -> None:
    model = mlp()
    loss = model(np.ones((5, 3))).sum()
    optim.SGD(model, 0.1)
    with pytest.raises(InputError, match="has been overwritten since"):
        loss.backward()
