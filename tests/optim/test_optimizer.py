"""What all optimizers share: groups, regularisation, rates, state, and what bad input gets."""

import inspect
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import optim
from minigrad.arena import Arena
from minigrad.autograd import Tensor
from minigrad.errors import InputError
from minigrad.nn import Module
from minigrad.optim import executor


def test_weights_are_decayed_and_biases_are_not(kit):
    optimizer = optim.SGD(kit.parameters(), 0.1, weight_decay=0.5)
    before = kit.by_name(optimizer)
    optimizer.zero_grad()
    optimizer.step()
    assert set(optimizer.groups) == {"decay", "no_decay"}
    for name, value in kit.by_name(optimizer).items():
        np.testing.assert_allclose(value, before[name] * (0.95 if "weight" in name else 1))


def test_named_groups_override_by_pattern(kit):
    groups = {"head": {"match": "head.*", "lr": 0.5}, "b": {"match": ["body.bias"], "l2": 1.0}}
    optimizer = optim.SGD(kit.parameters(), 0.1, weight_decay=0.2, groups=groups)
    before = kit.by_name(optimizer)
    optimizer.arenas[0].grad[...] = 1
    optimizer.step()
    after = kit.by_name(optimizer)
    expected = {
        "body.weight": before["body.weight"] * (1 - 0.1 * 0.2) - 0.1,
        "body.bias": before["body.bias"] - 0.1 * (1 + before["body.bias"]),
        "head.weight": before["head.weight"] * (1 - 0.5 * 0.2) - 0.5,
        "head.bias": before["head.bias"] - 0.5,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-12, err_msg=name)


class Model(Module):
    def __init__(self, parameters):
        self.weight, self.bias = parameters["body.weight"], parameters["body.bias"]

    def forward(self, x):
        return x @ self.weight + self.bias


@pytest.mark.parametrize("kind", ["module", "mapping", "iterable", "arena", "arenas"])
def test_parameters_of_every_kind(kit, kind):
    model = Model(kit.parameters())
    named = model.named_parameters()
    arena = Arena(Model(kit.parameters()).named_parameters())
    given_as = {
        "module": model,
        "mapping": named,
        "iterable": iter(named.values()),
        "arena": arena,
        "arenas": [arena],
    }[kind]
    optimizer = optim.SGD(given_as, 0.1)
    names = {span.name for span in optimizer.arenas[0].spans}
    assert names == ({"0", "1"} if kind == "iterable" else {"weight", "bias"})
    before = optimizer.arenas[0].data.copy()
    optimizer.arenas[0].grad[...] = 1
    optimizer.step()
    np.testing.assert_allclose(optimizer.arenas[0].data, before - 0.1)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_trains_a_model(kit, name):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 5))
    y = x @ rng.standard_normal((5, 3)) + 1
    model = Model(kit.parameters())
    optimizer = optim.class_by_name(name)(model, optim.Cosine(0.1, 200))
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optim.clip_by_global_norm(optimizer.arenas, 10.0)
        optimizer.step()
        losses.append(float(loss.data))
    assert losses[-1] < 0.1 * losses[0]


def test_an_update_between_forward_and_backward_is_caught(kit):
    model = Model(kit.parameters())
    optimizer = optim.SGD(model, 0.1)
    loss = (model(Tensor(np.ones((1, 5)), requires_grad=True)) ** 2).sum()
    optimizer.step()
    with pytest.raises(InputError):
        loss.backward()


def test_tied_and_frozen_parameters(kit):
    parameters = kit.parameters()
    parameters["tied"] = parameters["body.weight"]
    parameters["head.bias"].requires_grad = False
    groups = {"t": {"match": "tied", "lr": 0.5}}
    optimizer = optim.SGD(parameters, 0.1, groups=groups)
    before = kit.by_name(optimizer)
    assert set(before) == {"body.weight", "body.bias", "head.weight"}
    optimizer.arenas[0].grad[...] = 1
    optimizer.step()
    after = kit.by_name(optimizer)
    np.testing.assert_allclose(before["body.weight"] - after["body.weight"], 0.5)
    np.testing.assert_allclose(before["head.weight"] - after["head.weight"], 0.1)


