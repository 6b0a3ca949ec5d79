"""grad, vjp, hvp."""

import numpy as np
import pytest
from hypothesis import given, settings

from minigrad import InputError, Tensor, grad, hvp, ops, vjp
from minigrad.testing import arrays, check_grads


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def same(tensor, *values):
    np.testing.assert_allclose(tensor.data, values, rtol=1e-12)


def test_grad_leaves_grad_alone():
    x = leaf(1.0, 2.0)
    (g,) = grad((x * x).sum(), [x])
    same(g, 2, 4)
    assert x.grad is None
    assert not g.requires_grad


def test_grad_of_interior_tensors():
    x = leaf(2.0)
    y = x * x
    z = y * x
    gx, gy, gz = grad(z.sum(), [x, y, z])
    same(gx, 12)
    same(gy, 2)
    same(gz, 1)


def test_an_input_inside_anothers_history():
    x = leaf(2.0)
    y = x * x
    gy, gx = grad((y * y + x).sum(), [y, x])
    same(gy, 8)
    same(gx, 33)


def test_an_unused_input_gets_zeros():
    x, other = leaf(2.0), leaf(1.0, 1.0)
    gx, g = grad((x * x).sum(), [x, other])
    same(gx, 4)
    same(g, 0, 0)


def test_no_input_is_used():
    same(grad((leaf(2.0) * 2).sum(), leaf(1.0))[0], 0)


def test_the_output_itself():
    x = leaf(2.0)
    same(grad(x, [x, x], create_graph=True)[1], 1)
    y = x * x
    same(grad(y, y)[0], 1)


def test_grad_runs_only_what_leads_to_the_inputs():
    x, y = leaf(2.0), leaf(3.0)
    a, b = ops.exp(x), ops.exp(y)
    seen = []
    b.register_hook(seen.append)
    loss = (a * b).sum()
    grad(loss, x, retain_graph=True)
    assert seen == []
    grad(loss, y)
    assert len(seen) == 1


def test_grad_of_what_requires_none():
    x = leaf(1.0)
    with pytest.raises(InputError, match="input 1 does not require a gradient"):
        grad(x.sum(), [x, Tensor([1.0])])


def test_grad_frees_the_graph_unless_told_otherwise():
    x = leaf(2.0)
    loss = (x * x).sum()
    grad(loss, x, retain_graph=True)
    grad(loss, x)
    with pytest.raises(InputError, match="already been used and freed"):
        grad(loss, x)


def test_grad_with_a_gradient():
    x = leaf(1.0, 2.0)
    same(grad(x * x, x, [1.0, 10.0])[0], 2, 40)


def test_a_gradient_keeps_its_history():
    x, v = leaf(2.0), leaf(3.0)
    (g,) = grad(x * x, x, v, create_graph=True)
    same(grad(g.sum(), v)[0], 4)


@pytest.mark.parametrize("v", [leaf(1.0, 1.0), leaf(1.0).astype("float32")])
def test_a_gradient_with_a_history_must_fit(v):
    with pytest.raises(InputError, match=r"with create_graph it must have theirs|shapes must"):
        grad(leaf(2.0) * 2, leaf(2.0), v, create_graph=True)


def test_an_interior_input_keeps_its_own_graph():
    x = leaf(2.0)
    h = x * x
    same(grad((h * h).sum(), h)[0], 8)
    h.backward()
    assert x.grad == 4
    same(grad((h * 3).sum(), h)[0], 3)  # though the rule of h is freed now


def test_a_hook_runs_once_for_an_input_given_twice():
    x, seen = leaf(2.0), []
    x.register_hook(seen.append)
    grad(x * 2, [x, x])
    assert len(seen) == 1


def test_third_order():
    x = leaf(2.0, -1.0)
    y = (x**4.0).sum()
    orders = []
    for _ in range(4):
        (y,) = grad(y.sum(), x, create_graph=True)
        orders.append(y)
    same(orders[0], 32, -4)
    same(orders[1], 48, 12)
    same(orders[2], 48, -24)
    same(orders[3], 24, 24)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: ops.tanh(x) * ops.exp(x),
        lambda x: ops.softmax(x) @ np.arange(3.0),
        lambda x: ops.logsumexp(ops.sin(x), axis=1),
        lambda x: ops.norm(x @ x.T, axis=0),
        lambda x: ops.layer_norm(x, np.ones(3), np.zeros(3)),
        lambda x: ops.max(x, axis=1) / ops.std(x, axis=1),
        lambda x: ops.einsum("ij,kj->i", x, x)[[0, 1, 0]],
        lambda x: ops.cross_entropy(x, [2, 0]),
    ],
)
def test_to_third_order_against_central_differences(f):
    check_grads(f, np.random.default_rng(0).normal(size=(2, 3)), order=3)


def test_backward_through_a_gradient():
    """A gradient penalty: ‖∂y/∂x‖² as part of a loss whose gradient lands in ``.grad``."""
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (g,) = grad((x * x * w).sum(), x, create_graph=True)  # 2xw
    (g * g).sum().backward()
    np.testing.assert_allclose(w.grad, 8 * x.data**2 * w.data)
    np.testing.assert_allclose(x.grad, 8 * w.data**2 * x.data)


def test_a_constant_gradient_has_no_history():
    x = leaf(1.0)
    (g,) = grad((3 * x).sum(), x, create_graph=True)
    assert not g.requires_grad


def test_vjp():
    A = np.arange(6.0).reshape(2, 3)
    y, pull = vjp(lambda x: A @ x, np.ones(3))
    same(y, 3, 12)
    for v in ([1.0, 0.0], [0.0, 1.0], [2.0, -1.0]):  # any number of times
        np.testing.assert_allclose(pull(v)[0].data, v @ A)


def test_vjp_of_several_inputs():
    y, pull = vjp(lambda a, b: a * b, np.array([2.0]), np.array([3.0]))
    a, b = pull([10.0])
    same(y, 6)
    same(a, 30)
    same(b, 20)


def quartic(x, w):
    return ((x @ w) ** 4.0).sum() + (x * x * x).sum() * (w * w).sum()


@given(arrays((2, 3)), arrays(3), arrays((2, 3)), arrays(3))
@settings(max_examples=20)
def test_hvp_is_the_full_hessian_times_the_vector(x, w, vx, vw):
    n = x.size + w.size
    xs = [Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)]
    first = grad(quartic(*xs), xs, create_graph=True)
    flat = ops.concatenate([first[0].reshape(-1), first[1]])
    rows = [grad(flat, xs, row, retain_graph=True) for row in np.eye(n)]
    hessian = np.array([np.concatenate([a.data.ravel(), b.data]) for a, b in rows])
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-9)
    product = hessian @ np.concatenate([vx.ravel(), vw])
    a, b = hvp(quartic, [x, w], [vx, vw])
    np.testing.assert_allclose(np.concatenate([a.data.ravel(), b.data]), product, atol=1e-8)


def test_hvp_of_a_linear_function_is_zero():
    points = [np.ones(2), np.ones(3)]
    a, b = hvp(lambda a, b: a.sum() + 2 * b.sum(), points, points)
    same(a, 0, 0)
    same(b, 0, 0, 0)


def test_hvp_where_one_input_is_linear():
    a, b = hvp(lambda a, b: (a * a).sum() + b.sum(), [np.ones(1), np.ones(1)], [[1.0], [1.0]])
    same(a, 2)
    same(b, 0)
