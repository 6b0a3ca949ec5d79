"""Hooks, the ready signal, and no_grad."""

import threading

import numpy as np
import pytest

from minigrad import InputError, Tensor, grad, is_recording, no_grad, ops


def leaf(*values, name=""):
    return Tensor(np.array(values), requires_grad=True, name=name)


def same(a, *values):
    np.testing.assert_allclose(a, values, rtol=1e-12)


# --- hooks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("interior", [False, True])
def test_a_hook_sees_the_whole_gradient_once(interior):
    x = leaf(1.0, 2.0)
    y = x + 0 if interior else x
    seen = []
    y.register_hook(seen.append)
    (y * y + y).sum().backward()
    assert len(seen) == 1
    same(seen[0], 3, 5)
    same(x.grad, 3, 5)


@pytest.mark.parametrize("interior", [False, True])
def test_hooks_replace_in_order(interior):
    x = leaf(1.0)
    y = x + 0 if interior else x
    y.register_hook(lambda g: g + 1)
    y.register_hook(lambda g: g * 10)
    (y * 2).sum().backward()
    same(x.grad, 30)


@pytest.mark.parametrize("interior", [False, True])
def test_a_hook_can_be_removed(interior):
    x = leaf(1.0)
    y = x + 0 if interior else x
    remove = y.register_hook(lambda g: g * 100)
    y.register_hook(lambda g: g + 1)
    remove()
    remove()
    (y * 2).sum().backward()
    same(x.grad, 3)


def test_a_hook_adds_to_what_is_there():
    x = leaf(1.0)
    x.register_hook(lambda g: g * 10)
    for _ in range(2):
        (x * 2).sum().backward()
    same(x.grad, 40)


def test_hooks_run_for_grad_too():
    x = leaf(1.0)
    y = x * 3
    x.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: g + 1)
    same(grad((y * 2).sum(), x)[0].data, 90)
    assert x.grad is None


@pytest.mark.parametrize("interior", [False, True])
@pytest.mark.parametrize("wrong", [3.0, np.float64(3), np.ones(3), Tensor(np.ones(2))])
def test_what_a_hook_returns_must_fit(interior, wrong):
    x = leaf(1.0, 2.0)
    y = x + 0 if interior else x
    y.register_hook(lambda g: wrong)
    with pytest.raises(
        InputError, match=r"shape \(2,\) and returned .* return ndarray of the same"
    ):
        (y * 2).sum().backward()


def test_what_a_hook_returns_takes_the_dtype():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.astype(np.float32))
    (x * 2).sum().backward()
    assert x.grad.dtype == np.float64


def test_a_hook_of_a_scalar():
    x = leaf(1.0)
    y = (x * x).sum()
    y.register_hook(lambda g: g * 10)
    y.backward()
    same(x.grad, 20)


def test_a_hook_needs_a_gradient():
    with pytest.raises(InputError, match="hook needs a Tensor that requires a gradient"):
        Tensor([1.0]).register_hook(print)


def test_ready_once_after_all_contributions():
    w, v = leaf(1.0), leaf(2.0)
    ready = []
    for x in (w, v):
        x._node.on_ready = lambda node: ready.append((node, float(node.grad[0])))
    (w * w + w * v + w * 3).sum().backward()
    assert sorted(value for _, value in ready) == [1, 7]
    assert {node for node, _ in ready} == {w._node, v._node}


def test_ready_comes_as_early_as_it_can():
    order = []
    layers = [leaf(1.0, name=f"layer {i}") for i in range(4)]
    for w in layers:
        w._node.on_ready = lambda node: order.append(node.name)
    y = Tensor(np.ones(1))
    for w in layers:
        y = ops.tanh(y * w)
    y.register_hook(lambda g: order.append("backward"))
    y.sum().backward()
    assert order == ["backward", "layer 3", "layer 2", "layer 1", "layer 0"]


def test_ready_after_the_hook_of_the_leaf():
    x = leaf(1.0)
    x.register_hook(lambda g: g * 10)
    ready = []
    x._node.on_ready = lambda node: ready.append(float(node.grad[0]))
    (x * x).sum().backward()
    assert ready == [20]


# --- no_grad ------------------------------------------------------------------------------------


def test_no_grad_records_nothing_and_is_restored():
    x = leaf(1.0)
    with no_grad():
        assert not is_recording()
        assert not (x * x).requires_grad
        with no_grad():
            pass
        assert not is_recording()
    assert is_recording()
    assert (x * x).requires_grad


def test_no_grad_is_restored_after_an_exception():
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_recording()


def test_no_grad_as_a_decorator():
    @no_grad()
    def evaluate(x, *, scale):
        """Documented."""
        if scale == 0:
            raise ZeroDivisionError
        return x * scale

    assert not evaluate(leaf(1.0), scale=2).requires_grad
    assert evaluate.__doc__ == "Documented."
    with pytest.raises(ZeroDivisionError):
        evaluate(leaf(1.0), scale=0)
    assert is_recording()


def test_no_grad_is_of_its_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(is_recording()))
    with no_grad():
        thread.start()
        thread.join()
    assert found == [True]


def test_one_no_grad_used_inside_itself():
    found = []

    def body():
        quiet = no_grad()
        with quiet, quiet:
            pass
        found.append(is_recording())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [True]


def test_detach_shares_the_data_and_not_the_history():
    x = leaf(2.0)
    y = x * x
    assert np.shares_memory(y.detach().data, y.data)
    (y.detach() * x).sum().backward()
    same(x.grad, 4)
