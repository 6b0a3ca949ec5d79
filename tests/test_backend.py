"""Array modules, devices, and the sentence for arrays that live apart."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minigrad import InputError, MissingExtra, Tensor, ops
from minigrad import backend as b
from minigrad.testing import check_grads

needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(b.device_count() == 0, reason="needs CuPy and a CUDA device"),
]
without_cupy = pytest.mark.skipif("cupy" in sys.modules, reason="CuPy is here")


class FakeArray:
    """As much of a cupy.ndarray as the backend looks at."""

    device = SimpleNamespace(id=1)
    dtype = np.dtype(np.float32)
    shape = (2,)

    def get(self):
        return np.array([1.0, 2.0], np.float32)


@pytest.fixture
def cupy(monkeypatch):
    fake = SimpleNamespace(ndarray=FakeArray)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


def test_numpy_owns_what_no_gpu_holds():
    assert b.array_module() is np
    assert b.array_module(np.ones(2), 1.0, None) is np
    assert b.device_of(np.ones(2)) == "cpu"
    assert b.module_for("cpu") is np


def test_cupy_owns_its_arrays_with_numbers_beside_them(cupy):
    x = FakeArray()
    assert b.array_module(x) is cupy
    assert b.array_module(2.0, None, x, np.float32(1), np.array(1.0)) is cupy
    assert b.array_module(np.ones(2)) is np
    assert b.device_of(x) == "cuda:1"


def test_arrays_that_live_apart_are_named(cupy):
    said = (
        r"matmul: operand 1 lives on cpu and operand 2 on cuda:1; move one of them with "
        r"\.to\('cpu'\) or \.to\('cuda:0'\)"
    )
    with pytest.raises(InputError, match=said):
        b.array_module(np.ones(2), FakeArray(), op="matmul")
    with pytest.raises(InputError, match="operand 2 lives on cpu and operand 1 on cuda:1"):
        b.array_module(FakeArray(), np.ones(2))


@pytest.mark.usefixtures("cupy")
def test_an_op_says_that_its_operands_live_apart():
    with pytest.raises(InputError, match="mul: operand 1 lives on cpu and operand 2 on cuda:1"):
        ops.mul(np.ones(2), Tensor(FakeArray()))


def test_copies_to_the_cpu():
    x = np.ones(2)
    assert b.to_numpy(x) is x
    assert b.to_device(x, "cpu") is x
    np.testing.assert_array_equal(b.to_numpy(FakeArray()), [1, 2])
    np.testing.assert_array_equal(b.to_device(FakeArray(), "cpu"), [1, 2])
    np.testing.assert_array_equal(Tensor(FakeArray()).numpy(), [1, 2])


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "CPU", "", "cpu:0"])
def test_unknown_devices(device):
    with pytest.raises(InputError, match=f"unknown device '{device}': give 'cpu', 'cuda'"):
        b.to_device(np.ones(2), device)
    with pytest.raises(InputError, match="unknown device"):
        Tensor([1.0], device=device)


@without_cupy
def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(b.importlib.util, "find_spec", lambda name: None)
    assert b.device_count() == 0
    with pytest.raises(MissingExtra, match=r"this needs cupy.*pip install -e '\.\[cuda13\]'"):
        b.to_device(np.ones(2), "cuda")


def test_without_a_driver(cupy, monkeypatch):
    class CUDARuntimeError(RuntimeError):
        pass

    def fail():
        raise CUDARuntimeError("no driver")

    runtime = SimpleNamespace(getDeviceCount=fail, CUDARuntimeError=CUDARuntimeError)
    cupy.cuda = SimpleNamespace(runtime=runtime)
    monkeypatch.setattr(b.importlib.util, "find_spec", lambda name: cupy)
    assert b.device_count() == 0
    with pytest.raises(InputError, match=r"this machine has 0 usable CUDA device.*minigrad doctor"):
        b.to_device(np.ones(2), "cuda:0")


class TestOnTheGPU:
    pytestmark = needs_gpu
    rows = np.random.default_rng(0).normal(size=(3, 4))

    def test_there_and_back(self):
        x = Tensor(self.rows, device="cuda:0", requires_grad=True)
        assert x.device == "cuda:0"
        (x.to("cpu") * 2).sum().backward()
        assert b.device_of(x.grad) == "cuda:0"
        np.testing.assert_array_equal(b.to_numpy(x.grad), np.full((3, 4), 2))

    def test_arrays_that_live_apart(self):
        with pytest.raises(InputError, match="operand 2 lives on cpu and operand 1 on cuda:0"):
            Tensor(self.rows, device="cuda") + self.rows

    @pytest.mark.parametrize(
        "f",
        [
            lambda x: ops.tanh(x) * ops.exp(-x) / (1 + x * x),
            lambda x: ops.gelu(x) + ops.silu(x) + ops.elu(x) + ops.softplus(x) + ops.relu(x),
            lambda x: ops.where(x > 0, ops.sqrt(abs(x)), x**3),
            lambda x: ops.softmax(x) * ops.log_softmax(x, 0) + ops.logsumexp(x),
            lambda x: ops.max(x, axis=1) * ops.std(x, axis=1) + ops.norm(x, axis=1),
            lambda x: ops.prod(x, axis=1) + ops.cumsum(x, 1)[:, 2],
            lambda x: ops.matmul(x, x.T) + ops.einsum("ij,kj->ik", x, x),
            lambda x: ops.einsum("ii->i", x @ x.T) + ops.einsum("ij->i", x),
            lambda x: ops.dense(x, x.T, x[:, 0]),
            lambda x: x[[0, 0, 2], 1:] + ops.pad(x, 1)[:3, :3],
            lambda x: ops.concatenate(ops.split(x, 2, 1)[::-1], axis=1) + ops.stack([x, x])[0],
            lambda x: ops.cross_entropy(x, x.data[:, 0].astype(int) * 0 + 1),
        ],
    )
    def test_gradients(self, f):
        check_grads(f, b.to_device(self.rows, "cuda:0"))
        on_gpu = f(Tensor(self.rows, device="cuda:0"))
        np.testing.assert_allclose(on_gpu.numpy(), f(Tensor(self.rows)).data, rtol=1e-10)
