"""Tensor: what it is made of, its setters, operators and conversions."""

import operator

import numpy as np
import pytest

import minigrad as mg
from minigrad import InputError, Tensor, ops


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


# --- making one ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        ([1.0, 2.0], np.float32),
        ([[1, 2.5]], np.float32),
        ([1, 2], np.int64),
        (True, np.bool_),
        (np.float64(2), np.float32),
        (np.ones(2), np.float64),
        (np.array(2.0), np.float64),
        (np.ones(2, np.float16), np.float16),
        (np.ones(2, np.uint8), np.uint8),
        (Tensor(np.ones(2)), np.float64),
        ([], np.float32),
    ],
)
def test_dtype_of_what_is_given(data, dtype):
    assert Tensor(data).dtype == dtype


def test_an_array_is_not_copied_and_a_dtype_converts():
    array = np.ones(3)
    assert Tensor(array).data is array
    assert Tensor(Tensor(array)).data is array
    assert Tensor(array, dtype=np.float64).data is array
    assert Tensor(array, dtype="float32").dtype == np.float32


@pytest.mark.parametrize("data", ["text", None, [1, "a"], 1j, object(), [None]])
def test_only_numbers(data):
    with pytest.raises(InputError, match="a Tensor holds numbers, but"):
        Tensor(data)


@pytest.mark.parametrize("data", [[1, 2], True, np.zeros(2, np.uint8)])
def test_integers_cannot_require_gradients(data):
    with pytest.raises(InputError, match=r"cannot require a gradient.*astype\('float32'\)"):
        Tensor(data, requires_grad=True)
    with pytest.raises(InputError, match="cannot require a gradient"):
        Tensor(data).requires_grad = True


def test_what_a_tensor_says_of_itself():
    x = Tensor(np.ones((2, 3)), name="rows")
    assert (x.shape, x.ndim, x.size, x.dtype, x.device) == ((2, 3), 2, 6, np.float64, "cpu")
    assert (x.name, len(x), x.grad, x.requires_grad) == ("rows", 2, None, False)


def test_a_name_follows_the_tensor_to_its_leaf():
    x = Tensor([1.0], name="before")
    x.requires_grad = True
    assert x.name == "before"
    x.name = "after"
    assert x.name == "after"
    y = x * 2
    y.name = "double"
    assert y.name == "double"


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor(1.5), "Tensor(1.5)"),
        (Tensor([1.0, 2.0], requires_grad=True), "Tensor([1., 2.], requires_grad=True)"),
        (Tensor(np.array([1.0])), "Tensor([1.], dtype=float64)"),
        (Tensor([1, 2]), "Tensor([1, 2], dtype=int64)"),
        (Tensor(np.zeros(100, np.float32)), "Tensor([0., 0., 0., ..., 0., 0., 0.])"),
        (Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]])"),
    ],
)
def test_repr(tensor, text):
    assert repr(tensor) == text


# --- requires_grad ------------------------------------------------------------------------------


def test_requires_grad_of_a_leaf_can_be_switched():
    x = Tensor([1.0])
    x.requires_grad = True
    (x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [2])
    x.requires_grad = True
    np.testing.assert_array_equal(x.grad, [2])
    x.requires_grad = False
    assert x.grad is None
    assert not (x * 2).requires_grad


def test_requires_grad_of_a_result_cannot():
    y = leaf(1.0) * 2
    y.requires_grad = True
    with pytest.raises(InputError, match=r"only be switched off on a leaf; use \.detach\(\)"):
        y.requires_grad = False


# --- setters ------------------------------------------------------------------------------------


def test_setting_data_copies_so_that_views_stay_valid():
    x = leaf(1.0, 2.0)
    view, array = x.data[:1], np.array([3.0, 4.0])
    x.data = array
    array[:] = 0
    np.testing.assert_array_equal(view, [3])
    assert x.data.base is None
    x.data = Tensor([5.0, 6.0])
    x.data = [7, 8]
    x.data += 1
    np.testing.assert_array_equal(view, [8])
    assert x.dtype == np.float64


def test_setting_grad_copies_so_that_views_stay_valid():
    x = leaf(1.0, 2.0)
    x.grad = [3.0, 4.0]
    view = x.grad
    (x * x).sum().backward()
    np.testing.assert_array_equal(view, [5, 8])
    x.grad = None
    np.testing.assert_array_equal(view, [0, 0])
    x.grad = 1.0
    np.testing.assert_array_equal(view, [1, 1])


@pytest.mark.parametrize("what", ["data", "grad"])
@pytest.mark.parametrize("value", [np.ones(3), np.ones((1, 2)), np.ones(1), [[1.0, 2.0]]])
def test_setters_check_the_shape(what, value):
    x = leaf(1.0, 2.0)
    with pytest.raises(InputError, match=rf"{what} has shape \(2,\), but an array of shape"):
        setattr(x, what, value)
    np.testing.assert_array_equal(x.data, [1, 2])


