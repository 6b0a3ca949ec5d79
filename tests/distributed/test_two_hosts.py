"""Two hosts, a real network between them: what one machine's shared memory could hide."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny
from hosts import Hosts, machine, run, two_hosts
from mpirun import ROOT

from minigrad.errors import InputError

pytestmark = pytest.mark.mpi

EXERCISE = str(Path(__file__).parent / "exercise.py")
START = """
import os, signal, socket, sys, time
import numpy as np
from minigrad.distributed import world
comm = world()
"""
WHERE = """
host = socket.gethostname()
sys.stdout.write(f"{comm.rank} {host} {comm.local_rank}/{comm.local_size}\\n")
"""
TIMED = """
x = np.ones(250_000, np.float32)
comm.barrier()
began = time.perf_counter()
for _ in range(10):
    comm.all_reduce(x)
if comm.rank == 0:
    print(time.perf_counter() - began)
"""
TRAIN = """
import json, tiny
run = tiny.train(comm, optimizer='adamw')
if comm.rank == 0:
    weights = [array.ravel() for array in run.model.state_dict().values()]
    print(json.dumps([tiny.facts(run), np.concatenate(weights).tolist()]))
"""
PAYLOAD = 10 * 250_000 * 4  # each host must hear of all of it that the other has


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with two_hosts(None) as found:
        yield found


@pytest.mark.parametrize("each", [1, 2])
def test_ranks_know_their_host(hosts: Hosts, each: int) -> None:
    job = run(hosts, 2 * each, "-c", START + WHERE)
    wanted = [f"{rank} {'ab'[rank // each]} {rank % each}/{each}" for rank in range(2 * each)]
    assert (job.returncode, sorted(job.stdout.splitlines())) == (0, wanted), job.stderr


def test_every_collective(hosts: Hosts) -> None:
    job = run(hosts, 2, EXERCISE, "cpu")
    wanted = ["0/2 0/1", "1/2 0/1"]
    assert (job.returncode, sorted(job.stdout.splitlines())) == (9, wanted), job.stderr


def test_all_of_it_passes_the_interface_at_the_given_rate(hosts: Hosts) -> None:
    hosts.shape(200)
    try:
        before = hosts.bytes_sent()
        job = run(hosts, 2, "-c", START + TIMED)
        sent = hosts.bytes_sent() - before
    finally:
        hosts.shape(None)
    assert job.returncode == 0, job.stderr
    assert PAYLOAD <= sent < 1.2 * PAYLOAD + 100_000
    assert float(job.stdout) > 0.9 * PAYLOAD * 8 / 200e6


def test_training_is_that_of_one_process(hosts: Hosts) -> None:
    body = START + TRAIN
    job = run(hosts, 4, "-c", body, env={"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/tests"})
    assert job.returncode == 0, job.stderr
    one = tiny.train(optimizer="adamw")
    facts, weights = json.loads(job.stdout)
    for mine, theirs in zip(tiny.facts(one), facts, strict=True):
        np.testing.assert_allclose(list(theirs.values()), list(mine.values()), rtol=1e-10)
    expected = np.concatenate([array.ravel() for array in one.model.state_dict().values()])
    np.testing.assert_allclose(weights, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        ("raise ValueError('boom')", "ValueError: boom"),
        ("sys.exit()", "waits for it in call"),
        ("os.kill(os.getpid(), signal.SIGKILL)", ""),
    ],
)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_failure_on_either_host_ends_the_job(
    hosts: Hosts, fails: str, says: str, rank: int
) -> None:
    body = (
        "x = np.ones(100_000)\nfor _ in range(3): comm.all_reduce(x)\n"
        f"time.sleep(0.3)\nif comm.rank == {rank}: {fails}\ncomm.all_reduce(x)"
    )
    began = time.monotonic()
    job = run(hosts, 2, "-c", START + body, timeout=30)
    assert time.monotonic() - began < 10
    assert job.returncode != 0
    if says:
        assert f"rank {rank}: " in job.stderr
        assert job.stderr.count(says) == 1


def test_hosts_end_with_whoever_made_them_and_nothing_is_left() -> None:
    with two_hosts(None) as hosts:
        holder, folder = Path(f"/proc/{hosts.holder}"), hosts.folder
        assert (holder / "net/dev").read_text().count("eth0") == 1
        with pytest.raises(InputError, match="3 ranks"):
            machine.run(hosts, 3, "-c", "pass")
    assert not holder.exists()
    assert not folder.exists()
