"""Update kernels against their formulas, which stand in minigrad/optim."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from harness import KINDS, SPECIAL, at, on, values
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import optim
from minigrad.kernels.source import find
from minigrad.optim.compiled import numbers
from minigrad.optim.regularisation import decayed, effective_gradient, soft_threshold

RULES = {
    "sgd": (optim.SGD, {}),
    "keras momentum": (optim.SGD, {"momentum": 0.9}),
    "keras nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "pytorch momentum": (optim.SGD, {"momentum": 0.9, "convention": "pytorch"}),
    "pytorch nesterov": (optim.SGD, {"momentum": 0.9, "convention": "pytorch", "nesterov": True}),
    "adagrad": (optim.Adagrad, {}),
    "rmsprop": (optim.RMSprop, {}),
    "rmsprop inside": (optim.RMSprop, {"epsilon_placement": "inside"}),
    "adam": (optim.Adam, {}),
    "adam hat": (optim.Adam, {"epsilon_placement": "hat"}),
    "lion": (optim.Lion, {}),
}
SIZES = [0, 1, 31, 32, 33, 255, 256, 257, 1000]
TOLERANCE = 8  # units in the last place of the largest term that goes into a result
NO_NORM = np.array([0.0, 1.0, 0.0, 0.0])

hypers = st.fixed_dictionaries(
    {
        "eta": st.floats(1e-5, 1),
        "t": st.integers(1, 10_000),
        "scale": st.sampled_from([1.0, 0.37, 1 / 1024]),
        "clip_value": st.sampled_from([None, 0.5]),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "l1": st.sampled_from([0.0, 0.01]),
        "l2": st.sampled_from([0.0, 0.01]),
        "proximal_l1": st.sampled_from([0.0, 0.01]),
        "zero": st.booleans(),
    }
)


def formula(cls, theta, g, state, h):
    """The teaching step with all that goes around it; in the dtype of ``theta``."""
    takes = {name: h[name] for name in (*cls.hyper, *cls.takes)}
    start = theta if "weight_decay" in takes else decayed(theta, h["eta"], h["weight_decay"])
    theta, *state = cls.formula(start, effective_gradient(theta, g, h), *state, **takes)
    return [soft_threshold(theta, h["eta"] * h["proximal_l1"]), *state]


def terms(cls, theta, g, state, h):
    """How large the terms are that a result is the sum of: rounding is measured by them."""
    limit = np.inf if h["clip_value"] is None else h["clip_value"]
    g = np.minimum(abs(g * h["scale"]), limit) + h["l2"] * abs(theta) + h["l1"]
    h = h | {"scale": 1.0, "clip_value": None, "l1": 0.0, "l2": 0.0}
    sums = [formula(cls, 0 * theta, s * g, [abs(x) for x in state], h) for s in (1, -1)]
    reach = [np.maximum(abs(a), abs(b)) for a, b in zip(*sums)]
    return [reach[0] + 2 * abs(theta) + h["eta"], *reach[1:]]


def undecided(cls, g, state, theta, h):
    """Lion's sign is a matter of rounding where its two terms cancel."""
    if cls is not optim.Lion:
        return np.zeros(g.shape, bool)
    e = effective_gradient(theta, g, h)
    a, b = h["beta1"] * state[0], (1 - h["beta1"]) * e
    return abs(a + b) <= 8 * np.finfo(g.dtype).eps * (abs(a) + abs(b))


def launch(where, cls, theta, g, state, h, norm=NO_NORM):
    name = cls.kernel_of(h)
    hyper = np.array(numbers(cls, h), float)
    on(where, name, theta, g, *state[: len(find(name).entries[name].parameters) - 5], hyper, norm)


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25)
@given(
    n=st.sampled_from(SIZES),
    offset=st.integers(0, 5),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 999),
    special=st.lists(st.sampled_from(SPECIAL), max_size=8),
    h=hypers,
)
def test_updates_equal_their_formulas(where, rule, n, offset, dtype, seed, special, h):
    cls, options = RULES[rule]
    h = {name: default for name, (default, _) in cls.hyper.items()} | h | options
    rng = np.random.default_rng(seed)
    theta, g, *state = (at(offset, values(rng, n, dtype)) for _ in range(2 + len(cls.state)))
    g[: len(special)] = special[:n]
    if cls.state and cls.state[-1] == "v" and cls is not optim.SGD:
        np.abs(state[-1], out=state[-1])
    if not h.get("momentum", 1):
        state = []
    with np.errstate(all="ignore"):
        expected = formula(cls, theta, g, state, h)
        bounds = terms(cls, theta, g, state, h)
        skip = undecided(cls, g, state, theta, h)
    launch(where, cls, theta, g, state, h)
    info = np.finfo(dtype)
    for result, value, bound in zip([theta, *state], expected, bounds):
        assert value.dtype == dtype
        with np.errstate(all="ignore"):
            close = abs(result - value) <= TOLERANCE * (info.eps * bound + info.smallest_subnormal)
        same = (result == value) | (np.isnan(result) & np.isnan(value))
        wrong = ~(close | same | skip)
        assert not wrong.any(), (result[wrong], value[wrong], bound[wrong])
    assert not h["zero"] or not g.any()


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("zero", [False, True])
def test_a_gradient_that_is_not_finite_moves_nothing(where, rule, zero):
    cls, options = RULES[rule]
    h = {name: default for name, (default, _) in cls.hyper.items()} | options
    h |= {"eta": 0.1, "t": 1, "scale": 1.0, "clip_value": None, "weight_decay": 0.1, "l1": 0.0}
    h |= {"l2": 0.0, "proximal_l1": 0.0, "zero": zero}
    arrays = [np.arange(1.0, 40.0) for _ in range(2 + len(cls.state))]
    theta, g, *state = arrays
    g[3] = math.nan
    launch(where, cls, theta, g, state, h, norm=np.array([math.nan, 1.0, 1.0, 1.0]))
    for array in (theta, *state):
        np.testing.assert_array_equal(array, np.arange(1.0, 40.0))
    assert (g == 0).all() == zero


