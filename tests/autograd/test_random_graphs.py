"""Random graphs, with diamonds, reuse and broadcasting, against a naive differentiation."""

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor, grad, hvp, ops
from minigrad.testing import arrays, broadcastable_shapes, check_grads, run_ranks

# op: its value, and the gradient that it sends to each operand; a binary op comes as f(x, x) too
OPS = {
    "add": (np.add, lambda g, y, a, b: (g, g)),
    "sub": (np.subtract, lambda g, y, a, b: (g, -g)),
    "mul": (np.multiply, lambda g, y, a, b: (g * b, g * a)),
    "tanh": (np.tanh, lambda g, y, a: (g * (1 - y**2),)),
    "sin": (np.sin, lambda g, y, a: (g * np.cos(a),)),
    "neg": (np.negative, lambda g, y, a: (-g,)),
}


@st.composite
def programs(draw, most=12):
    """(leaves, steps): each step is an op's name and the numbers of earlier values."""
    leaves = [draw(arrays(s, low=-1, high=1)) for s in draw(broadcastable_shapes(3, max_dims=2))]
    steps = []
    for n in range(draw(st.integers(1, most))):
        name = draw(st.sampled_from(sorted(OPS)))
        operand = st.integers(0, len(leaves) + n - 1)
        operands = (operand,) * (2 if name in ("add", "sub", "mul") else 1)
        steps.append((name, draw(st.tuples(*operands))))
    return leaves, steps


def run(leaves, steps, apply):
    values = list(leaves)
    for name, operands in steps:
        values.append(apply(name, *(values[i] for i in operands)))
    return values


def ours(leaves, steps):
    return run(leaves, steps, lambda name, *xs: getattr(ops, name)(*xs))


def reference(leaves, steps):
    """Gradients of Σ(last value), one path at a time: slow, and hard to get wrong."""
    values = run(leaves, steps, lambda name, *xs: OPS[name][0](*xs))
    total = defaultdict(float)

    def send(i, g):
        while g.ndim > values[i].ndim:
            g = g.sum(axis=0)
        for axis, n in enumerate(values[i].shape):
            g = g.sum(axis=axis, keepdims=True) if n == 1 else g
        total[i] = total[i] + g
        if i >= len(leaves):
            name, operands = steps[i - len(leaves)]
            xs = [values[k] for k in operands]
            for k, part in zip(operands, OPS[name][1](g, values[i], *xs)):
                send(k, np.asarray(part))

    send(len(values) - 1, np.ones_like(values[-1]))
    return values, total


@given(programs())
@settings(max_examples=100)
def test_gradients_of_every_value(program):
    leaves, steps = program
    values, expected = reference(*program)
    tensors = ours([Tensor(x, requires_grad=True) for x in leaves], steps)
    found = grad(tensors[-1].sum(), tensors, retain_graph=True)
    for i, (tensor, g) in enumerate(zip(tensors, found)):
        np.testing.assert_allclose(tensor.data, values[i], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(g.data, expected[i] + 0 * values[i], rtol=1e-9, atol=1e-9)
    tensors[-1].sum().backward()
    for tensor, g in zip(tensors[: len(leaves)], found):
        if tensor.grad is None:  # not in the history of the last value
            assert not g.data.any()
        else:
            np.testing.assert_array_equal(tensor.grad, g.data)


@given(programs(most=6))
@settings(max_examples=30)
def test_second_gradients(program):
    leaves, steps = program
    check_grads(lambda *xs: ours(xs, steps)[-1], *leaves, tolerance=1e-5)


@given(programs(), st.data())
@settings(max_examples=30)
def test_only_some_leaves_want_gradients(program, data):
    leaves, steps = program
    wanted = [data.draw(st.booleans()) for _ in leaves]
    _, expected = reference(*program)
    tensors = ours([Tensor(x, requires_grad=w) for x, w in zip(leaves, wanted)], steps)
    if tensors[-1].requires_grad:
        tensors[-1].sum().backward()
    for i, (x, want) in enumerate(zip(leaves, wanted)):
        if not want:
            assert tensors[i].grad is None
        elif tensors[i].grad is not None:
            np.testing.assert_allclose(tensors[i].grad, expected[i] + 0 * x, rtol=1e-9, atol=1e-9)


@given(programs(most=6))
@settings(max_examples=20)
def test_the_hessian_is_symmetric(program):
    leaves, steps = program
    rng = np.random.default_rng(0)
    u, v = ([rng.normal(size=x.shape) for x in leaves] for _ in range(2))

    def last(*xs):
        return ours(xs, steps)[-1].sum() + sum((x * 0.0).sum() for x in xs)

    def product(a, b):
        return sum(float((x * y).sum()) for x, y in zip(a, b))

    uhv = product(u, [h.data for h in hvp(last, leaves, v)])
    vhu = product(v, [h.data for h in hvp(last, leaves, u)])
    np.testing.assert_allclose(uhv, vhu, rtol=1e-9, atol=1e-9)


def test_threads_differentiate_independently():
    def body(comm):
        x = Tensor(np.full(3, comm.rank + 1.0), requires_grad=True)
        for _ in range(20):
            ops.tanh(x * x).sum().backward()
        return x.grad

    for rank, g in enumerate(run_ranks(4, body)):
        x = rank + 1.0
        np.testing.assert_allclose(g, np.full(3, 20 * 2 * x * (1 - np.tanh(x * x) ** 2)))
