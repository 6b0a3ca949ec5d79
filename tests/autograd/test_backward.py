"""backward: what it computes, how deep, what it frees, and what it refuses."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

from minigrad import InputError, Tensor, grad, ops


def leaf(*values, name=""):
    return Tensor(np.array(values), requires_grad=True, name=name)


def same(a, *values):
    np.testing.assert_allclose(a, values, rtol=1e-12)


# --- what backward computes ---------------------------------------------------------------------


def test_a_diamond():
    x = leaf(3.0)
    a, b = x * 2, x * x
    (a * b).sum().backward()  # 2x³
    same(x.grad, 54)


def test_diamonds_in_a_row_are_walked_once():
    x = leaf(1.0)
    y = x
    for _ in range(200):  # 2²⁰⁰ paths
        y = 0.5 * (y + y)
    y.backward([1.0])
    same(x.grad, 1)


def test_a_tensor_used_twice_by_one_op():
    x = leaf(3.0, -1.0)
    (x * x + x / x + (x - x)).sum().backward()
    same(x.grad, 6, -2)


def test_one_leaf_in_many_places():
    x = leaf(2.0)
    ops.concatenate([x, x * x, x]).sum().backward()
    same(x.grad, 6)


def test_two_backward_calls_add_up():
    x = leaf(1.0, 2.0)
    for _ in range(2):
        (x * x).sum().backward()
    same(x.grad, 4, 8)


def test_a_leaf_is_its_own_output():
    x = leaf(5.0)
    x.backward()
    same(x.grad, 1)


def test_a_gradient_is_no_view_of_another_array():
    x, y, seed = leaf(1.0, 2.0), leaf(1.0, 2.0), np.ones(2)
    (x + y).backward(seed)
    x.grad += 1
    same(y.grad, 1, 1)
    same(seed, 1, 1)


@pytest.mark.parametrize("gradient", [np.array([1.0, 10.0]), [1.0, 10.0], Tensor([1.0, 10.0])])
def test_backward_from_no_scalar(gradient):
    x = leaf(1.0, 2.0)
    (x * x).backward(gradient)
    same(x.grad, 2, 40)


def test_backward_from_one_number_for_all():
    x = leaf(1.0, 2.0)
    (x * x).backward(2)
    same(x.grad, 4, 8)


def test_the_loss_may_have_any_shape_of_one_element():
    x = leaf(3.0)
    ops.reshape(x * x, (1, 1, 1)).backward()
    same(x.grad, 6)


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: x.backward(), r"starts at a scalar; this Tensor has shape \(2,\)"),
        (lambda x: (x * x).backward(np.ones(3)), r"gradient has shape \(2,\), but .* \(3,\)"),
        (lambda x: x.sum().backward(np.ones(1)), r"gradient has shape \(\), but .* \(1,\)"),
        (lambda x: Tensor([1.0]).backward(), "came from one with requires_grad=True"),
        (lambda x: x.detach().sum().backward(), "came from one with requires_grad=True"),
    ],
)
def test_where_backward_cannot_start(f, said):
    with pytest.raises(InputError, match=said):
        f(leaf(1.0, 2.0))


def test_newest_first():
    x = leaf(1.0)
    seen = []
    old, new = x * 2, x * 3
    for name, y in (("old", old), ("new", new)):
        y.register_hook(lambda g, name=name: seen.append(name))
    (old * new).backward(retain_graph=True)
    (new * 1.0 + old * 1.0).backward()
    assert seen == ["new", "old"] * 2


def test_float32_gradients_of_a_float64_loss():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * np.array([3.0, 4.0])).sum().backward()
    assert x.grad.dtype == np.float32


# --- depth and memory ---------------------------------------------------------------------------


def chain(length):
    x = leaf(*np.full(8, 0.5))
    y = x
    for _ in range(length // 2):
        y = ops.tanh(y) * 1.0000001
    return x, y


def test_a_hundred_thousand_ops():
    x, y = chain(100_000)
    y.sum().backward()
    assert np.isfinite(x.grad).all()
    assert (x.grad > 0).all()


def test_memory_is_linear_in_the_depth():
    def peak(length):
        tracemalloc.start()
        x, y = chain(length)
        y.sum().backward()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert x.grad is not None
        return most / length

    peak(100)
    assert peak(8_000) < 2 * peak(1_000)
    assert peak(8_000) < 1_000  # bytes an op; half of them are tanh, which keeps 64 and their array


@pytest.fixture
def _no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kept_arrays(x):
    """A graph, and weak references to the arrays that it keeps."""
    y = ops.tanh(x)
    z = ops.exp(y) * x
    arrays = [weakref.ref(a) for t in (y, z) for a in t._node.kept]
    arrays.append(weakref.ref(y._node))
    return z.sum(), arrays


@pytest.mark.usefixtures("_no_collector")
def test_memory_is_freed_with_the_loss():
    x = Tensor(np.ones(5), requires_grad=True)
    loss, arrays = kept_arrays(x)
    alive = [a for a in arrays if a() is not None and a() is not x.data]
    assert len(alive) >= 3
    del loss
    assert all(a() is None or a() is x.data for a in arrays)


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("create_graph", [False, True])
def test_memory_is_freed_by_backward(create_graph):
    x = Tensor(np.ones(5), requires_grad=True)
    loss, arrays = kept_arrays(x)
    if create_graph:
        (g,) = grad(loss, x, create_graph=True)
        grad(g.sum(), x)
        del g, loss
    else:
        loss.backward()
    assert all(a() is None or a() is x.data for a in arrays[:-1])


@pytest.mark.usefixtures("_no_collector")
def test_an_unkept_intermediate_is_freed_at_once():
    x = Tensor(np.ones(5), requires_grad=True)
    y = x + 1
    array = weakref.ref(y.data)
    z = y + 1  # keeps nothing
    del y
    assert array() is None
    assert z.requires_grad


# --- used graphs --------------------------------------------------------------------------------


def test_a_second_backward_says_what_to_do():
    loss = ops.tanh(leaf(1.0)).sum()
    loss.backward()
    with pytest.raises(InputError, match=r"'sum' whose graph has already been used.*retain_graph"):
        loss.backward()


def test_a_freed_part_of_a_graph():
    y = ops.tanh(leaf(1.0))
    y.sum().backward()
    with pytest.raises(InputError, match="reached a 'tanh' whose graph"):
        (y * 2).sum().backward()


def test_retain_graph():
    x = leaf(1.0)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    loss.backward()
    same(x.grad, 6)


# --- parameters that change between forward and backward ----------------------------------------


def test_a_write_to_a_kept_parameter_is_caught():
    w = leaf(1.0, 2.0, name="dense.weight")
    loss = (w * np.array([3.0, 4.0]) * w).sum()
    w.data = [0.0, 0.0]
    with pytest.raises(InputError, match=r"'mul' kept parameter 'dense\.weight' for backward"):
        loss.backward()


def test_a_nameless_parameter_is_called_by_its_shape():
    w = leaf(1.0, 2.0)
    loss = ops.exp(w * w).sum()
    w.data = 0
    with pytest.raises(InputError, match=r"'mul' kept parameter '\(2,\)'"):
        loss.backward()


def test_a_write_to_a_parameter_that_nothing_kept():
    w = leaf(1.0, 2.0)
    loss = (w + 1).sum()
    w.data = 0
    loss.backward()
    same(w.grad, 1, 1)


def test_a_write_before_forward_or_after_backward():
    w = leaf(1.0)
    for value in (2.0, 3.0):
        w.data = value
        w.grad = None
        (w * w).sum().backward()
        same(w.grad, 2 * value)


def test_a_write_is_caught_by_a_retained_graph():
    w = leaf(1.0)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    w.data = 5.0
    with pytest.raises(InputError, match="run the forward pass again"):
        loss.backward()


def test_results_cannot_be_overwritten():
    y = leaf(1.0, 2.0) * 3
    with pytest.raises(InputError, match=r"result of 'mul'.*detach"):
        y.data = 0


def test_gradients_as_values_are_separate_writable_arrays():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    ga, gb = grad(((a + b) * 3).sum(), [a, b])
    ga.data = 0
    same(gb.numpy(), 3, 3)
    (g,) = grad(a.sum(), [a])
    g.data = 7
    same(g.numpy(), 7, 7)
