"""Killed ranks: the others train on, and have at the end what an undisturbed process has."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from mpirun import ROOT, kill_rank, mpirun, until_epoch
from test_launch import MPICH, OPEN_MPI, start

from minigrad import Tensor, checkpoint, cli
from minigrad.distributed import (
    Communicator,
    DataParallel,
    NeighbourCopy,
    RanksLost,
    SerialCommunicator,
    ShardsLost,
    elastic_world,
    outlive,
)
from minigrad.distributed.zero import ZeRO
from minigrad.errors import InputError
from minigrad.launch import command
from minigrad.testing import run_ranks
from minigrad.train import Callback, Replica, Run

SURVIVORS = str(Path(__file__).parent / "survivors.py")
DEADLINE = 60  # a job takes 3 s, with both cores to itself


def survivors(n: int, body: str, victims: str, when: str = "") -> tuple[int, list[str], str]:
    env = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/tests"}
    words = (SURVIVORS, body, victims, when)
    job = mpirun(n, *words, timeout=DEADLINE, env=env, elastic=True)
    return job.returncode, sorted(job.stdout.splitlines()), job.stderr


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("n", "victims", "when"),
    [
        (3, "1", "update"),
        (4, "0,2", "update"),
        (3, "0", "update"),
        (2, "0", "forward"),
        (4, "1,2", "in turn"),
        (3, "0", "epoch"),
        (3, "0", "after"),
    ],
)
def test_the_result_is_that_of_one_process(n: int, victims: str, when: str) -> None:
    code, said, err = survivors(n, "training", victims, when)
    left = [rank for rank in range(n) if str(rank) not in victims.split(",")]
    wanted = [
        f"{rank} is {place} of {len(left)} and holds what one process has"
        for place, rank in enumerate(left)
    ]
    assert (code, said) == (0, wanted), err
    lost = [int(count) for count in re.findall(r"minigrad: (\d) of \d ranks lost", err)]
    assert sum(lost) == n - len(left), err


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("how", "code", "says"), [("exit", 1, "SystemExit(0) before"), ("error", 1, "ValueError: boom")]
)
def test_a_rank_that_fails_by_itself_ends_the_job(how: str, code: int, says: str) -> None:
    begin = time.monotonic()
    found, said, err = survivors(3, "failing", "1", how)
    assert time.monotonic() - begin < 15
    assert (found, said) == (code, []), err
    assert err.count(says) == 1


@pytest.mark.mpi
def test_the_command_trains_on_without_rank_0(tmp_path: Path) -> None:
    mpirun(1, "-c", "", elastic=True)  # skips where ranks do not outlive others
    options = "--epochs 6 --hidden 32 --batch-size 100 --dtype float64"
    whole, cut = str(tmp_path / "whole"), str(tmp_path / "cut")
    job = start(*f"-n 3 --elastic train digits {options} --out {cut}".split())
    try:
        until_epoch(2, Path(cut), job)
        kill_rank(0, cut)
        out, err = job.communicate(timeout=DEADLINE)
    finally:
        job.kill()
    assert job.returncode == 0, err
    assert "minigrad: 1 of 3 ranks lost; 2 go on" in err
    assert "2 ranks, batches of 100" in out
    assert cli.main(f"train digits {options} --out {whole}".split()) == 0
    histories = [
        tiny.facts(
            [json.loads(line) for line in Path(folder, "history.jsonl").read_text().splitlines()]
        )
        for folder in (cut, whole)
    ]
    for found, wanted in zip(*histories, strict=True):
        assert found == pytest.approx(wanted, rel=1e-10, abs=1e-10)
    state, twin = (
        checkpoint.load(Path(folder, "checkpoint.safetensors"))[0] for folder in (cut, whole)
    )
    assert state.keys() == twin.keys()
    for name in state:
        np.testing.assert_allclose(state[name], twin[name], 1e-10, 1e-10, err_msg=name)


@pytest.mark.mpi
def test_without_the_flag_or_the_mpi_for_it_one_sentence_says_what_is_missing() -> None:
    job = mpirun(2, "-m", "minigrad", "train", "iris", "--elastic")
    assert job.returncode == 2
    assert job.stderr.count("minigrad: ") == 1, job.stderr  # Open MPI's launcher tells more
    assert re.search(r"-e '\.\[mpi-elastic\]'|minigrad launch -n 2 --elastic", job.stderr)


def test_what_the_launcher_is_told() -> None:
    arguments, _ = command(2, ["train"], launcher=OPEN_MPI, cores=2, environ={}, elastic=True)
    assert arguments[arguments.index("--with-ft") + 1] == "ulfm"
    with pytest.raises(InputError, match=r"MPICH ends the job .*\[mpi-elastic\]"):
        command(2, ["train"], launcher=MPICH, cores=2, environ={}, elastic=True)


def test_one_rank_works_once() -> None:
    calls: list[Communicator] = []
    outlive(SerialCommunicator(), calls.append)
    assert [comm.size for comm in calls] == [1]
    assert elastic_world().size == 1


# --- what a rank holds ----------------------------------------------------------------------------


class Lost:
    """A metric; ranks are lost in the middle of step ``step``, or while its epoch is judged."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.run: Run | None = None

    def __call__(self, outputs: Tensor, labels: np.ndarray) -> float:
        if self.run is not None and self.run.optimizer.steps == self.step:
            raise RanksLost
        return 0.0