@pytest.mark.parametrize(
    ("cls", "options", "count"),
    [
        (optim.Adam, {}, 1),
        (optim.Adam, {"l2": 0.1}, 2),
        (optim.Adam, {"groups": {"head": {"match": "head.*", "beta1": 0.9}}}, 1),
        (optim.Adam, {"groups": {"head": {"match": "head.*", "lr": 0.2}}}, 2),
        (optim.Adam, {"groups": {"head": {"match": "head.*", "lr": 0.2}}, "l2": 0.1}, 4),
        (optim.LAMB, {}, 1),
    ],
)
def test_groups_with_equal_settings_are_one_block(kit, cls, options, count):
    assert len(cls(kit.parameters(), 0.1, **options)._blocks) == count


def test_equal_schedules_stay_apart(kit):
    groups = {"head": {"match": "head.*", "lr": optim.ReduceOnPlateau(0.1)}}
    groups["bias"] = {"match": "body.bias", "lr": optim.ReduceOnPlateau(0.1)}
    assert len(optim.SGD(kit.parameters(), 0.1, groups=groups)._blocks) == 3


@pytest.mark.parametrize("owned", [slice(None), slice(0, 7), slice(7, 21), slice(21, 37)])
def test_blocks_of_a_part_of_an_arena(kit, owned):
    """What a rank that keeps the state of ``owned`` alone updates, and with what."""
    arena = optim.SGD(kit.parameters(), 0.1).arenas[0]
    group_of = {span.name: span.name[-4:] for span in arena.spans}
    (position,) = buffers = [np.arange(37.0)[owned]]
    arena.data[...] = np.arange(37)
    position = position[(position < 21) | (position >= 32)]  # between lies no parameter
    own = executor.Owned(owned, arena.grad[owned])
    blocks = list(executor.cut(arena, buffers, group_of, own))
    parts = [part for block in blocks for part in block.parts()]
    for some in (blocks, parts):
        np.testing.assert_array_equal(np.concatenate([b.theta for b in some]), position)
    for block in blocks + parts:
        np.testing.assert_array_equal(block.state[0], block.theta)
        assert np.shares_memory(block.theta, arena.data)
        assert np.shares_memory(block.g, arena.grad)


def test_settings_cannot_be_changed_past_the_checks(kit):
    optimizer = optim.SGD(kit.parameters(), 0.1)
    with pytest.raises(TypeError):
        optimizer.groups["decay"]["momentum"] = 2.0
    with pytest.raises(TypeError):
        optimizer.groups["decay"] = {}


@pytest.mark.parametrize("cls", optim.OPTIMIZERS.values())
def test_a_signature_shows_all_keywords(kit, cls):
    keywords = inspect.signature(cls).parameters
    assert list(keywords)[:4] == ["parameters", "lr", "groups", "form"]
    defaults = {name: p.default for name, p in keywords.items() if name not in ("parameters", "lr")}
    optimizer = cls(kit.parameters(), 0.1, **defaults)
    assert optimizer.groups == cls(kit.parameters(), 0.1).groups
    assert defaults.items() > optimizer.groups["decay"].items()


def test_adamw_decays_by_itself(kit):
    assert optim.AdamW(kit.parameters(), 0.1).groups["decay"]["weight_decay"] == 0.01
    assert optim.AdamW(kit.parameters(), 0.1).groups["no_decay"]["weight_decay"] == 0
    assert optim.Adam(kit.parameters(), 0.1).groups["decay"]["weight_decay"] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_and_scratch_are_aligned(kit, dtype):
    shapes = {"w": (11, 3), "b": (5,)}
    optimizer = optim.Adam(kit.parameters(0, dtype, shapes), 0.1, form="in_place")
    ((_, update),) = optimizer._loops[0].updates
    (_, _, penalised, s, (*state, _, other)) = update.pieces[0]
    assert all(array.ctypes.data % 64 == 0 for array in (penalised, s, other, *state))


def test_negative_steps_are_refused(kit):
    optimizer = optim.SGD(kit.parameters(), 0.1)
    with pytest.raises(InputError, match="steps is -1 in this state"):
        optimizer.load_state_dict(optimizer.state_dict() | {"steps": np.array(-1)})


@pytest.mark.parametrize("form", [None, "in_place", "formula"])
def test_penalties_join_the_gradient(kit, form):
    theta = np.array([[0.5, -2.0, 0.0]])
    optimizer = optim.SGD(kit.parameters(shapes={"w": (1, 3)}), 0.1, l1=0.3, l2=0.2, form=form)
    optimizer.arenas[0].data[...] = theta[0]
    optimizer.step()
    expected = theta - 0.1 * (0.3 * np.sign(theta) + 0.2 * theta)
    np.testing.assert_allclose(kit.by_name(optimizer)["w"], expected, rtol=1e-12)


