"""The benchmark over two hosts: its variants train, its picture has all of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mpirun import ROOT

from minigrad import nn, ops, optim
from minigrad.distributed import Communicator
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.reducers import Flat, Reducer
from minigrad.launch import Launcher
from minigrad.testing import run_ranks

if ROOT not in sys.path:
    sys.path.append(ROOT)
from benchmarks import bandwidth, bandwidth_rank, hosts

SENT = np.random.default_rng(0).normal(size=(2, 4, 3, 5))  # rank, step, row, feature


def _weights(comm: Communicator, reducer: Reducer) -> list[np.ndarray]:
    """The parameters after each of four steps of SGD."""
    model = nn.Sequential(nn.Dense(5, 2, rng=np.random.default_rng(1), dtype="float64"))
    parallel = DataParallel(model, optim.SGD(model, 0.1), comm, reducer=reducer)
    found = []
    for x in SENT[comm.rank]:
        parallel.zero_grad()
        loss = ops.cross_entropy(model(x), np.array([0, 1, 1]), reduction="sum")
        parallel.backward(loss, 1 / 6)
        parallel.step()
        found.append(parallel.optimizer.arenas[0].data.copy())
    return found


def test_local_sgd_that_averages_each_step_is_sgd() -> None:
    local = run_ranks(2, lambda comm: _weights(comm, bandwidth_rank.LocalSGD(1)))
    flat = run_ranks(2, lambda comm: _weights(comm, Flat()))
    np.testing.assert_allclose(local, flat, rtol=1e-12)


def test_local_sgd_agrees_only_after_so_many_steps() -> None:
    one, other = run_ranks(2, lambda comm: _weights(comm, bandwidth_rank.LocalSGD(2)))
    same = [np.array_equal(a, b) for a, b in zip(one, other, strict=True)]
    assert same == [False, True, False, True]


@pytest.mark.parametrize("variant", bandwidth_rank.VARIANTS)
def test_every_variant_learns(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(bandwidth_rank, "SIZES", (64, 32, 10))
    monkeypatch.setattr(bandwidth_rank, "TARGET", 0.7)
    found = run_ranks(2, lambda comm: bandwidth_rank.train(comm, variant))
    for rank in found:
        assert rank["accuracies"] == found[0]["accuracies"]
        assert rank["accuracies"][-1] >= 0.7 > rank["accuracies"][0]
        assert len(rank["seconds"]) == 8 * len(rank["accuracies"])


def test_the_picture_is_drawn_from_the_record(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    times = {
        f"{bandwidth._rate(rate)}, {name}: to the accuracy": 1e6 * (1 + place)
        for place, rate in enumerate(bandwidth.RATES)
        for name in bandwidth_rank.VARIANTS
    }
    record = {"title": "time, 64-10, two hosts", "rows": [1], "microseconds": times}
    path = tmp_path / "bandwidth.json"
    path.write_text(json.dumps(record | {"rows": []}))
    bandwidth.publish(path)
    assert not path.with_suffix(".png").exists()
    path.write_text(json.dumps(record))
    bandwidth.publish(path)
    assert path.with_suffix(".png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("family", "wanted"),
    [("MPICH", "-hosts a,b -ppn 2 -n 4"), ("Open MPI", "--host a:2,b:2")],
)
def test_each_launcher_is_told_both_hosts(family: str, wanted: str) -> None:
    words, _ = hosts._start(Launcher("mpiexec", family), 4, "agent")
    assert wanted in " ".join(words)
