import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opcheck import case, real, suite

from minigrad import InputError, Tensor, grad, ops
from minigrad.testing import arrays, broadcastable_shapes, check_grads

PAIRS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((1, 1), (1, 1)),
    ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)), ((5, 2, 3), (1, 3, 4)), ((6, 1, 2, 3), (5, 3, 4)),
    ((6, 5, 2, 3), (3,)), ((3,), (6, 1, 3, 4)), ((0, 3), (3, 4)), ((5, 0, 3), (3, 2)),
]  # fmt: skip
DENSE = [((2, 3), True), ((3,), True), ((5, 2, 3), True), ((2, 3), False), ((0, 3), True)]
EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ij,kj->ik", (2, 3), (4, 3)),
    ("i,i", (3,), (3,)), ("i,j->ij", (2,), (3,)), ("i,j->ji", (2,), (3,)), ("ij->ij", (2, 3)),
    ("ij->ji", (2, 3)), ("ba", (2, 3)), ("ij->j", (2, 3)), ("ij->", (2, 3)), ("ii->", (3, 3)),
    ("ii", (3, 3)), ("ii->i", (3, 3)), ("iij->j", (2, 2, 3)), ("iji->j", (2, 3, 2)),
    ("iii->i", (2, 2, 2)), ("ii,i->i", (3, 3), (3,)), ("ii,jj->ij", (2, 2), (3, 3)),
    ("ij,j->i", (2, 3), (3,)),
    ("ij,k->i", (2, 3), (4,)), ("ij,kl->", (2, 3), (4, 2)), ("ijk,k->j", (2, 3, 4), (4,)),
    ("i,->i", (3,), ()), (",->", (), ()), ("->", ()), ("i,ij,j->", (2,), (2, 3), (3,)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)), ("ij,ij,ij->j", (2, 3), (2, 3), (2, 3)),
    ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)), ("bhqd,bhkd->bhqk", (2, 3, 4, 2), (2, 3, 5, 2)),
    ("...ij,...jk->...ik", (5, 2, 3), (5, 3, 4)), ("...ij,jk->...ik", (6, 5, 2, 3), (3, 4)),
    ("...ij,...jk->...ik", (2, 3), (5, 3, 4)), ("...ij,...jk", (5, 2, 3), (3, 4)),
    ("...i->...", (2, 3, 4)), ("...i,...i->...", (5, 1, 3), (4, 3)), ("i...->...i", (2, 3, 4)),
    ("...ii->...i", (2, 3, 3)), ("...,...->...", (2, 3), (3,)), ("ij,ij->ij", (2, 1), (2, 3)),
]  # fmt: skip


def _dense(x, W, b=0.0):
    return x @ W + b


ACTIVATED = {
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
}


def _activated(torch, activation, z):
    f = torch.nn.functional
    return f.relu(z) if activation == "relu" else f.gelu(z, approximate="tanh")


test_value, test_gradients, test_dtype, test_pytorch = suite(
    [
        *(
            case(f"matmul-{a}-{b}", lambda m, a, b: m.matmul(a, b), real(*a), real(*b))
            for a, b in PAIRS
        ),
        case("@", lambda m, a, b: a @ b.T, real(2, 3), real(4, 3)),
        case("gram", lambda m, a: a @ a.T, real(2, 3)),
        *(
            case(
                f"dense-{x}-{bias}", lambda m, *operands: m.dense(*operands),
                real(*x), real(3, 4), *[real(4)] * bias,
                numpy=_dense, torch=lambda t, *operands: _dense(*operands),
            )
            for x, bias in DENSE
        ),
        *(
            case(
                f"dense-{activation}-{x}-{bias}",
                lambda m, *operands, f=activation: m.dense(*operands, activation=f),
                real(*x), real(3, 4), *[real(4)] * bias,
                numpy=lambda *operands, f=activation: ACTIVATED[f](_dense(*operands)),
                torch=lambda t, *operands, f=activation: _activated(t, f, _dense(*operands)),
            )
            for activation in ("relu", "gelu")
            for x, bias in DENSE
        ),
        *(
            case(
                f"{subscripts}-{shapes}", lambda m, *xs, s=subscripts: m.einsum(s, *xs),
                *(real(*shape) for shape in shapes),
            )
            for subscripts, *shapes in EINSUMS
        ),
    ]
)  # fmt: skip


@st.composite
def products(draw):
    """Operands of a matmul: batches that broadcast, any lengths from 0 to 3."""
    batches = draw(broadcastable_shapes(2, max_dims=2))
    n, m, k = (draw(st.integers(0, 3)) for _ in range(3))
    return draw(arrays((*batches[0], n, m))), draw(arrays((*batches[1], m, k)))


@given(products())
@settings(max_examples=30)
def test_any_batches(operands):
    np.testing.assert_allclose(ops.matmul(*operands).data, np.matmul(*operands), atol=1e-12)
    check_grads(ops.matmul, *operands, order=1)


@given(st.data())
@settings(max_examples=40)
def test_any_einsum_of_two(data):
    sizes = {"a": 1, "b": 2, "c": 3, "d": 2}
    terms = [data.draw(st.text("abcd", max_size=3)) for _ in range(2)]
    letters = sorted(set("".join(terms)))
    output = "".join(data.draw(st.lists(st.sampled_from(letters), unique=True)) if letters else [])
    operands = [data.draw(arrays(tuple(sizes[c] for c in term))) for term in terms]
    subscripts = f"{','.join(terms)}->{output}"
    found = ops.einsum(subscripts, *operands)
    np.testing.assert_allclose(found.data, np.einsum(subscripts, *operands), atol=1e-12)
    check_grads(lambda *xs: ops.einsum(subscripts, *xs), *operands)


