"""The questions of article D2 §8, each answered by an experiment."""

import numpy as np
import pytest
from answers import answered

from minigrad.ask.parallel_computing import on_rank
from minigrad.testing import run_ranks


@pytest.mark.article("Q-D2-1", code="minigrad.ask.why_optimise")
def test_q_d2_1_why_strategies_and_optimisation():
    n = answered("D2-1").numbers
    guesses = max(n["random weights"], n["random changes, kept if better"])
    assert guesses < n["gradient descent"] < n["SGD"]
    assert n["SGD"] < n["Adam, decaying rate"] + 0.02


@pytest.mark.article("Q-D2-2", code="minigrad.ask.distributed_computing")
def test_q_d2_2_what_is_distributed_computing():
    n = answered("D2-2").numbers
    assert max(n["difference, 2 ranks"], n["difference, 4 ranks"]) < 1e-13
    assert n["accuracy, 1 rank"] == n["accuracy, 4 ranks"]


@pytest.mark.article("Q-D2-3", code="minigrad.ask.efficient_storage")
def test_q_d2_3_what_is_efficient_storage():
    pytest.importorskip("safetensors")
    answer = answered("D2-3")
    n = answer.numbers
    assert n["MB"] < n["checkpoint MB"] < 0.5 * n["text MB"]
    assert n["npz MB"] / 2 < n["compressed MB"] < n["npz MB"]
    for text in (answer.en[2], answer.zh[2]):
        assert all(name in text for name in ("HDFS", "GlusterFS", "Ceph"))


@pytest.mark.article("Q-D2-4", code="minigrad.ask.parallel_computing")
def test_q_d2_4_what_is_parallel_computing():
    answer = answered("D2-4")
    n = answer.numbers
    for work in ("product", "update"):
        best = min(n[f"{work}, threads"], n[f"{work}, ranks"])
        assert n[f"gain, {work}"] == n[f"{work}, one"] / best
    for text, doubt in ((answer.en[2], "not borne out"), (answer.zh[2], "未得到证实")):
        assert (doubt in text) == (n["gain, product"] <= 1.1)


@pytest.mark.parametrize("ranks", [1, 3])
def test_q_d2_4_ranks_divide_the_work(ranks, monkeypatch):
    rows = []
    product = np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b, out: rows.append(len(a)) or product(a, b, out))
    run_ranks(ranks, lambda comm: on_rank(comm, 8, 64, 1))
    assert sum(rows) == 8 * 9  # each product is repeated


@pytest.mark.article("Q-D2-5", code="minigrad.ask.how_to_choose")
def test_q_d2_5_how_to_choose():
    n = answered("D2-5").numbers
    assert n["worst"] < n["best"]
    assert n["cheap ms"] <= n["best ms"]
    assert min(n["spread of SGD"], n["spread of Adam"]) > 1
