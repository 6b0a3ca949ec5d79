"""One line a case: an op, its formula in NumPy and in PyTorch, and its operands."""

from collections.abc import Callable
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import pytest

from minigrad import Tensor, grad, ops
from minigrad.testing import check_grads


class Case(NamedTuple):
    """``f``, ``numpy`` and ``torch`` take a module (ops, numpy, torch), then the operands."""

    name: str
    f: Callable[..., Any]
    operands: tuple[Any, ...]
    numpy: Callable[..., Any]
    torch: Callable[..., Any]


def case(name, f, *operands, numpy=None, torch=None):
    """A case; where the three modules agree on names, one lambda serves them all."""
    generator = np.random.default_rng(crc32(name.encode()))
    drawn = tuple(np.asarray(draw(generator) if callable(draw) else draw) for draw in operands)
    formula = f if numpy is None else lambda np, *xs: numpy(*xs)
    return Case(name, f, drawn, formula, torch or f)


def real(*shape):
    """Numbers of either sign, 0.2 to 2 away from 0, where many functions have a corner."""
    return lambda rng: rng.uniform(0.2, 2, shape) * rng.choice([-1, 1], shape)


def positive(*shape):
    return lambda rng: rng.uniform(0.3, 2, shape)


def apart(*shape):
    """Distinct numbers, at least 0.1 apart, in random order, 0 not among them."""
    return lambda rng: 0.1 * (rng.permutation(np.prod(shape, dtype=int)) - 3.5).reshape(shape)


def suite(cases):
    """The four tests that every op must pass."""
    checks = value, gradients, dtypes, pytorch
    return tuple(_test(cases, check) for check in checks)


def corners(cases):
    """PyTorch's choice of slope where there is none: cases that :func:`suite` cannot take."""
    return _test(cases, pytorch)


def slopes(f, *operands):
    """The gradients of Σf, as lists."""
    leaves = [Tensor(np.array(x, np.float64), requires_grad=True) for x in operands]
    return [g.data.tolist() for g in grad(f(*leaves).sum(), leaves)]


def _test(cases, check):
    def test(case):
        check(case)

    test = pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])(test)
    return pytest.mark.parity(test) if check is pytorch else test


def value(case):
    y = case.f(ops, *map(Tensor, case.operands))
    np.testing.assert_allclose(y.data, case.numpy(np, *case.operands), rtol=1e-12, atol=1e-14)


def gradients(case):
    check_grads(lambda *xs: case.f(ops, *xs), *case.operands)


def dtypes(case):
    """float32 stays float32, float64 stays float64, and an integer operand promotes neither."""
    exact = case.f(ops, *map(Tensor, case.operands)).data
    for dtype in (np.float32, np.float64):
        leaves = [Tensor(x, dtype=dtype, requires_grad=True) for x in case.operands]
        y = case.f(ops, *leaves)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.data, exact, rtol=2e-5, atol=1e-6)
        for x, g in zip(leaves, grad(y.sum(), leaves)):
            assert g.dtype == dtype
            assert g.shape == x.shape
    for k in range(len(case.operands)):
        mixed = [Tensor(x, dtype=np.float32) for x in case.operands]
        mixed[k] = Tensor(np.ceil(np.abs(case.operands[k])).astype(np.int64))
        kinds = {"f": np.float32, "i": np.int64, "b": np.bool_}
        y = case.f(ops, *mixed)
        assert y.dtype == kinds[y.dtype.kind]
        assert len(mixed) == 1 or y.dtype == np.float32


def pytorch(case):
    torch = pytest.importorskip("torch")
    ours = [Tensor(x, requires_grad=True) for x in case.operands]
    theirs = [torch.tensor(x, requires_grad=True) for x in case.operands]
    y, expected = case.f(ops, *ours), case.torch(torch, *theirs)
    np.testing.assert_allclose(y.data, expected.detach(), rtol=1e-9, atol=1e-12)
    v = np.random.default_rng(0).normal(size=y.shape)
    y.backward(v)
    expected.backward(torch.tensor(v))
    for x, reference in zip(ours, theirs):
        np.testing.assert_allclose(x.grad, reference.grad, rtol=1e-9, atol=1e-12)
