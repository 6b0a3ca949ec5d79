"""op: how rules are bound, what is kept, which rules run."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minigrad import InputError, Tensor, grad, ops
from minigrad.autograd import functions, op, within
from minigrad.testing import check_grads

pytestmark = pytest.mark.usefixtures("own_ops")


def leaf(*values, **how):
    return Tensor(np.array(values), requires_grad=True, **how)


X = np.array([1.0, 2.0])


@pytest.mark.parametrize(
    ("f", "kept"),
    [
        (lambda x: x + 1, [1]),
        (lambda x: x + x, []),
        (lambda x: x - X, ["X"]),
        (lambda x: -x, []),
        (lambda x: x.sum(), [(2,), None, False]),
        (lambda x: x.reshape(2, 1), [(2,), (2, 1)]),
        (lambda x: x * 3.0, [3.0]),
        (lambda x: 3.0 * x, [3.0]),
        (lambda x: x * X, ["X"]),
        (lambda x: x / 4.0, [4.0]),
        (ops.tanh, ["y"]),
        (ops.exp, ["y"]),
        (ops.sigmoid, ["y"]),
        (ops.relu, ["y"]),
        (ops.softmax, ["y", -1]),
        (ops.log, ["x"]),
        (lambda x: ops.dense(X[None], np.ones((2, 2)), x), ["other", "other"]),
        (lambda x: ops.dense(x, np.eye(2)), ["other", None]),
        (lambda x: x @ np.eye(2), [(2,), "other"]),
        (lambda x: ops.concatenate([x, x]), [(2,), (2,), 0]),
        (lambda x: ops.add(x, 1.0), [1.0]),
    ],
)
def test_of_the_graph_only_what_some_rule_names_is_kept(f, kept):
    x = leaf(1.0, 2.0)
    y = f(x)
    named = {id(x.data): "x", id(y.data): "y", id(X): "X"}
    found = [
        named.get(id(value), "other") if isinstance(value, np.ndarray) else value
        for value in y._node.kept
    ]
    assert found == kept


def test_both_operands_are_kept_only_if_both_are_wanted():
    a, b = leaf(1.0), leaf(2.0)
    assert [id(k) for k in (a * b)._node.kept] == [id(b.data), id(a.data)]
    assert [id(k) for k in (a * b.detach())._node.kept] == [id(b.data)]


def test_rules_run_only_for_wanted_inputs():
    ran = []

    def rule(name):
        def run(g):
            ran.append(name)
            return g

        return run

    @op(a=rule("a"), b=rule("b"))
    def both(xp, a, b):
        return a + b

    a, b = leaf(1.0), leaf(2.0)
    both(a, X[:1]).sum().backward()
    assert ran == ["a"]
    both(X[:1], b).sum().backward()
    assert ran == ["a", "b"]
    grad(both(a, b).sum(), b)
    assert ran == ["a", "b", "b"]
    both(a, b).sum().backward()
    assert ran == ["a", "b", "b", "a", "b"]


def test_a_joint_rule_runs_once_and_knows_what_is_wanted():
    seen = []

    def rule(g, wants):
        seen.append(wants)
        return g, 2 * g

    @op(joint=(("a", "b"), rule))
    def pair(xp, a, b):
        return a + 2 * b

    a, b = leaf(1.0), leaf(2.0)
    pair(a, b).sum().backward()
    pair(X[:1], b).sum().backward()
    assert seen == [(True, True), (False, True)]
    np.testing.assert_array_equal(a.grad, [1])
    np.testing.assert_array_equal(b.grad, [4])


def test_a_rule_may_name_anything_of_its_op():
    @op(x=lambda xp, g, y, x, x_shape, k, wants: g * k * xp.reshape(x, x_shape) ** (k - 1))
    def power(xp, x, k=3):
        return x**k

    check_grads(power, X, order=3)
    check_grads(lambda x: power(x, k=2), X)


def test_a_rule_may_write_to_a_gradient_that_is_fresh():
    given = []

    def rule(xp, g, x, out):
        given.append(out)
        return g * 2 * x if out is None else xp.multiply(g, 2 * x, out=out)

    @op(x=rule)
    def square(xp, x):
        return x * x

    x, buffer = leaf(1.0, 2.0), np.full(2, 7.0)
    x._node.buffer, x._node.fresh = buffer, True
    (square(x) + square(x)).sum().backward()
    assert given[0] is buffer
    assert given[1] is None  # the second contribution is added
    assert x.grad is buffer
    np.testing.assert_array_equal(buffer, [4, 8])
    x._node.fresh = True
    grad(square(x).sum(), x)
    grad(square(x).sum(), x, create_graph=True)
    np.testing.assert_array_equal(buffer, [4, 8])
    x._node.fresh = False
    square(x).sum().backward()
    x._node.fresh = True
    x.register_hook(lambda g: g * 10)
    square(x).sum().backward()
    assert given[2:] == [None] * 4
    np.testing.assert_array_equal(buffer, [20, 40])


def test_a_gradient_that_was_looked_at_is_fresh_no_more():
    x = leaf(1.0, 2.0)
    x._node.buffer, x._node.fresh = np.zeros(2), True
    x.grad += 1
    (x * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [4, 4])


def test_the_text_of_the_module():
    @op(x=lambda g, y: g - g * y * y)
    def tanh(xp, x):
        """Hyperbolic."""
        return xp.tanh(x)

    check_grads(tanh, X, order=3)
    assert tanh.__doc__ == "Hyperbolic."
    assert tanh.__name__ == "tanh"


def test_the_engine_sums_over_broadcast_axes():
    @op(a=lambda g: g, b=lambda g: -g)
    def minus(xp, a, b):
        return a - b

    a, b = leaf([1.0], [2.0]), leaf(1.0, 2.0, 3.0)
    minus(a, b).sum().backward()
    np.testing.assert_array_equal(a.grad, [[3], [3]])
    np.testing.assert_array_equal(b.grad, [-2, -2, -2])
    check_grads(minus, np.ones((4, 1, 2)), np.ones((3, 1)))


def test_each_node_gets_the_module_of_its_own_gradient(monkeypatch):
    class OnGpu(np.ndarray):
        """What ``.to("cuda")`` makes, for those who look at the type only."""

    cupy = SimpleNamespace(ndarray=OnGpu, empty=lambda *how: np.empty(*how).view(OnGpu))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    seen = []

    @op(x=lambda xp, g: seen.append(xp) or np.array(g))
    def there(xp, x):
        return x.view(OnGpu)

    @op(x=lambda xp, g: seen.append(xp) or g)
    def stay(xp, x):
        return x.copy()

    x = Tensor(np.ones(()), requires_grad=True)
    stay(there(stay(x))).backward()
    assert seen == [cupy, cupy, np]


# --- mistakes in a definition -------------------------------------------------------------------


def test_an_unknown_name_in_a_rule_fails_at_definition():
    with pytest.raises(TypeError, match=r"'square': its rule for x names 'z'; it may name g, "):

        @op(x=lambda g, z: g * z)
        def square(xp, x):
            return x * x


def test_out_must_be_the_last_name():
    with pytest.raises(TypeError, match=r"'square': its rules must name 'out' last"):

        @op(x=lambda out, g: g)
        def square(xp, x):
            return x * x


def test_a_rule_for_an_input_that_is_not_there():
    with pytest.raises(TypeError, match=r"'square' has a rule for 'z', but no such input"):

        @op(z=lambda g: g)
        def square(xp, x):
            return x * x


def test_a_joint_rule_for_an_input_that_is_not_there():
    with pytest.raises(TypeError, match=r"has a rule for 'b', but no such input"):

        @op(joint=(("a", "b"), lambda g: (g, g)))
        def square(xp, a):
            return a * a


def test_an_input_without_a_rule():
    @op(x=lambda g, scale: g * scale)
    def scaled(xp, x, scale):
        return x * scale

    with pytest.raises(InputError, match=r"scaled has no gradient .* 'scale': detach\(\)"):
        scaled(leaf(1.0), leaf(2.0))
    scaled(leaf(1.0), leaf(2.0).detach()).sum().backward()


def test_a_rule_with_a_wrong_shape():
    @op(x=lambda g: g[:1])
    def wrong(xp, x):
        return x * 1

    with pytest.raises(RuntimeError, match=r"rule of 'wrong' gave shape \(1,\) for .* \(2,\)"):
        wrong(leaf(1.0, 2.0)).sum().backward()


def test_an_op_without_rules_ends_the_graph():
    @op()
    def ceiling(xp, x):
        return xp.ceil(x)

    assert not ceiling(leaf(1.5)).requires_grad


def test_a_fused_op_cannot_be_differentiated_twice():
    @op(x=lambda g, y: g * y, fused=True)
    def fused_exp(xp, x):
        return xp.exp(x)

    x = leaf(1.0, 2.0)
    fused_exp(x).sum().backward()
    np.testing.assert_allclose(x.grad, np.exp(X))
    with pytest.raises(InputError, match="'fused_exp' is a fused op"):
        grad(fused_exp(x).sum(), x, create_graph=True)


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (ops.tanh, r"tanh\(\) was given 0 arguments: it takes x"),
        (lambda: ops.tanh(X, X), r"tanh\(\) was given 2 arguments: it takes x"),
        (lambda: ops.tanh(z=X), r"tanh\(\) has no further argument 'z'"),
        (lambda: ops.sum(X, 0, axis=0), r"no further argument 'axis': it takes x, axis=None"),
    ],
)
def test_arguments_that_do_not_fit(f, said):
    with pytest.raises(TypeError, match=said):
        f()


def test_within_serves_arrays_and_tensors():
    assert isinstance(within(np, ops.tanh, X), np.ndarray)
    assert isinstance(within(functions, ops.tanh, Tensor(X)), Tensor)


def test_every_op_is_in_the_namespace_of_rules():
    for name in ("tanh", "sum", "where", "einsum", "softmax", "getitem"):
        assert hasattr(functions, name)