class Gives(Callback):
    def __init__(self, lost: Lost) -> None:
        self.lost = lost

    def on_start(self, run: Run) -> None:
        self.lost.run = run


@settings(max_examples=25)
@given(
    stops=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    optimizer=st.sampled_from(["adam", "plateau"]),
    micro_batches=st.integers(1, 2),
)
def test_the_furthest_rank_is_gone_on_from(
    stops: list[int], optimizer: str, micro_batches: int
) -> None:
    """Epochs of four steps: 12 is the judging of the last."""

    def trained(
        comm: Communicator | None, replica: Replica, lost: Lost, seed: int = 0, share: bool = False
    ) -> Run:
        model = tiny.network(seed, dropout=0.3, batch_norm=True)
        made = tiny.OPTIMIZERS[optimizer](model)
        position = replica.resume(DataParallel(model, made, comm)) if share else None
        return tiny.train(
            comm, model=model, optimizer=made, epochs=3, micro_batches=micro_batches,
            metrics={"lost": lost}, callbacks=[Gives(lost), replica], resume=position,
        )  # fmt: skip

    whole = trained(None, Replica(), Lost(-1))
    replicas = []
    for stop in stops:
        replicas.append(Replica())
        with contextlib.suppress(RanksLost):
            trained(None, replicas[-1], Lost(stop))
    runs = run_ranks(
        len(stops), lambda c: trained(c, replicas[c.rank], Lost(-1), seed=1 + c.rank, share=True)
    )
    for run in runs:
        tiny.same(run, whole, 1e-10)
        assert all(0 < record["samples_per_s"] < 1e7 for record in run.history)


def test_a_divided_state_is_refused() -> None:
    with pytest.raises(InputError, match=r"divided among them .* --restarts"):
        run_ranks(2, lambda c: tiny.train(c, reducer=ZeRO(), callbacks=[Replica()]))


# --- copies of shards at a neighbour --------------------------------------------------------------


@pytest.mark.mpi
@pytest.mark.parametrize(("n", "victims"), [(3, "1"), (4, "0,2")])
def test_shards_outlive_killed_ranks(n: int, victims: str) -> None:
    code, said, err = survivors(n, "shards", victims)
    left = [rank for rank in range(n) if str(rank) not in victims.split(",")]
    assert (code, said) == (0, [f"{rank} holds all shards" for rank in left]), err


def shard(rank: int, step: int) -> np.ndarray:
    return np.random.default_rng([rank, step]).normal(size=(2, rank % 3))


@settings(max_examples=40)
@given(data=st.data(), n=st.integers(1, 6), rounds=st.integers(1, 4))
def test_shards_are_found_with_their_rank_or_the_one_before(
    data: st.DataObject, n: int, rounds: int
) -> None:
    left = data.draw(st.sets(st.integers(0, n - 1), min_size=1))
    late = data.draw(st.sets(st.sampled_from(sorted(left)))) if rounds > 1 else set()

    def body(comm: Communicator) -> None:
        copies = NeighbourCopy(comm)
        for step in range(rounds):
            copies.keep(step, shard(comm.rank, step))
            comm.barrier()
        others = comm.split(int(comm.rank in left))
        if comm.rank not in left:
            return
        if comm.rank in late:  # as where the last round has not come to its end
            copies._kept.pop()
        if any({rank, (rank - 1) % n}.isdisjoint(left) for rank in range(n)):
            with pytest.raises(ShardsLost, match="go back to the last checkpoint"):
                copies.restore(others)
            return
        step, found = copies.restore(others)
        assert step == rounds - 1 - bool(late)
        for rank, array in enumerate(found):
            np.testing.assert_array_equal(array, shard(rank, step))
        assert len(found) == n

    run_ranks(n, body)