def test_proximal_l1_gives_exact_zeros_where_the_penalty_hovers(kit):
    counts = {}
    for name in ("l1", "proximal_l1"):
        optimizer = optim.SGD(kit.parameters(shapes={"w": (20, 1)}), 0.1, **{name: 0.5})
        arena = optimizer.arenas[0]
        target = np.linspace(-1, 1, 20)
        for _ in range(200):
            arena.grad[...] = arena.data - target  # of ‖θ − target‖²/2: soft threshold solves it
            optimizer.step()
        counts[name] = np.count_nonzero(arena.data == 0)
        np.testing.assert_allclose(arena.data, optim.soft_threshold(target, 0.5), atol=0.11)
    assert counts == {"l1": 0, "proximal_l1": 10}


@given(
    tau=st.floats(0, 2),
    theta=st.lists(st.floats(-5, 5), min_size=1, max_size=20).map(np.array),
)
def test_soft_threshold(tau, theta):
    result = optim.soft_threshold(theta, tau)
    assert (result[abs(theta) <= tau] == 0).all()
    np.testing.assert_allclose(abs(theta - result), np.minimum(abs(theta), tau), atol=1e-15)


def test_a_schedule_is_called_with_the_number_of_updates_done(kit):
    optimizer = optim.SGD(kit.parameters(shapes={"w": (1,)}), lambda step: 10.0**-step)
    optimizer.arenas[0].data[...] = 0
    optimizer.arenas[0].grad[...] = 1
    assert optimizer.lr == 1.0
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(optimizer.arenas[0].data, -1.1)
    assert optimizer.lr == 0.01
    with pytest.raises(InputError, match="it follows a schedule"):
        optimizer.lr = 1.0


def test_a_rate_of_zero_from_a_schedule_moves_nothing(kit):
    for cls in optim.OPTIMIZERS.values():
        optimizer = cls(kit.parameters(), lambda step: 0.0, weight_decay=0.1, proximal_l1=0.1)
        before = kit.by_name(optimizer)
        after = kit.run(optimizer, 1)
        assert all((after[name] == before[name]).all() for name in before)


def test_step_tells_the_arena_and_leaves_gradients(kit):
    optimizer = optim.Adam(kit.parameters(), 0.1, l2=0.1)
    arena, calls = optimizer.arenas[0], []
    before = arena.data.copy()
    arena.touch = lambda: calls.append((arena.data == before).all())
    arena.grad[...] = 3
    optimizer.step(scale=0.5, clip_value=0.1)
    assert calls == [True]  # before anything moves: a graph that kept a parameter is stale now
    assert (arena.grad == 3).all()
    optimizer.zero_grad()
    assert (arena.grad == 0).all()


CASES = [
    (optim.SGD, {"momentum": 0.9}),
    (optim.SGD, {}),
    (optim.Adam, {"l1": 0.01}),
    (optim.Lion, {}),
    (optim.LAMB, {"weight_decay": 0.1}),
    (optim.RMSprop, {"groups": {"head": {"match": "head.*", "lr": 0.1}}}),
]


@pytest.mark.parametrize(("cls", "options"), CASES)
def test_restored_state_continues_with_the_same_bits(kit, cls, options):
    straight = cls(kit.parameters(), 0.05, **options)
    kit.run(straight, 3)
    saved, theta = straight.state_dict(), kit.by_name(straight)
    resumed = cls(kit.parameters(1), 0.7, **options)
    for span in resumed.arenas[0].spans:
        resumed.arenas[0].data[span.start : span.stop] = theta[span.name].reshape(-1)
    resumed.load_state_dict(saved)
    expected, result = kit.run(straight, 3, start=3), kit.run(resumed, 3, start=3)
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value)
    assert resumed.steps == 6


def test_state_has_names_and_shapes_and_is_a_copy(kit):
    optimizer = optim.Adam(kit.parameters(), 0.1)
    state = optimizer.state_dict()
    assert state["m/body.weight"].shape == (5, 3)
    assert {"v/head.bias", "steps", "lr"} < set(state)
    kit.run(optimizer, 1)
    assert (state["m/body.weight"] == 0).all()
    assert state["steps"] == 0


def test_state_does_not_depend_on_the_order_of_the_buffer(kit):
    def backwards(parameters):
        return dict(reversed(parameters.items()))

    optimizers = [optim.Adam(f(kit.parameters()), 0.1) for f in (dict, backwards)]
    for optimizer in optimizers:
        kit.run(optimizer, 2)
    one, other = (optimizer.state_dict() for optimizer in optimizers)
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