def test_grad_of_a_result_cannot_be_set():
    y = leaf(1.0) * 2
    assert y.grad is None
    with pytest.raises(InputError, match="this Tensor is no leaf"):
        y.grad = [1.0]


# --- operators ----------------------------------------------------------------------------------

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul]
A, B = np.array([[1.0, -2.0], [3.0, 4.0]]), np.array([[2.0, 5.0], [-1.0, 0.5]])


@pytest.mark.parametrize(
    "f",
    [
        *ARITHMETIC,
        lambda a, b: abs(a) ** b,
        lambda a, b: a**2,
        lambda a, b: a**3,
        lambda a, b: -a,
        lambda a, b: abs(a),
        lambda a, b: 2.0**b,
        lambda a, b: 1 - b,
        lambda a, b: 1 / b,
        lambda a, b: a == b,
        lambda a, b: a != b,
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
        lambda a, b: a > 1,
        lambda a, b: 1 - a < b,
        lambda a, b: a[0] + b[:, 1],
        lambda a, b: a.T @ b.T,
        lambda a, b: a.sum(axis=0) * b.mean(axis=1, keepdims=True),
        lambda a, b: a.reshape(4) - b.reshape(-1),
        lambda a, b: a.reshape(1, 4) - b.reshape((4, 1)),
        lambda a, b: a.transpose(1, 0) + b.transpose((1, 0)) + b.transpose(),
        lambda a, b: a.clip(-1, 1) + a.max() + b.min(axis=0) + a.var() + b.std() + a.prod(),
        lambda a, b: a.cumsum(0) + b.swapaxes(0, 1) + a.astype(np.float64),
    ],
)
def test_operators_and_methods_are_numpys(f):
    expected = f(A, B)
    for a, b in ((Tensor(A), Tensor(B)), (leaf(*A), leaf(*B)), (Tensor(A), B), (A, Tensor(B))):
        found = np.asarray(f(a, b))
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize(
    "f",
    [*ARITHMETIC, operator.lt, operator.eq],
)
def test_an_array_or_a_list_beside_a_tensor(f):
    for a, b in ((A, leaf(*B)), (leaf(*A), B), (A.tolist(), leaf(*B)), (leaf(*A), B.tolist())):
        found = f(a, b)
        assert isinstance(found, Tensor)
        np.testing.assert_allclose(found.data, f(A, B), rtol=1e-14)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, s: x * s,
        lambda x, s: s * x,
        lambda x, s: x + s,
        lambda x, s: s - x,
        lambda x, s: s / x,
        lambda x, s: x**s,
        lambda x, s: s**x,
        ops.maximum,
        lambda x, s: ops.where(x > 1, x, s),
    ],
)
@pytest.mark.parametrize("scalar", [2.0, 2, np.float64(2), np.int64(2), np.sqrt(4), True])
def test_a_scalar_leaves_float32_alone(f, scalar):
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = f(x, scalar)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.data, f(Tensor(np.array([1.0, 2.0])), float(scalar)).data)


def test_comparisons_end_the_graph_and_make_masks():
    x = leaf(1.0, -2.0, 3.0)
    mask = x > 0
    assert mask.dtype == bool
    assert not mask.requires_grad
    (x * mask).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 0, 1])


def test_a_tensor_is_hashed_by_identity():
    x, y = Tensor([1.0]), Tensor([1.0])
    assert {x: 1}[x] == 1
    assert len({x, y}) == 2


def test_iteration_and_length():
    x = leaf([1.0, 2.0], [3.0, 4.0])
    first, second = x
    (first * second).sum().backward()
    np.testing.assert_array_equal(x.grad, [[3, 4], [1, 2]])
    for f in (len, list):
        with pytest.raises(TypeError, match="unsized"):
            f(Tensor(1.0))


# --- conversions --------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [2.5, [2.5], [[[2.5]]]])
def test_one_number(data):
    x = Tensor(data, requires_grad=True)
    assert x.item() == float(x) == 2.5
    assert int(x) == 2
    assert bool(x)


@pytest.mark.parametrize("f", [Tensor.item, float, int, bool])
@pytest.mark.parametrize("shape", [(2,), (0,), (1, 3)])
def test_no_single_number(f, shape):
    with pytest.raises(InputError, match=r"item\(\) needs exactly one element; this Tensor has"):
        f(Tensor(np.zeros(shape)))


def test_to_numpy():
    x = leaf(1.0, 2.0)
    assert x.numpy() is x.data
    assert np.asarray(x) is x.data
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.stack([x, x]), [[1, 2], [1, 2]])


def test_the_first_lines_of_the_package():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    (x**2).sum().backward()
    assert repr(x.grad) == "array([2., 4.], dtype=float32)"