def test_dense_equals_its_parts():
    rng = np.random.default_rng(0)
    leaves = [Tensor(rng.normal(size=s), requires_grad=True) for s in ((5, 3), (3, 2), 2)]
    x, W, b = leaves
    joint = grad((ops.dense(x, W, b) ** 2).sum(), leaves)
    for ours, parts in zip(joint, grad(((x @ W + b) ** 2).sum(), leaves)):
        np.testing.assert_allclose(ours.data, parts.data, rtol=1e-12)


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3)])
def test_dense_twice_with_one_weight_that_is_fresh(shape):
    rng = np.random.default_rng(0)
    x, W = rng.normal(size=shape), Tensor(rng.normal(size=(3, 3)), requires_grad=True)
    (expected,) = grad((ops.dense(ops.dense(x, W), W) ** 2).sum(), W)
    W._node.buffer, W._node.fresh = np.full((3, 3), np.nan), True
    (ops.dense(ops.dense(x, W), W) ** 2).sum().backward()
    np.testing.assert_allclose(W.grad, expected.data, rtol=1e-12)


def test_dense_leaves_its_bias_alone():
    W, b = np.ones((3, 2)), np.ones(2)
    ops.dense(np.ones((4, 3)), W, b)
    np.testing.assert_array_equal(b, [1, 1])


def test_dense_promotes_as_its_parts_do():
    x, W = np.ones((1, 2), np.float32), np.ones((2, 1), np.float32)
    assert ops.dense(x, W, np.array([1e-9])).dtype == np.float64
    integers = ops.dense(np.array([[1, 2]]), np.array([[1], [2]]), [0.5])
    assert integers.data == 5.5
    assert integers.dtype == np.float32


@pytest.mark.parametrize("subscripts", ["ij,jk->ik", "ij,kj->ki", "ij,jk,kl->il", "ij,jk->ijk"])
def test_large_einsums(subscripts):
    operands = np.random.default_rng(0).normal(size=(subscripts.count(",") + 1, 40, 40))
    leaves = [Tensor(x, requires_grad=True) for x in operands]
    y = ops.einsum(subscripts, *leaves)
    np.testing.assert_allclose(y.data, np.einsum(subscripts, *operands), atol=1e-10)
    ones = np.ones(y.shape)
    left, _, right = subscripts.partition("->")
    first, *others = left.split(",")
    expected = np.einsum(f"{right},{','.join(others)}->{first}", ones, *operands[1:])
    np.testing.assert_allclose(grad(y.sum(), leaves[0])[0].data, expected, atol=1e-9)


def test_einsum_takes_lists():
    assert ops.einsum("i,i", [1.0, 2.0], [3.0, 4.0]).item() == 11


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: x @ x, r"matmul was given shapes \(2, 3\) and \(2, 3\)"),
        (lambda x: ops.dense(x, np.ones((2, 2))), r"dense was given shapes \(2, 3\) and \(2, 2\)"),
        (lambda x: ops.dense(x, np.ones((3, 2)), None, "rleu"), "'rleu': did you mean 'relu'"),
        (lambda x: ops.dense(x, x, None, "tanh"), r"choose one .*layers of their own, nn.Tanh\(\)"),
        (lambda x: ops.dense(x, x, None, ops.relu), "a name, 'relu' or 'gelu', but <function relu"),
        (lambda x: ops.dense(x, x, None, ["relu"]), r"but \['relu'\] was given; other activations"),
        (lambda x: ops.einsum("ij,jk", x), "'ij,jk' names 2 operands, but 1 were given"),
        (lambda x: ops.einsum("ijk->i", x), "'ijk' in 'ijk->i' meets an operand of 2 axes"),
        (lambda x: ops.einsum("ij,jk", x, x), r"^einsum was given shapes \(2, 3\) and \(2, 3\)"),
    ],
)
def test_operands_that_do_not_fit(f, said):
    with pytest.raises(InputError, match=said):
        f(Tensor(np.ones((2, 3))))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("b", [1.5, np.ones((1, 4)), np.ones(4, np.float32), np.ones(4, int)])
def test_biases_of_other_kinds_with_an_activation(activation, b):
    x, W = (np.random.default_rng(0).normal(size=shape) for shape in ((3000, 3), (3, 4)))
    leaf = Tensor(np.asarray(b, np.float64), requires_grad=True)
    for bias in (b, leaf):
        y = ops.dense(x, W, bias, activation)
        np.testing.assert_allclose(y.data, ACTIVATED[activation](x @ W + b), rtol=1e-10, atol=1e-12)
    y.sum().backward()
    (expected,) = grad(getattr(ops, activation)(ops.dense(x, W) + leaf).sum(), leaf)
    np.testing.assert_allclose(leaf.grad, expected.data, rtol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_gradients_of_a_large_dense_with_an_activation(activation):
    x, W, b = (np.random.default_rng(0).normal(size=s) for s in ((700, 3), (3, 20), 20))
    # away from ReLU's corner
    z = x @ W + b
    x = x[(abs(z) > 1e-3).all(1)]
    assert len(x) * 20 > 10_000
    check_grads(lambda *xs: ops.dense(*xs, activation), x, W, b, tolerance=1e-5)
