"""What benchmarks/thresholds.py compares is the same work, and it leaves thresholds alone."""

import sys

import numpy as np
import pytest
from mpirun import ROOT

from minigrad.kernels import kernel
from minigrad.ops import _fused
from minigrad.ops.linear import ACTIVATIONS

if ROOT not in sys.path:
    sys.path.append(ROOT)
from benchmarks import thresholds
from benchmarks.harness import Result, agree


@pytest.mark.parametrize("threshold", thresholds.THRESHOLDS, ids=lambda t: t.what)
@pytest.mark.parametrize("share", [0.5, 2])
def test_kernel_and_numpy_do_the_same(threshold, share):
    small, activations = _fused.SMALL, dict(ACTIVATIONS)
    with thresholds.restored(threshold):
        agree(thresholds.contestants(threshold, int(threshold.elements * share)))
    assert small == _fused.SMALL
    assert activations == ACTIVATIONS


def test_a_row_for_each_size(monkeypatch):
    if kernel("adam", like=np.empty(0, np.float32)) is None:
        pytest.skip("needs a C++ compiler")
    measured = []
    monkeypatch.setattr(thresholds, "_measure", lambda result, what, works: measured.append(what))
    assert isinstance(thresholds.run(), Result)
    assert len(set(measured)) == 5 * (len(thresholds.THRESHOLDS) + 1)
