"""Update rules: the fast form against the formula, against scalar Python and against PyTorch."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules import RULES

from minigrad import optim
from minigrad.kernels.build import compiler
from minigrad.optim import compiled, executor

ELEMENTWISE = [name for name in RULES if name != "lamb"]
FAST = ("in_place", *(["compiled"] if compiler() else []))
every_rule = pytest.mark.parametrize("rule", RULES)

penalties = st.fixed_dictionaries(
    {},
    optional={
        "weight_decay": st.floats(0, 0.5),
        "l1": st.floats(0, 0.5),
        "l2": st.floats(0, 0.5),
        "proximal_l1": st.floats(0, 0.5),
    },
)


@every_rule
@given(
    n=st.integers(1, 40),
    dtype=st.sampled_from([np.float32, np.float64]),
    lr=st.floats(1e-4, 0.1),
    steps=st.integers(1, 6),
    common=penalties,
    scale=st.sampled_from([1.0, 0.3]),
    clip_value=st.sampled_from([None, 0.5]),
    seed=st.integers(0, 99),
)
def test_fast_form_equals_formula(kit, rule, n, dtype, lr, steps, common, scale, clip_value, seed):
    cls, options = RULES[rule]
    after = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "CHUNK", 7)  # so that small sizes cross borders of chunks
        patch.setattr(compiled, "PIECE", 5)
        for form in (*FAST, "formula"):
            parameters = kit.parameters(seed, dtype, {"w": (n, 2), "b": (n,), "c": (3, 1)})
            optimizer = cls(parameters, lr, form=form, **options, **common)
            kit.run(optimizer, steps, scale=scale, clip_value=clip_value)
            after.append(optimizer.state_dict() | kit.by_name(optimizer))
    *fast, formula = after
    tolerance = 2e-5 if dtype is np.float32 else 1e-12
    for form, some in zip(FAST, fast):
        for name, value in formula.items():
            assert some[name].dtype == value.dtype
            np.testing.assert_allclose(
                some[name], value, rtol=tolerance, atol=tolerance * lr, err_msg=f"{name}, {form}"
            )


@every_rule
@pytest.mark.parametrize("form", [None, "in_place", "formula"])
def test_float32_stays_float32(kit, rule, form):
    cls, options = RULES[rule]
    optimizer = cls(kit.parameters(0, np.float32), np.float64(0.01), form=form, **options, l2=0.1)
    kit.run(optimizer, 2)
    state = optimizer.state_dict()
    assert {str(state[name].dtype) for name in state if "." in name} <= {"float32"}
    assert {value.dtype for value in kit.by_name(optimizer).values()} == {np.dtype("float32")}


@pytest.mark.parametrize("rule", ELEMENTWISE)
def test_stepping_a_group_equals_stepping_its_parts(kit, rule):
    cls, options = RULES[rule]
    whole = cls(kit.parameters(), 0.01, **options)
    names = sorted(kit.by_name(whole))
    parts = {name: cls({name: kit.parameters()[name]}, 0.01, **options) for name in names}
    for step in range(3):
        gradients = kit.random_gradients(step, whole)
        for optimizer in (whole, *parts.values()):
            kit.set_gradients(optimizer, gradients)
            optimizer.step()
    for name, value in kit.by_name(whole).items():
        np.testing.assert_array_equal(value, kit.by_name(parts[name])[name])


@every_rule
@pytest.mark.parametrize("form", FAST)
def test_a_fast_step_makes_no_arrays(kit, rule, form):
    cls, options = RULES[rule]
    shapes = {"w": (100, 100), "b": (5000,)}
    penalties = {"weight_decay": 0.1, "l1": 0.1, "l2": 0.1, "proximal_l1": 0.1}
    optimizer = cls(kit.parameters(shapes=shapes), 0.01, form=form, **options, **penalties)
    kit.run(optimizer, 1, scale=0.5, clip_value=0.5)
    tracemalloc.start()
    optimizer.step(scale=0.5, clip_value=0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000  # one array of these has 80,000 bytes, one of a bias 40,000


def test_lion_in_plain_python():
    theta, m, steps = 1.0, 0.0, [0.5, -0.2, -3.0, 0.0, 0.1]
    array, state = np.array([theta]), np.array([m])
    for g in steps:
        c = 0.9 * m + 0.1 * g
        theta -= 0.01 * ((c > 0) - (c < 0))
        m = 0.99 * m + 0.01 * g
        array, state = optim.lion_step(array, np.array([g]), state, eta=0.01, beta1=0.9, beta2=0.99)
        np.testing.assert_allclose([array[0], state[0]], [theta, m], rtol=1e-12)


def test_lamb_in_plain_python():
    theta, m, v = [3.0, -4.0], [0.0, 0.0], [0.0, 0.0]
    arrays = (np.array(theta), np.array(m), np.array(v))
    settings = {"eta": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6, "weight_decay": 0.1}
    for t, g in enumerate([[1.0, 2.0], [-0.5, 0.3], [0.0, 1.0]], start=1):
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g)]
        r = [
            a / (1 - 0.9**t) / (math.sqrt(b / (1 - 0.999**t)) + 1e-6) + 0.1 * w
            for a, b, w in zip(m, v, theta)
        ]
        ratio = math.hypot(*theta) / math.hypot(*r)
        theta = [w - 0.1 * ratio * a for w, a in zip(theta, r)]
        arrays = optim.lamb_step(arrays[0], np.array(g), *arrays[1:], t, **settings)
        np.testing.assert_allclose(arrays, [theta, m, v], rtol=1e-12)


def test_lamb_ratio_is_one_for_a_tensor_at_zero(kit):
    optimizer = optim.LAMB(kit.parameters(shapes={"b": (4,)}), 0.1, epsilon=1e-12)
    optimizer.arenas[0].data[...] = 0
    after = kit.run(optimizer, 1)
    np.testing.assert_allclose(np.abs(after["b"]), 0.1, rtol=1e-6)


@given(
    mu=st.floats(0.01, 0.99),
    eta=st.floats(1e-3, 0.5),
    nesterov=st.booleans(),
    steps=st.integers(1, 10),
)
def test_momentum_conventions_agree_at_a_constant_rate_only(mu, eta, nesterov, steps):
    gradients = np.random.default_rng(0).uniform(0.5, 1, (steps + 1, 4))

    def final(convention, rates):
        theta, v = np.zeros(4), np.zeros(4)
        for g, rate in zip(gradients, rates, strict=True):
            theta, v = optim.momentum_step(
                theta, g, v, eta=rate, mu=mu, nesterov=nesterov, convention=convention
            )
        return theta

    constant = [eta] * (steps + 1)
    dropped = [eta] * steps + [eta / 10]
    np.testing.assert_allclose(final("keras", constant), final("pytorch", constant), rtol=1e-12)
    assert (final("keras", dropped) < final("pytorch", dropped)).all()  # still at the old speed


def test_e1_the_printed_momentum_climbs_and_the_corrected_one_descends():
    """D2 §3.2 on θ²/2 from θ = 1: v ← βv − ηθ; θ ← θ − γv as printed, θ + v as it should be."""
    theta, v = 1.0, 0.0
    for _ in range(20):
        v = 0.9 * v - 0.1 * theta
        theta = theta - 0.1 * v
    assert round(theta, 3) == 2.637
    theta, v = 1.0, 0.0
    for _ in range(20):
        theta, v = optim.momentum_step(theta, theta, v, eta=0.1, mu=0.9)
    assert abs(theta) < 1


@given(g=st.floats(1e-3, 1e3), sign=st.sampled_from([-1, 1]), eta=st.floats(1e-5, 1))
def test_adams_first_step_is_eta_against_the_gradient(g, sign, eta):
    zero = np.zeros(1)
    theta, _, _ = optim.adam_step(
        zero, np.array([sign * g]), zero, zero, 1, eta=eta, beta1=0.9, beta2=0.999, epsilon=1e-8
    )
    np.testing.assert_allclose(theta, -sign * eta, rtol=1e-4)


@pytest.mark.parametrize(("placement", "size"), [("outside", "5.0e-04"), ("hat", "3.1e-05")])
@pytest.mark.parametrize("form", [None, "in_place", "formula"])
def test_both_places_of_epsilon(kit, placement, size, form):
    optimizer = optim.Adam(
        kit.parameters(shapes={"w": (1,)}), 1e-3, epsilon_placement=placement, form=form
    )
    optimizer.arenas[0].data[...] = 0
    optimizer.arenas[0].grad[...] = 1e-8
    optimizer.step()
    assert f"{-optimizer.arenas[0].data[0]:.1e}" == size


TORCH = {
    "sgd": ("SGD", {}),
    "pytorch momentum": ("SGD", {"momentum": 0.9}),
    "pytorch nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {}),
    "rmsprop": ("RMSprop", {}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {"weight_decay": 0.01}),
}


@pytest.mark.parity
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("rule", TORCH)
def test_pytorch_parity(kit, rule, l2):
    torch = pytest.importorskip("torch")
    cls, options = RULES[rule]
    name, theirs = TORCH[rule]
    if l2 and rule == "adamw":
        options, theirs = options | {"weight_decay": 0.3}, {"weight_decay": 0.3}
    elif l2:
        options, theirs = options | {"l2": l2}, theirs | {"weight_decay": l2}
    optimizer = cls(kit.parameters(shapes={"w": (4, 3), "u": (3, 2)}), 0.05, **options)
    tensors = {
        key: torch.tensor(value, requires_grad=True)
        for key, value in kit.by_name(optimizer).items()
    }
    reference = getattr(torch.optim, name)(tensors.values(), lr=0.05, **theirs)
    for step in range(20):
        gradients = kit.random_gradients(step, optimizer)
        kit.set_gradients(optimizer, gradients)
        for key, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[key])
        optimizer.step()
        reference.step()
        for key, value in kit.by_name(optimizer).items():
            np.testing.assert_allclose(value, tensors[key].detach().numpy(), rtol=1e-12, atol=1e-14)