def test_plateau_state_travels_with_the_optimizer(kit):
    optimizer = optim.SGD(kit.parameters(), optim.ReduceOnPlateau(0.1, factor=0.5, patience=0))
    optimizer._lr.observe(1.0)
    optimizer._lr.observe(2.0)
    resumed = optim.SGD(kit.parameters(), optim.ReduceOnPlateau(0.1, factor=0.5, patience=0))
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.lr == optimizer.lr == 0.05


def test_foreign_state_is_refused_and_nothing_is_changed(kit):
    optimizer = optim.Adam(kit.parameters(), 0.1)
    kit.run(optimizer, 2)
    before = optimizer.state_dict()
    state = dict(before)
    del state["m/body.bias"]
    state["v/tail.bias"] = np.zeros(2)
    state["v/head.bias"] = np.zeros(3)
    state["v/head.weight"] = state["v/head.weight"].astype(np.float32)
    with pytest.raises(InputError) as error:
        optimizer.load_state_dict(state)
    for problem in (
        "this is no state of this Adam: missing: m/body.bias",
        "unexpected: v/tail.bias",
        "v/head.bias: shape (3,) given, (2,) expected",
        "v/head.weight: float32 given, float64 expected",
    ):
        assert problem in str(error.value)
    after = optimizer.state_dict()
    assert all((after[name] == before[name]).all() for name in before)


BAD = [
    (optim.SGD, {"lr": 0.0}, "SGD: lr is 0.0, but must be a number above 0"),
    (optim.SGD, {"lr": -1.0}, "lr is -1.0"),
    (optim.SGD, {"lr": float("nan")}, "lr is nan"),
    (optim.SGD, {"lr": float("inf")}, "lr is inf"),
    (optim.SGD, {"lr": "0.1"}, "lr is '0.1'"),
    (optim.SGD, {"momentum": 1.0}, "momentum is 1.0, but must be at least 0 and below 1"),
    (optim.SGD, {"nesterov": True}, "whose momentum is 0"),
    (optim.SGD, {"convention": "keres"}, "did you mean 'keras'"),
    (optim.SGD, {"momentun": 0.9}, "unknown hyper-parameter of SGD 'momentun': did you mean"),
    (optim.SGD, {"form": "fast"}, "unknown form of SGD"),
    (optim.Adam, {"beta1": -0.1}, "Adam: beta1 is -0.1"),
    (optim.Adam, {"beta2": 1.0}, "beta2 is 1.0"),
    (optim.Adam, {"epsilon": 0.0}, "epsilon is 0.0"),
    (optim.Adam, {"epsilon_placement": "inside"}, "unknown Adam: epsilon_placement"),
    (optim.AdamW, {"weight_decay": -0.1}, "weight_decay is -0.1, but must be 0 or a number"),
    (optim.Lion, {"l1": -1}, "l1 is -1"),
    (optim.SGD, {"groups": {"h": {"match": "haed.*"}}}, "pattern 'haed.*' of group 'h' matches no"),
    (optim.SGD, {"groups": {"h": {"lr": 0.1}}}, "group 'h' matches no names; give it 'match'"),
    (optim.SGD, {"groups": {"h": {"match": "*", "momentun": 0}}}, "did you mean 'momentum'"),
    (optim.SGD, {"groups": {"h": {"match": "*", "lr": -1}}}, "lr in group 'h' is -1"),
    (
        optim.SGD,
        {"groups": {"a": {"match": "head.*"}, "b": {"match": "*.bias"}}},
        "'head.bias' matches the groups a, b",
    ),
]


@pytest.mark.parametrize(("cls", "options", "message"), BAD)
def test_bad_settings_get_a_sentence(kit, cls, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        cls(kit.parameters(), **{"lr": 0.1, **options})


def test_no_parameters(kit):
    with pytest.raises(InputError, match="SGD was given no parameters"):
        optim.SGD([], 0.1)


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_bad_rate_from_a_schedule_raises_before_anything_moves(kit, rate):
    optimizer = optim.SGD(kit.parameters(), lambda step: rate)
    optimizer.arenas[0].grad[...] = 1
    before = optimizer.arenas[0].data.copy()
    with pytest.raises(InputError, match="the schedule gave a learning rate of"):
        optimizer.step()
    np.testing.assert_array_equal(optimizer.arenas[0].data, before)
    assert optimizer.steps == 0


def test_optimizers_by_name():
    assert optim.class_by_name("adamw") is optim.AdamW
    with pytest.raises(InputError, match="did you mean 'adam'"):
        optim.class_by_name("adan")
