"""explain: its numbers are backward's, to the bit, and those of a computation done by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import InputError, Tensor, nn, ops, optim
from minigrad.autograd import op
from minigrad.testing import arrays, broadcastable_shapes

UNARY = {
    "tanh": ops.tanh,
    "sin": ops.sin,
    "square": ops.square,
    "transpose": lambda x: x.T,
    "flat": lambda x: x.reshape(-1),
    "first": lambda x: x[:1] if x.ndim else x,
    "sum": lambda x: x.sum(axis=0) if x.ndim else x,
    "mean": lambda x: x.mean(axis=-1, keepdims=True) if x.ndim else x,
    "softmax": lambda x: x.softmax() if x.ndim else x,
    "to rows": lambda x: ops.broadcast_to(x, (2, *x.shape)) if x.ndim < 3 else x,
    "twice": lambda x: ops.concatenate([x, x]) if x.ndim else x,
    "by integers": lambda x: x * np.arange(1, 1 + x.shape[-1]) if x.ndim else x * 3,
}
BINARY = {"add": ops.add, "sub": ops.sub, "mul": ops.mul}


@st.composite
def scalars(draw):
    """(leaves, a scalar made of them): diamonds, reuse, broadcasting, views, reductions."""
    shapes = draw(broadcastable_shapes(3, max_dims=2))
    leaves = [Tensor(draw(arrays(s, low=-1, high=1)), requires_grad=True) for s in shapes]
    values = list(leaves)
    for _ in range(draw(st.integers(1, 10))):
        name = draw(st.sampled_from([*UNARY, *BINARY]))
        x = draw(st.sampled_from(values))
        if name in UNARY:
            values.append(UNARY[name](x))
        else:
            fitting = [v for v in values if _broadcast(v.shape, x.shape)]
            values.append(BINARY[name](x, draw(st.sampled_from(fitting))))
    return leaves, sum((v.tanh().mean() for v in values[len(leaves) :]), values[0].sum())


def _broadcast(*shapes):
    try:
        return np.broadcast_shapes(*shapes) is not None
    except ValueError:
        return False


@given(scalars())
def test_its_gradients_are_those_of_backward_bit_for_bit(graph):
    leaves, loss = graph
    explanation = mg.explain(loss)
    values = {v.node: v.gradient for v in explanation.vertices}
    loss.backward()
    assert explanation.loss.value == loss.data
    for leaf in leaves:
        if leaf.grad is None:
            assert leaf._node not in values
        else:
            np.testing.assert_array_equal(values[leaf._node], leaf.grad)
            assert values[leaf._node].dtype == leaf.grad.dtype


@given(scalars())
def test_steps_are_in_a_topological_order_and_every_check_holds(graph):
    explanation = mg.explain(graph[1])
    place = {(step.phase, step.vertex): step.number for step in explanation}
    assert [step.number for step in explanation] == list(range(1, len(explanation) + 1))
    assert len(place) == len(explanation)
    for vertex in explanation.vertices:
        for argument in vertex.arguments:
            if argument.vertex is not None:
                assert place["forward", argument.vertex] < place["forward", vertex]
        for c in vertex.sent:
            assert place["backward", vertex] < place["backward", c.target]
            found = explanation.check(c)
            assert found.verdict == "ok", (c, found)
        if vertex.contributions:
            total = sum(c.value for c in vertex.contributions)
            np.testing.assert_allclose(vertex.gradient, total, rtol=1e-15, atol=1e-300)
    assert place["forward", explanation.loss] < place["backward", explanation.loss]


@given(scalars())
@settings(max_examples=20)
def test_it_changes_nothing_and_says_everything_in_both_languages(graph):
    leaves, loss = graph
    english, chinese = (str(mg.explain(loss, lang=lang)) for lang in ("en", "zh"))
    assert all(leaf.grad is None for leaf in leaves)
    assert "backward starts here" in english
    assert "反向传播从这里开始" in chinese
    loss.backward()


# A layer of two ReLUs and one output on two samples, by hand.
X, T = "1 2; 3 -1", "1/4; 1/2"
W1, B1, W2, B2 = "1 -1; 1/2 1", "0 1/2", "1/2; -1", "1/4"
BY_HAND = {  # name: (value, gradient)
    "W1": (W1, "5/4 1/2; -1 1"),
    "x W1": ("2 1; 5/2 -4", "-1/4 1/2; 1/2 0"),
    "b1": (B1, "1/4 1/2"),
    "z": ("2 3/2; 5/2 -7/2", "-1/4 1/2; 1/2 0"),
    "h": ("2 3/2; 5/2 0", "-1/4 1/2; 1/2 -1"),
    "W2": (W2, "3/2; -3/4"),
    "h W2": ("-1/2; 5/4", "-1/2; 1"),
    "b2": (B2, "1/2"),
    "o": ("-1/4; 3/2", "-1/2; 1"),
    "d": ("-1/2; 1", "-1/2; 1"),
    "d squared": ("1/4; 1", "1/2; 1/2"),
    "loss": ("5/8", "1"),
}
CONTRIBUTIONS = {  # to: (from, its argument, broadcast axes summed)
    "W1": [("x W1", "b", ())],
    "x W1": [("z", "a", ())],
    "b1": [("z", "b", (0,))],
    "z": [("h", "x", ())],
    "h": [("h W2", "a", ())],
    "W2": [("h W2", "b", ())],
    "h W2": [("o", "a", ())],
    "b2": [("o", "b", (0,))],
    "o": [("d", "a", ())],
    "d": [("d squared", "x", ())],
    "d squared": [("loss", "x", ())],
    "loss": [],
}


def matrix(text):
    rows = [[float(Fraction(number)) for number in row.split()] for row in text.split(";")]
    return np.array(rows)


def by_hand():
    def leaf(name, text):
        data = matrix(text)
        return Tensor(data[0] if name[0] == "b" else data, requires_grad=True, name=name)

    def called(name, tensor):
        tensor.name = name
        return tensor

    w1, b1, w2, b2 = leaf("W1", W1), leaf("b1", B1), leaf("W2", W2), leaf("b2", B2)
    x = Tensor(matrix(X), name="x")
    z = called("z", called("x W1", x @ w1) + b1)
    h = called("h", z.relu())
    o = called("o", called("h W2", h @ w2) + b2)
    d = called("d", o - Tensor(matrix(T), name="t"))
    return called("loss", called("d squared", d.square()).mean())


def test_a_network_computed_by_hand():
    explanation = mg.explain(by_hand())
    results = [v for v in explanation.vertices if v.kind != "constant"]
    assert {v.name for v in results} == set(BY_HAND)
    for vertex in results:
        value, gradient = (matrix(text) for text in BY_HAND[vertex.name])
        np.testing.assert_array_equal(np.atleast_2d(vertex.value), value, vertex.name)
        np.testing.assert_array_equal(np.atleast_2d(vertex.gradient), gradient, vertex.name)
        came = [(c.source.name, c.argument, c.axes) for c in vertex.contributions]
        assert came == CONTRIBUTIONS[vertex.name]
        for c in vertex.contributions:
            np.testing.assert_array_equal(np.atleast_2d(c.value), gradient)
    constants = {v.name: v.value for v in explanation.vertices if v.kind == "constant"}
    np.testing.assert_array_equal(constants["x"], matrix(X))
    np.testing.assert_array_equal(constants["t"], matrix(T))
    order = [step.vertex.name for step in explanation if step.phase == "backward"]
    assert order == [
        "loss", "d squared", "d", "o", "b2", "h W2", "W2", "h", "z", "b1", "x W1", "W1"
    ]  # fmt: skip


def test_every_number_by_hand_is_in_the_text():
    text = str(mg.explain(by_hand(), lang="en"))
    assert "the gradient that arrives (from z, its b): [0.25, 0.5]" in text
    assert "b was broadcast, so axes 0 are summed" in text
    assert "[[1.25, 0.5], [-1, 1]]" in text
    assert "g * (y > 0)" in text


def test_where_paths_meet():
    x = Tensor(3.0, requires_grad=True, name="x", dtype=np.float64)
    explanation = mg.explain(x * x + x)
    assert [float(c.value) for c in explanation.vertex("x").contributions] == [1.0, 3.0, 3.0]
    assert explanation.gradient(x) == 7.0
    assert "3 paths meet here" in str(explanation)


def test_parameters_and_results_know_their_layers():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(3, 4, rng=rng), nn.Tanh(), nn.Dense(4, 2, rng=rng))
    loss = ops.cross_entropy(model(np.ones((2, 3), "float32")), np.array([0, 1]))
    explanation = mg.explain(loss)
    layers = [(v.label, v.module) for v in explanation.vertices if v.kind == "leaf"]
    assert layers == [
        ("layers.0.weight", "Sequential.layers.0"), ("layers.0.bias", "Sequential.layers.0"),
        ("layers.2.weight", "Sequential.layers.2"), ("layers.2.bias", "Sequential.layers.2"),
    ]  # fmt: skip
    modules = [v.module.removeprefix("Sequential.") for v in explanation.vertices if v.op]
    assert modules == ["layers.0", "layers.1", "layers.2", "", ""]
    assert set(explanation.modules) == {
        "Sequential", "Sequential.layers.0", "Sequential.layers.1", "Sequential.layers.2"
    }  # fmt: skip
    table = explanation.by_module()
    assert "Sequential.layers.1" in table
    assert "(outside of all layers)" in table


def test_layers_that_write_over_their_input_dropout_and_batch_norm_are_run_again_exactly():
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Dense(64, 128, rng=rng, activation="relu"), nn.Dropout(0.5, rng=rng),
        nn.BatchNorm1d(128), nn.Dense(128, 10, rng=rng, activation="gelu"),
    )  # fmt: skip
    x = rng.normal(size=(200, 64)).astype("float32")
    loss = ops.cross_entropy(model(x), rng.integers(0, 10, 200), label_smoothing=0.1)
    explanation = mg.explain(loss)
    checks = [explanation.check(c) for v in explanation.vertices for c in v.sent]
    assert {check.verdict for check in checks} == {"ok"}
    loss.backward()
    for name, parameter in model.named_parameters().items():
        np.testing.assert_array_equal(explanation.gradient(name), parameter.grad)


def test_an_op_of_ones_own_is_explained_and_a_wrong_rule_is_caught(own_ops):
    @op(x=lambda g, y: g * y)
    def half_right(xp, x):
        """eˣ + 1, with the rule of eˣ."""
        return xp.exp(x) + 1

    explanation = mg.explain(half_right(Tensor([0.5, 1.0], requires_grad=True)).sum())
    assert {explanation.check(c).verdict for v in explanation.vertices for c in v.sent} == {
        "ok", "wrong"
    }  # fmt: skip
    text = str(explanation)
    assert "THE RULE IS WRONG HERE" in text
    assert text.endswith("a wrong rule in step 5: half_right")
    assert [step.vertex.op.name for step in explanation.wrong] == ["half_right"]
    assert "eˣ + 1, with the rule of eˣ." in text


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            lambda g, y: g[:1],
            r"rule of 'broken' fails where a gradient of shape \(2,\) arrives.*shape",
        ),
        (lambda g, y: g / {}["key"], "rule of 'broken' fails.*KeyError: 'key'"),
    ],
)
def test_a_rule_that_fails_is_named(own_ops, rule, sentence):
    def broken(xp, x):
        return xp.exp(x)

    made = op(x=rule)(broken)
    with pytest.raises(InputError, match=sentence):
        mg.explain(made(Tensor([0.5, 1.0], requires_grad=True)).sum())


def test_a_corner_is_called_a_corner():
    x = Tensor([0.0, 1.0], requires_grad=True, dtype=np.float64)
    explanation = mg.explain(x.relu().sum())
    (contribution,) = explanation.vertex(x).contributions
    assert explanation.check(contribution).verdict == "corner"


def test_hooks_act_in_it_as_in_backward():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3.0
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    loss = y.sum()
    explanation = mg.explain(loss, lang="en")
    loss.backward()
    np.testing.assert_array_equal(explanation.gradient(x), x.grad)
    assert "the gradient that arrives (from v2, its a): [30, 30]" in str(explanation)
    assert "after the hooks of this Tensor: [31, 31]" in str(explanation)


def test_a_leaf_alone_and_a_cast():
    x = Tensor(2.0, requires_grad=True, name="x")
    assert mg.explain(x).gradient("x") == 1.0
    loss = (x.astype(np.float64) ** 2).astype(np.float32)
    explanation = mg.explain(loss)
    loss.backward()
    assert explanation.gradient(x) == x.grad


def verdicts(explanation):
    return {explanation.check(c).verdict for v in explanation.vertices for c in v.sent}


def test_it_is_a_record_which_later_updates_do_not_change():
    model = nn.Sequential(nn.Dense(3, 2, rng=np.random.default_rng(0)))
    optimizer = optim.SGD(model, 10.0)
    loss = model(np.ones((2, 3), "float32")).tanh().sum()
    explanation, before = mg.explain(loss), model.layers[0].weight.numpy().copy()
    loss.backward()
    optimizer.step()
    np.testing.assert_array_equal(explanation.vertex("layers.0.weight").value, before)
    assert verdicts(explanation) == {"ok"}
    explanation.vertex("layers.0.weight").value[...] = 5
    assert (model.layers[0].weight.numpy() != 5).all()


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: ops.softmax(x + np.array([0.0, -np.inf, 0.0])).sum(), {"ok"}),
        (lambda x: ops.sqrt(ops.square(x - x[:1])).sum(), {"ok", "not finite"}),
        (lambda x: (x * np.nan).sum(), {"not finite"}),
        (lambda x: ops.clip(ops.concatenate([x] * 300), -0.5, 0.5).sum(), {"ok"}),
        (lambda x: ops.maximum(x, 0.0).sum(), {"ok"}),
        (lambda x: ops.log(x * 1e-8).sum(), {"ok"}),
    ],
)
def test_checks_where_numbers_are_not_finite_or_corners_are_near(f, expected):
    x = Tensor([0.5 + 1e-6, 2.0, 3e-6], requires_grad=True, dtype=np.float64)
    with np.errstate(all="ignore"):
        assert verdicts(mg.explain(f(x))) == expected


def test_a_wrong_rule_is_not_excused_by_a_corner(own_ops):
    @op(x=lambda g: g * 0)
    def nothing(xp, x):
        return xp.maximum(x, 0)

    x = Tensor([0.0, 5.0, 5.0], requires_grad=True, dtype=np.float64)
    assert "wrong" in verdicts(mg.explain(nothing(x).sum()))


def test_constants_and_frozen_parameters_are_found_by_their_tensors():
    x, a, b = Tensor([1.0], requires_grad=True), Tensor([2.0]), Tensor([3.0])
    explanation = mg.explain(((x * a + b) * b).sum())
    assert [explanation.vertex(t).value.item() for t in (a, b)] == [2.0, 3.0]
    with pytest.raises(InputError, match="no such Tensor"):
        explanation.vertex(Tensor([2.0]))
    assert mg.explain(x * 2).loss.value.shape == (1,)
    assert repr(mg.explain(x * 2)).startswith("<Explanation of v2 = 2, 4 steps")


class Pair(nn.Module):
    """Two outputs, a cached input and a leaf that is no Parameter."""

    def __init__(self):
        self.inner = nn.Dense(2, 2, rng=np.random.default_rng(0))
        self.loose = Tensor(np.ones(2, "float32"), requires_grad=True)

    def forward(self, x):
        self.seen = x
        y = self.inner(x) * self.loose
        return y, y.tanh()


def test_models_that_are_unusual_are_explained_too():
    first, second = Pair(), Pair()
    loss = sum(
        t.sum() for model in (first, second) for t in model(Tensor(np.ones((1, 2), "float32")))
    )
    explanation = mg.explain(loss)
    assert {v.module for v in explanation.vertices if v.op and v.op.name == "mul"} == {
        "Pair 1", "Pair 2"
    }  # fmt: skip
    names = {v.name for v in explanation.vertices if v.kind == "leaf"}
    assert names == {
        f"Pair {i}.{name}" for i in (1, 2) for name in ("inner.weight", "inner.bias", "loose")
    }


def test_two_of_one_name_are_not_told_apart_by_it():
    x, y = (Tensor(float(i), requires_grad=True, name="w") for i in (1, 2))
    explanation = mg.explain(x * y)
    with pytest.raises(InputError, match="2 Tensors of this computation are called 'w'"):
        explanation.gradient("w")
    assert explanation.gradient(x) == 2.0
    assert [v.label for v in explanation.vertices] == ["w (v1)", "w (v2)", "v3"]
    assert explanation.gradient("w (v2)") == 1.0


def freed():
    loss = Tensor([1.0], requires_grad=True).sum()
    loss.backward()
    return loss


def overwritten():
    w = nn.Parameter(np.ones(2))
    loss = (w * w).sum()
    w.data = np.zeros(2)
    return loss


def batch_overwritten():
    x = np.ones(2)
    loss = (Tensor(np.ones(2), requires_grad=True) * x).sum()
    x[:] = 5
    return loss


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (lambda: Tensor([1.0, 2.0], requires_grad=True) * 2, "scalar.*shape .2,.*sum"),
        (lambda: Tensor([1.0]).sum(), "nothing to explain.*requires_grad"),
        (lambda: 3.0, "given float.*needs a Tensor"),
        (freed, "freed the graph.*explain before backward"),
        (overwritten, "overwritten since.*compute the loss again"),
        (batch_overwritten, "gives 10 and no more 2.*overwritten"),
    ],
)
def test_bad_input_is_answered_by_a_sentence(bad, sentence):
    with pytest.raises(InputError, match=sentence):
        mg.explain(bad())


def test_names_and_languages_that_do_not_exist():
    x = Tensor(1.0, requires_grad=True, name="x")
    with pytest.raises(InputError, match=r"no Tensor 'w'.*there are x, v2"):
        mg.explain(x * 2).gradient("w")
    with pytest.raises(InputError, match="unknown language 'fr'"):
        mg.explain(x * 2, lang="fr")
    explanation = mg.explain(x * Tensor(2.0, name="c"))
    with pytest.raises(InputError, match="'c' is a constant"):
        explanation.gradient("c")


def test_after_an_optimizer_was_made_and_after_a_step():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(2, 2, rng=rng))
    optimizer = optim.SGD(model, 0.1)
    for _ in range(2):
        loss = model(np.ones((1, 2), "float32")).sum()
        explanation = mg.explain(loss)
        optimizer.zero_grad()
        loss.backward()
        np.testing.assert_array_equal(
            explanation.gradient("layers.0.weight"), model.layers[0].weight.grad
        )
        optimizer.step()