@pytest.mark.parametrize("where", KINDS)
@settings(max_examples=20)
@given(
    n=st.sampled_from([0, 1, 31, 33, 257, 1000, 5000]),
    count=st.integers(1, 5),
    offset=st.integers(0, 5),
    dtype=st.sampled_from([np.float32, np.float64]),
    size=st.sampled_from([1e-30, 1.0, 1e30]),
    seed=st.integers(0, 999),
)
def test_norm(where, n, count, offset, dtype, size, seed):
    g = at(offset, (size * np.random.default_rng(seed).normal(size=n)).astype(dtype))
    pieces, record = np.full(count, np.nan), NO_NORM.copy()
    on(where, "norm_pieces", g, pieces)
    on(where, "norm_record", pieces, record, 1.0, 1)
    expected = float(np.linalg.norm(g.astype(float)))
    norm, scale, not_finite, skipped = record
    np.testing.assert_allclose(norm, expected, rtol=1e-13 * max(1, n))
    np.testing.assert_allclose(scale, min(1, 1 / (norm + 1e-6)), rtol=1e-15)
    assert (not_finite, skipped) == (0, 0)
    again = np.full(count, np.nan)
    on(where, "norm_pieces", g, again)
    np.testing.assert_array_equal(again, pieces)


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 63, 64, 299])
def test_a_norm_that_is_not_finite(where, bad, place):
    g, pieces, record = np.ones(300, np.float32), np.zeros(3), np.array([0.0, 1.0, 0.0, 4.0])
    g[place] = bad
    on(where, "norm_pieces", g, pieces)
    on(where, "norm_record", pieces, record, 1.0, 1)
    np.testing.assert_array_equal(record, [abs(bad), 1.0, 1.0, 5.0])


def test_lamb_in_the_executor_equals_its_formula():
    """The launches by hand, pieces that end within tensors; the whole rule is in tests/optim."""
    rng = np.random.default_rng(0)
    n, cuts = 300, np.array([0, 100, 150, 250, 300])
    theta, g, m, v = rng.normal(size=(4, n))
    v **= 2
    h = {name: default for name, (default, _) in optim.LAMB.hyper.items()}
    h |= {"eta": 0.1, "t": 3, "scale": 1.0, "clip_value": None, "weight_decay": 0.1, "l1": 0.01}
    h |= {"l2": 0.01, "proximal_l1": 0.0, "zero": True}
    span = np.array([0, 0, 1, 1])
    ends = np.array([0, 150, 300])
    expected = np.concatenate(
        [
            np.array(formula(optim.LAMB, theta[a:b], g[a:b], [m[a:b], v[a:b]], h))
            for a, b in itertools.pairwise(ends)
        ],
        axis=1,
    )
    hyper = np.array(numbers(optim.LAMB, h), float)
    r, squares, ratio = np.zeros(n), np.zeros((4, 2)), np.zeros(2)
    first, last = cuts[:-1].copy(), cuts[1:].copy()
    begin, end = np.array([0, 2]), np.array([2, 4])
    on("executor", "lamb_direction", theta, g, m, v, r, first, last, squares, hyper, NO_NORM)
    on("executor", "lamb_ratio", squares, begin, end, ratio)
    on("executor", "lamb_apply", theta, r, first, last, span, ratio, hyper, NO_NORM)
    np.testing.assert_allclose([theta, m, v], expected, rtol=1e-12)
    assert not g.any()
