import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices, integer_array_indices
from opcheck import case, real, suite

from minigrad import InputError, Tensor, grad, ops
from minigrad.testing import arrays, check_grads

X, Y = real(2, 3, 4), real(2, 3, 4)
ROWS, COLUMNS = np.array([0, 1, 1, 0]), np.array([2, -1, 2, 0])
MASK = np.array([[True, False, True], [False, True, True]])


def _torch_pad(width, value=0.0):
    """PyTorch counts from the last axis."""
    return lambda t, x: t.nn.functional.pad(x, width, value=value)


INDICES = {
    "integer": 1,
    "negative": -1,
    "numpy integer": np.int64(1),
    "slice": slice(1, None),
    "step": slice(None, None, 2),
    "all": ...,
    "ellipsis": (..., 1),
    "ellipsis between": (0, ..., slice(1, 3)),
    "new axis": (slice(None), None, 2),
    "element": (1, 2, 3),
    "empty slice": slice(2, 2),
    "empty tuple": (),
    "array": ROWS,
    "repeated": np.array([0, 0, 0]),
    "list": [1, 0, 1],
    "two arrays": (ROWS, COLUMNS),
    "arrays apart": (ROWS, slice(None), COLUMNS),
    "array and slice": (slice(None), COLUMNS, slice(1, 3)),
    "array and integer": (0, COLUMNS),
    "arrays that broadcast": (np.array([[0], [1]]), COLUMNS),
    "no elements": np.array([], dtype=int),
    "mask": MASK,
    "mask and slice": (MASK, slice(1, None)),
    "mask of one axis": (slice(None), np.array([True, False, True])),
    "mask of nothing": np.zeros((2, 3), bool),
    "new axis and array": (None, ROWS, ..., None),
}
SHAPED = {
    "reshape": lambda m, x: m.reshape(x, (4, 6)),
    "reshape--1": lambda m, x: m.reshape(x, (2, -1)),
    "reshape-flat": lambda m, x: x.reshape(-1),
    "swapaxes": lambda m, x: m.swapaxes(x, 0, -1),
    "method-swapaxes": lambda m, x: x.swapaxes(-1, 1),
}

test_value, test_gradients, test_dtype, test_pytorch = suite(
    [
        *(case(name, f, X) for name, f in SHAPED.items()),
        case("transpose", lambda m, x: m.transpose(x), X, torch=lambda t, x: x.permute(2, 1, 0)),
        case(
            "transpose-axes", lambda m, x: m.transpose(x, (1, -1, 0)), X,
            torch=lambda t, x: x.permute(1, 2, 0),
        ),
        case("T", lambda m, x: x.T, real(2, 3)),
        case(
            "expand_dims", lambda m, x: m.expand_dims(x, 1), X,
            torch=lambda t, x: x.unsqueeze(1),
        ),
        case(
            "expand_dims-2", lambda m, x: m.expand_dims(x, (0, -1)), X,
            torch=lambda t, x: x[None, ..., None],
        ),
        case("squeeze", lambda m, x: m.squeeze(x), real(1, 3, 1)),
        case("squeeze-axis", lambda m, x: m.squeeze(x, -1), real(1, 3, 1)),
        case("broadcast_to", lambda m, x: m.broadcast_to(x, (5, 2, 3)), real(2, 1)),
        case("pad", lambda m, x: m.pad(x, 2), X, torch=_torch_pad((2,) * 6)),
        case(
            "pad-pairs", lambda m, x: m.pad(x, ((1, 1), (2, 0), (0, 1)), value=0.5), X,
            numpy=lambda x: np.pad(x, ((1, 1), (2, 0), (0, 1)), constant_values=0.5),
            torch=_torch_pad((0, 1, 2, 0, 1, 1), 0.5),
        ),
        case("pad-pair", lambda m, x: m.pad(x, (0, 2)), X, torch=_torch_pad((0, 2) * 3)),
        case("concatenate", lambda m, a, b: m.concatenate([a, b, a]), X, real(5, 3, 4)),
        case("concatenate--1", lambda m, a, b: m.concatenate([a, b], axis=-1), X, real(2, 3, 0)),
        case("concatenate-one", lambda m, a: m.concatenate([a], axis=1), X),
        case("stack", lambda m, a, b: m.stack([a, b]), X, Y),
        case("stack--1", lambda m, a, b: m.stack([a, b, b], axis=-1), X, Y),
        case("stack-1", lambda m, a, b: m.stack((a, b), axis=1), X, Y),
        case("split", lambda m, x: m.concatenate(m.split(x, 2, -1)), X),
        case(
            "split-uneven", lambda m, x: m.split(x, [1, 3], axis=2)[1] ** 2, X,
            torch=lambda t, x: x[..., 1:3] ** 2,
        ),
        *(case(f"[{name}]", lambda m, x, i=index: x[i], X) for name, index in INDICES.items()),
    ]
)  # fmt: skip


