"""Matrix products by kernels/matmul.cu against NumPy's, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from harness import KINDS, on, values
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, ops, optim
from minigrad.backend import device_count, module_for
from minigrad.errors import InputError
from minigrad.kernels import matmul as products
from minigrad.kernels.matmul import BLOCK, DEPTH, EDGE, capturing, for_capture, matmul, product

FORMS = {"matmul": "nn", "matmul_a_transposed": "tn", "matmul_b_transposed": "nt"}
SIZES = [1, 3, 31, 32, 33, 63, 64, 65, 130]


def check(result, a, b):
    """Each element is a sum of k products, each rounded: off by k halves of a unit of Σ|aᵢbᵢ|, and
    as much again for sums; a multiply-add that rounds once is off by less."""
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
    units = np.finfo(result.dtype).eps * (abs(a).astype(float) @ abs(b).astype(float))
    assert (abs(result - exact) <= (a.shape[1] + 1) * units + 1e-300).all()


def blocks(m, n, pieces=1):
    return -(-m // EDGE) * -(-n // EDGE) * pieces


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=8)
@given(
    m=st.sampled_from(SIZES),
    n=st.sampled_from(SIZES),
    k=st.sampled_from([0, *SIZES]),
    pieces=st.integers(1, 3),
    dtype=st.sampled_from([np.float32, np.float64]),
    order=st.sampled_from(["forward", "reverse", 1]),
    seed=st.integers(0, 999),
)
def test_the_three_forms(where, name, m, n, k, pieces, dtype, order, seed):
    rng = np.random.default_rng(seed)
    a, b = values(rng, m * k, dtype).reshape(m, k), values(rng, k * n, dtype).reshape(k, n)
    given_a = a if FORMS[name][0] == "n" else np.ascontiguousarray(a.T)
    given_b = b if FORMS[name][1] == "n" else np.ascontiguousarray(b.T)
    found, c = np.full((pieces, m, n), np.nan, dtype), np.full(m * n, np.nan, dtype)
    on(where, name, given_a, given_b, found, blocks(m, n, pieces), threads=BLOCK, order=order)
    on(where, "split_k_sum", found.reshape(pieces, -1), c, 100, -(-m * n // 100), order=order)
    check(c.reshape(m, n), a, b)


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("name", FORMS)
def test_what_is_not_finite_stays_in_its_row_and_column(where, name):
    m, k, n = 65, 33, 66
    a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
    a[64, 32], b[32, 65], a[0, 0] = np.nan, np.inf, -1e-45
    c = np.zeros((1, m, n), np.float32)
    given_a = a if FORMS[name][0] == "n" else np.ascontiguousarray(a.T)
    given_b = b if FORMS[name][1] == "n" else np.ascontiguousarray(b.T)
    on(where, name, given_a, given_b, c, blocks(m, n), threads=BLOCK)
    np.testing.assert_array_equal(c[0], a.astype(float) @ b.astype(float))


def views(rng, rows, columns, dtype, layout):
    """A matrix that lies in memory by rows, by columns, or with gaps."""
    x = rng.normal(size=(rows, columns)).astype(dtype)
    if layout == "columns":
        return np.ascontiguousarray(x.T).T
    return np.repeat(x, 2, axis=1)[:, ::2] if layout == "gaps" else x


LAYOUTS = ["rows", "columns", "gaps"]
MODULES = [
    "numpy",
    pytest.param(
        "cupy",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a CUDA device"),
        ],
    ),
]


@pytest.fixture(params=MODULES, scope="module")
def xp(request):
    if request.param == "numpy" and products.kernel("matmul", like=np.empty(0)) is None:
        pytest.skip("needs a C++ compiler")
    return np if request.param == "numpy" else module_for("cuda")


def numpy(x):
    return x if isinstance(x, np.ndarray) else x.get()


@settings(max_examples=40)
@given(
    m=st.sampled_from([0, 1, 32, 65]),
    n=st.sampled_from([0, 1, 10, 128]),
    k=st.sampled_from([0, 1, 64, 784]),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    out=st.sampled_from([None, *LAYOUTS]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_matmul_takes_matrices_as_they_lie(xp, m, n, k, layouts, out, dtype):
    rng = np.random.default_rng(m + n + k)
    a, b = views(rng, m, k, dtype, layouts[0]), views(rng, k, n, dtype, layouts[1])
    target = None if out is None else views(rng, m, n, dtype, out)
    if xp is not np:
        a, b, target = (None if x is None else xp.asarray(x) for x in (a, b, target))
    c = matmul(xp, a, b, target)
    assert out is None or c is target
    assert c.shape == (m, n)
    assert c.dtype == dtype
    check(numpy(c), numpy(a), numpy(b))


def test_transposed_views_are_not_copied(xp, monkeypatch):
    copied = []
    inside = xp.ascontiguousarray
    monkeypatch.setattr(xp, "ascontiguousarray", lambda x: copied.append(x) or inside(x))
    x, g, w = xp.ones((32, 20)), xp.ones((32, 30)), xp.ones((20, 30))
    for a, b in ((x, w), (x.T, g), (g, w.T)):
        matmul(xp, a, b)
    assert not any(not x.flags.c_contiguous for x in copied)


def test_leading_axes_are_rows(xp):
    a, b = xp.arange(24.0).reshape(2, 3, 4), xp.arange(20.0).reshape(4, 5)
    np.testing.assert_allclose(numpy(matmul(xp, a, b)), numpy(a) @ numpy(b))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((4,), (4, 5), r"shapes \(4,\) and \(4, 5\) cannot be captured.*reshape"),
        ((4, 5), (5,), "two axes or more"),
        ((2, 3, 4), (2, 4, 5), "cannot be captured"),
        ((2, 3), (4, 5), "cannot be captured"),
    ],
)
def test_other_products_are_refused(a, b, message):
    with pytest.raises(InputError, match=message):
        matmul(np, np.ones(a), np.ones(b))


@pytest.mark.parametrize(("a", "b"), [("float16", "float16"), ("float32", "float64")])
def test_other_dtypes_are_refused(a, b):
    with pytest.raises(InputError, match=f"{a} and {b} cannot be captured.*convert"):
        matmul(np, np.ones((2, 2), a), np.ones((2, 2), b))


def losses():
    """Of 10 steps of a model with all that dense does: float64, rows in two axes."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Dense(200, 70, rng=rng, activation="relu", dtype="float64"),
        nn.Dense(70, 10, rng=rng, activation="gelu", dtype="float64"),
        nn.Dense(10, 3, rng=rng, bias=False, dtype="float64"),
    )
    optimizer = optim.Adam(model, 0.01)
    x, w = mg.Tensor(rng.normal(size=(2, 20, 200))), mg.Tensor(rng.normal(size=(3, 3)))
    labels, found = rng.integers(0, 3, (2, 20)), []
    for _ in range(10):
        loss = ops.cross_entropy(model(x) @ w, labels)
        loss.backward()
        optimizer.step(zero_grad=True)
        found.append(loss.item())
    return np.array(found)


