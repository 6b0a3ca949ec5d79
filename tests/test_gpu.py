"""The engine on a GPU gives what it gives on the CPU. Skipped where there is none."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, ops, optim
from minigrad.backend import device_count

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a CUDA device"),
]


def train(device: str, dtype: str) -> tuple[list[float], np.ndarray]:
    """The losses of 20 Adam steps, and the first weight after them."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Dense(8, 16, rng=rng, dtype=dtype),
        nn.BatchNorm1d(16, dtype=dtype),
        nn.ReLU(),
        nn.Dropout(0.2, rng=rng),
        nn.Dense(16, 3, rng=rng, dtype=dtype),
    ).to(device)
    optimizer = optim.AdamW(model, 0.01)
    x = mg.Tensor(rng.normal(size=(32, 8)).astype(dtype), device=device)
    labels = mg.Tensor(rng.integers(0, 3, 32), device=device)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.parameters()[0].numpy()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
def test_training_on_a_gpu_equals_training_on_the_cpu(dtype, tolerance):
    losses, weight = train("cpu", dtype)
    gpu_losses, gpu_weight = train("cuda:0", dtype)
    np.testing.assert_allclose(gpu_losses, losses, atol=tolerance)
    np.testing.assert_allclose(gpu_weight, weight, atol=tolerance)


def test_gradients_cross_devices():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = (x.to("cuda:0") ** 3).sum()
    y.backward()
    assert y.device == "cuda:0"
    np.testing.assert_allclose(x.grad, [3, 12])


def test_operands_on_two_devices_are_refused_by_name():
    with pytest.raises(mg.InputError, match=r"mul.*operand 1 lives on cpu.*operand 2 on cuda:0"):
        mg.Tensor([1.0, 2.0]) * mg.Tensor([1.0, 2.0], device="cuda:0")
