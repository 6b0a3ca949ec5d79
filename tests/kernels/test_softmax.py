"""Softmax with cross-entropy: against its formula in wider numbers, in every form; then the op."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import KINDS, at, on
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor, grad, ops
from minigrad.kernels import reference
from minigrad.ops import _fused
from minigrad.testing import check_grads

WIDER = {"float32": np.float64, "float64": np.longdouble}
CLASSES = [1, 2, 10, 31, 32, 33, 255, 256, 257, 511, 512, 513, 700]
MORE = [2047, 2048, 2049, 5000]  # around the CPU's tiles
ULP = 16  # units in the last place of the largest term of each sum


def formula(z: Any, y: Any, smoothing: float) -> tuple[Any, Any, Any, Any]:
    """Losses, the gradients of their sum, and for both the size of the terms that are added."""
    rows, classes = np.arange(len(y)), z.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        d = z - z.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(d).sum(axis=1))
        losses = log_sum - (1 - smoothing) * d[rows, y]
        terms = 1 + log_sum - d[rows, y]
        if smoothing:
            losses -= smoothing * d.mean(axis=1)
            terms += smoothing * abs(d - d[rows, y][:, None]).mean(axis=1)
        p = np.exp(d - log_sum[:, None])
        t = (1 - smoothing) * (np.arange(classes) == y[:, None]) + smoothing / classes
        near = np.where(p == 0, 0, p * (2 - d + log_sum[:, None]))
    return losses, p - t, terms, near + t


def launch(where: str, z: Any, y: Any, g: Any, smoothing: float, **how: Any) -> tuple[Any, Any]:
    losses, parts = np.full(len(y), 7, z.dtype), np.full((len(y), 2), 7, z.dtype)
    dz = np.full_like(z, 7)
    on(where, "cross_entropy", z, y, losses, parts, smoothing, **how)
    on(where, "cross_entropy_gradient", z, y, parts, g, dz, smoothing, **how)
    return losses, dz


def close(found: Any, wanted: Any, terms: Any) -> None:
    info = np.finfo(found.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        error = abs(found - wanted)
        same = (found == wanted.astype(found.dtype)) | (np.isnan(found) & np.isnan(wanted))
        assert (same | (error <= ULP * info.eps * terms + 8 * info.tiny)).all(), np.nanmax(error)


def agrees(where: str, seed: int, rows: int, classes: int, dtype: str, kind: Any) -> None:
    rng = np.random.default_rng(seed)
    size, masked, smoothing, offset = kind
    z = at(offset, (size * rng.normal(size=(rows, classes))).astype(dtype))
    z[rng.random(z.shape) < masked] = -np.inf
    if rows:
        z[:, rng.integers(classes)] = size  # at least one class is there
    y, g = rng.integers(0, classes, rows), rng.normal(size=rows).astype(dtype)
    losses, dz = launch(where, z, y, g, smoothing)
    wanted, slope, terms, slopes = formula(z.astype(WIDER[dtype]), y, smoothing)
    close(losses, wanted, terms)
    close(dz, slope * g[:, None], slopes * abs(g[:, None]))


SHAPES = st.sampled_from(
    [
        (s, m, e, o)
        for s in (0, 1, 30, 1e4, 1e30)
        for m in (0, 0.5)
        for e in (0, 0.1)
        for o in (0, 1)
    ]
)


@pytest.mark.parametrize("dtype", WIDER)
@given(
    st.integers(0, 2**32), st.sampled_from([0, 1, 3, 33]), st.sampled_from(CLASSES + MORE), SHAPES
)
@settings(max_examples=80)
def test_on_the_cpu(dtype, seed, rows, classes, kind):
    agrees("cpu", seed, rows, classes, dtype, kind)


@pytest.mark.parametrize("where", KINDS[1:])
@pytest.mark.parametrize("dtype", WIDER)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 5]), st.sampled_from(CLASSES), SHAPES)
@settings(max_examples=20)
def test_on_the_gpu(where, dtype, seed, rows, classes, kind):
    agrees(where, seed, rows, classes, dtype, kind)


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_what_is_not_finite(where, dtype, smoothing):
    z = np.tile(np.linspace(-3, 3, 70, dtype=dtype), (8, 1))
    z[0, 40] = np.nan
    z[1, 40] = np.inf
    z[2] = -np.inf
    z[3, 5] = -np.inf  # the label's own logit
    z[4] = np.finfo(dtype).min
    z[5, 10:12] = np.finfo(dtype).max / 2
    y = np.array([5, 5, 5, 5, 5, 5, 70, -1])  # and two labels that no class has
    losses, dz = launch(where, z, y, np.ones(8, dtype), smoothing)
    undefined = np.array([1, 1, 1, 0, 0, 0, 1, 1], bool)
    np.testing.assert_array_equal(np.isnan(losses), undefined)
    np.testing.assert_array_equal(np.isnan(dz).all(axis=1), undefined)
    np.testing.assert_array_equal(np.isnan(dz).any(axis=1), undefined)
    assert losses[3] == np.inf
    assert losses[4] == pytest.approx(np.log(70), rel=1e-6)
    assert dz[3, 5] == pytest.approx(smoothing - 1 - smoothing / 70, rel=1e-6)
    assert dz[5, 10] == pytest.approx(0.5 - smoothing / 70, rel=1e-6)


@pytest.mark.parametrize("where", KINDS)
def test_the_same_bits_in_any_order(where):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(3, 1500)).astype(np.float32), np.array([0, 7, 1499])
    first, *others = (
        launch(where, z, y, np.ones(3, np.float32), 0.1, order=order)
        for order in ("forward", "reverse", 1)
    )
    for other in others:
        np.testing.assert_array_equal(first[0], other[0])
        np.testing.assert_array_equal(first[1], other[1])


@pytest.mark.parametrize("where", KINDS[:1])
@pytest.mark.parametrize("dtype", WIDER)
def test_exp_within_one_ulp_over_its_whole_range(where, dtype):
    info = np.finfo(dtype)
    low, high = np.log(info.tiny), np.log(info.max)
    x = np.linspace(1.2 * low, 1.2 * high, 300_001)
    near = np.concatenate([s * 10 ** np.linspace(-30, 1, 20_000) for s in (-1, 1)])
    edges = [b + np.linspace(-1e-3, 1e-3, 2001) for b in (low, high)]
    x = np.concatenate([[0.0, -0.0, np.inf, -np.inf, np.nan], x, near, *edges]).astype(dtype)
    # with parts of 0 and a label elsewhere, the gradient is e^x itself
    y, parts, one = np.array([0]), np.zeros((1, 2), dtype), np.ones(1, dtype)
    z, found = np.append(0, x).astype(dtype)[None], np.zeros((1, x.size + 1), dtype)
    on(where, "cross_entropy_gradient", z, y, parts, one, found, 0.0)
    with np.errstate(over="ignore"):
        wide = np.exp(x.astype(WIDER[dtype]))
        wanted = wide.astype(dtype)
    found = found[0, 1:]
    normal = np.isfinite(wanted) & (wanted >= info.tiny)
    assert (abs(found[normal] - wide[normal]) <= np.spacing(wanted[normal])).all()
    special = np.where(wanted < info.tiny, 0, wanted)[~normal]
    # where rounding decides between the last normal number and 0, or infinity, either is right
    fair = (found[~normal] == info.tiny) | (found[~normal] >= info.max * (1 - 2 * info.eps))
    same = (found[~normal] == special) | (np.isnan(special) & np.isnan(found[~normal]))
    assert (same | fair).all()


BATCH = np.random.default_rng(1).normal(size=(40, 70))
LABELS = np.random.default_rng(2).integers(0, 70, 40)
WEIGHTS = np.random.default_rng(3).uniform(0, 2, 40)


def whole(x: Any, labels: Any, **how: Any) -> tuple[Any, Any]:
    z = Tensor(x, requires_grad=True)
    loss = ops.cross_entropy(z, labels, **how)
    return loss.data, grad(loss.sum() if loss.ndim else loss, z)[0].data


@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize(
    ("x", "labels"),
    [
        (BATCH, LABELS),
        (np.asfortranarray(BATCH), LABELS),
        (np.repeat(BATCH, 2, axis=1)[:, ::2], LABELS[::-1]),
        (BATCH, LABELS.astype(np.uint8)),
        (BATCH.reshape(4, 10, 70), LABELS.astype(np.int32).reshape(4, 10)),
    ],
)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_op_is_its_formula(dtype, x, labels, reduction, smoothing, weighted):
    how = {"reduction": reduction, "label_smoothing": smoothing}
    how["weights"] = WEIGHTS.reshape(labels.shape) if weighted else None
    found = whole(x.astype(dtype, order="K"), labels, **how)
    with reference():
        wanted = whole(x.astype(dtype, order="K"), labels, **how)
    for a, b in zip(found, wanted):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=8 * np.finfo(dtype).eps * abs(b).max())


def test_the_op_takes_what_is_read_only():
    x, labels = BATCH.copy(), LABELS.copy()
    x.flags.writeable = labels.flags.writeable = False
    np.testing.assert_array_equal(whole(x, labels)[1], whole(BATCH, LABELS)[1])


def test_the_op_in_float16_is_the_formula():
    found = whole(BATCH.astype(np.float16), LABELS)
    assert found[0].dtype == found[1].dtype == np.float16
    np.testing.assert_allclose(found[1], whole(BATCH, LABELS)[1], atol=1e-3)


@pytest.mark.parametrize("smoothing", [0, 0.2])
def test_the_op_can_be_differentiated_twice(monkeypatch, smoothing):
    monkeypatch.setattr(_fused, "SMALL", 0)
    check_grads(lambda z: ops.cross_entropy(z, [1, 0, 2], label_smoothing=smoothing), BATCH[:3, :4])
    z = Tensor(BATCH, requires_grad=True)
    plain, recorded = (
        grad(ops.cross_entropy(z, LABELS, label_smoothing=smoothing), z, create_graph=create)[0]
        for create in (False, True)
    )
    np.testing.assert_allclose(plain.data, recorded.data, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("small", [0, 10**9])
def test_the_op_at_the_edges(monkeypatch, small):
    monkeypatch.setattr(_fused, "SMALL", small)
    loss, dz = whole(np.zeros((0, 3), np.float32), np.zeros(0, int), reduction="sum")
    assert loss == 0
    assert dz.shape == (0, 3)
    for smoothing in (0, 0.1):
        loss, dz = whole(np.array([[7.0], [-1e30]]), [0, 0], label_smoothing=smoothing)
        assert loss == pytest.approx(0, abs=1e-15)
        np.testing.assert_allclose(dz, [[0], [0]], atol=1e-15)
    z = np.array([[1e30, 1e30, 0], [0, -np.inf, 0]], np.float32)
    loss, dz = whole(z, [2, 0], reduction="none")
    np.testing.assert_allclose(loss, [1e30, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(dz, [[0.5, 0.5, -1], [-0.5, 0, 0.5]], atol=1e-6)
    assert np.isnan(whole(np.array([[np.nan, 0]]), [1])[1]).all()