def test_a_model_trains_alike(monkeypatch):
    if products.kernel("matmul", like=np.empty(0)) is None:
        pytest.skip("needs a C++ compiler")
    expected, calls = losses(), []
    monkeypatch.setattr(
        "minigrad.ops.linear.product",
        lambda xp, a, b, out=None: calls.append(out is not None) or matmul(xp, a, b, out),
    )
    np.testing.assert_allclose(losses(), expected, rtol=1e-10)
    # of a step: 4 forward, 3 for inputs, 3 for weights; those into the arena once it was zeroed
    assert (calls.count(True), len(calls)) == (3 * 9, 10 * 10)


class _Cupy:
    """As much of CuPy as the hook looks at."""

    cuda = None
    matmul = staticmethod(np.matmul)
    empty = staticmethod(np.empty)
    ascontiguousarray = staticmethod(np.ascontiguousarray)


def test_kernels_take_the_place_of_cublas_for_a_capture_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(products, "matmul", lambda *_: calls.append("kernel"))
    a = np.ones((2, 2))
    assert not capturing()
    product(_Cupy, a, a)
    with for_capture():
        assert capturing()
        product(_Cupy, a, a, out=a.copy())
        product(np, a, a)
        assert calls == ["kernel"]
    assert not capturing()
    product(_Cupy, a, a)
    assert calls == ["kernel"]


def test_the_mode_ends_with_an_error_too():
    with pytest.raises(ZeroDivisionError), for_capture():
        raise ZeroDivisionError
    assert not capturing()


def test_without_a_capture_it_is_matmul():
    a, b, out = np.ones((2, 3)), np.ones((3, 4)), np.empty((2, 4))
    assert product(np, a, b, out) is out
    np.testing.assert_array_equal(out, np.full((2, 4), 3.0))
    np.testing.assert_array_equal(product(np, np.ones((5, 2, 3)), b), np.full((5, 2, 4), 3.0))


@pytest.mark.parametrize(
    ("m", "n", "k", "expected"),
    [
        (32, 128, 784, (2, 5)),
        (784, 128, 32, (26, 1)),
        (4096, 4096, 4096, (4096, 1)),
        (5, 5, 0, (1, 1)),
    ],
)
def test_a_long_sum_of_few_tiles_is_cut(m, n, k, expected):
    tiles, pieces = products._cut(m, n, k)
    assert (tiles, pieces) == expected
    assert pieces == 1 or (pieces - 1) * (-(-k // (DEPTH * pieces)) * DEPTH) < k