@given(st.data())
def test_any_basic_index(data):
    x = data.draw(arrays(array_shapes(max_dims=3, max_side=3)))
    index = data.draw(basic_indices(x.shape, allow_newaxis=True))
    np.testing.assert_array_equal(Tensor(x)[index].data, x[index])
    check_grads(lambda x: x[index], x, order=1)


@given(st.data())
def test_any_integer_arrays(data):
    x = data.draw(arrays(array_shapes(max_dims=3, max_side=3)))
    index = data.draw(integer_array_indices(x.shape))
    np.testing.assert_array_equal(Tensor(x)[index].data, x[index])
    check_grads(lambda x: x[index], x, order=1)


@given(st.data())
@settings(max_examples=30)
def test_any_permutation(data):
    x = data.draw(arrays(array_shapes(max_dims=4, max_side=3)))
    axes = tuple(data.draw(st.permutations(range(x.ndim))))
    axes = tuple(a - x.ndim if data.draw(st.booleans()) else a for a in axes)
    np.testing.assert_array_equal(ops.transpose(x, axes).data, x.transpose(axes))
    check_grads(lambda x: ops.transpose(x, axes), x, order=1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.sampled_from([0, 1, -1]))
@settings(max_examples=30)
def test_split_undoes_concatenate(lengths, axis):
    shapes = [[2, 2] for _ in lengths]
    for shape, n in zip(shapes, lengths):
        shape[axis] = n
    parts = [np.random.default_rng(n).normal(size=shape) for n, shape in zip(lengths, shapes)]
    joined = ops.concatenate(parts, axis=axis)
    np.testing.assert_array_equal(joined.data, np.concatenate(parts, axis))
    for a, b in zip(ops.split(joined, np.cumsum(lengths)[:-1], axis), parts):
        np.testing.assert_array_equal(a.data, b)
    check_grads(lambda *xs: ops.concatenate(xs, axis=axis), *parts, order=1)


def test_repeated_elements_add_up():
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[[0, 0, 2, 0]].sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 0, 1])


@pytest.mark.parametrize(
    "index",
    [
        Tensor([1, 0, 1]),
        (slice(None), Tensor([0, 2])),
        Tensor([[True, False, True], [False, True, False]]),
        (Tensor([0, 1]), np.array([2, 2])),
    ],
)
def test_tensors_as_indices(index):
    plain = tuple(getattr(i, "data", i) for i in index) if type(index) is tuple else index.data
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(Tensor(x)[index].data, x[plain])
    check_grads(lambda x: x[index], x)


def test_a_comparison_as_index():
    x = Tensor([3.0, -1.0, 2.0], requires_grad=True)
    x[x > 0].sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 0, 1])


@pytest.mark.parametrize("index", [5, (0, 0, 0), (0, -4), [2], "a"])
def test_indices_that_are_not_there(index):
    with pytest.raises(IndexError):
        Tensor(np.ones((2, 3)), requires_grad=True)[index]


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: x.reshape(4), r"reshape was given shapes \(2, 3\)"),
        (lambda x: ops.split(x, 2, axis=1), "an axis of length 3 does not divide into 2 parts"),
        (lambda x: ops.split(x, 0), "an axis of length 2 does not divide into 0 parts"),
        (lambda x: ops.concatenate([x, x.T]), r"concatenate was given .* and \(3, 2\)"),
        (lambda x: ops.stack([x, x.T]), r"stack was given shapes \(2, 3\) and \(3, 2\)"),
        (lambda x: ops.stack([]), "stack .* need at least one array"),
        (lambda x: ops.broadcast_to(x, (2, 2)), r"broadcast_to was given shapes \(2, 3\)"),
        (lambda x: ops.squeeze(x, 0), r"squeeze was given shapes \(2, 3\)"),
        (lambda x: x.to("gpu"), "unknown device 'gpu'"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(f, said):
    with pytest.raises(InputError, match=said):
        f(Tensor(np.ones((2, 3))))


def test_astype_gives_the_gradient_back_in_its_own_dtype():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.astype("float64")
    assert y.dtype == np.float64
    (y * np.array([3.0, 4.0])).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad, [3, 4])


def test_integers_end_the_graph():
    y = Tensor([1.5, 2.5], requires_grad=True).astype(int)
    np.testing.assert_array_equal(y.data, [1, 2])
    assert not y.requires_grad


def test_to_the_same_device_is_itself():
    x = Tensor([1.0], requires_grad=True)
    assert x.to("cpu") is x


def test_cuda_is_the_first_gpu(monkeypatch):
    x = Tensor(np.ones(2), requires_grad=True)
    monkeypatch.setattr(Tensor, "device", "cuda:0")
    assert x.to("cuda") is x


def test_pieces_of_a_tensor_used_together():
    x = Tensor(np.arange(4.0), requires_grad=True)
    a, b = ops.split(x, 2)
    first, *rest = x
    (a * b).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 3, 0, 1])
    assert first.item() == 0
    assert len(rest) == 3
    (g,) = grad(ops.stack(rest).sum(), x)
    np.testing.assert_array_equal(g.data, [0, 1, 1, 1])
