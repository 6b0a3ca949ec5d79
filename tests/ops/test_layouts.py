"""Ops that have kernels take arrays in any layout, order of bytes and place, as formulas do."""

import numpy as np
import pytest

from minigrad import Tensor, ops
from minigrad.kernels import reference


def _misaligned(a):
    part = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    part[...] = a
    return part


def _read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


class _Mapped(np.ndarray):
    """A subclass, as np.memmap is."""


LAYOUTS = {
    "strided": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "fortran": np.asfortranarray,
    "negative": lambda a: a[..., ::-1].copy()[..., ::-1],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "misaligned": _misaligned,
    "read-only": _read_only,
    "subclass": lambda a: a.view(_Mapped),
}
RNG = np.random.default_rng(0)
X, W, B = (RNG.normal(size=s).astype(np.float32) for s in ((300, 50), (50, 50), 50))
IDS = RNG.integers(0, 50, 300)
# name: (op, operands)
OPS = {
    "relu": (lambda *a: ops.dense(*a, activation="relu"), (X, W, B)),
    "gelu": (lambda *a: ops.dense(*a, activation="gelu"), (X, W, B)),
    "layer_norm": (ops.layer_norm, (X, B, B + 1)),
    "cross_entropy": (lambda *a: ops.cross_entropy(*a, reduction="none"), (X, IDS)),
    "dropout": (lambda x: ops.dropout(x, 0.3, (1, 2)), (X,)),
    "embedding": (ops.embedding, (W, IDS)),
}
CASES = [(name, place) for name, (_, given) in OPS.items() for place in range(-1, len(given))]


def _results(name, operands, g):
    leaves = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in operands]
    y = OPS[name][0](*leaves)
    y.backward(g(np.linspace(-1, 1, y.size, dtype=y.dtype).reshape(y.shape)))
    return [y.data, *(leaf.grad for leaf in leaves if leaf.requires_grad)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "place"), CASES)
def test_any_layout_of_any_operand(name, place, layout):
    """At ``place`` −1, of the gradient that arrives."""
    operands = [LAYOUTS[layout](a) if i == place else a for i, a in enumerate(OPS[name][1])]
    found = _results(name, operands, LAYOUTS[layout] if place < 0 else np.asarray)
    with reference():
        wanted = _results(name, OPS[name][1], np.asarray)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype.newbyteorder("=") == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize(
    ("f", "x"),
    [
        (ops.cross_entropy, X),
        (lambda z, k: ops.cross_entropy(z, k, from_logits=False), abs(X)),
        (ops.cross_entropy, X[:3]),
        (ops.embedding, W),
    ],
)
def test_other_labels_assigned_before_backward_change_nothing(f, x, dtype):
    ids = IDS[: len(x)].astype(dtype)
    given, leaf, same = (
        Tensor(ids.copy()),
        Tensor(x, requires_grad=True),
        Tensor(x, requires_grad=True),
    )
    loss = f(leaf, given).sum()
    given.data = (ids + 1) % 50
    loss.backward()
    f(same, ids).sum().backward()
    np.testing.assert_array_equal(leaf.grad, same.grad)
