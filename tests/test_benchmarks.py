"""What the benchmarks compare with is right, and what they count is so."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from mpirun import ROOT

from minigrad import ops

if ROOT not in sys.path:
    sys.path.append(ROOT)
from benchmarks import memory, network

BATCHES = network.batches(32, count=2)


def test_the_step_by_hand_learns_as_minigrad_does() -> None:
    work = (network.minigrad_step(BATCHES), network.numpy_step(BATCHES))
    losses = np.array([[float(step()) for step in work] for _ in range(5)])
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-6)
    assert len(set(losses[:, 0])) == 5


@pytest.mark.parametrize("rows", [1, 32])
def test_only_what_a_rule_named_is_kept(rows: int) -> None:
    x, labels = network.batches(rows, count=1)[0]
    model = network.minigrad_model()
    loss = ops.cross_entropy(model(x), labels)
    hidden = sum(network.SIZES[1:-1])
    by_hand = 4 * rows * (hidden + 10 + 1)  # ReLU outputs, logits, log of the sum of each row
    assert memory.kept_bytes(loss, model, [x, labels]) == by_hand == memory.by_hand(rows)
    loss.backward()
    assert memory.kept_bytes(loss, model, [x, labels]) == 0
