"""The communicator interface on one rank and on threads, against plain NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import hypothesis.strategies as st
import numpy as np
import pytest
from exercise import exercise
from hypothesis import given

from minigrad.distributed import (
    Communicator,
    RankError,
    SerialCommunicator,
    ThreadCommunicator,
)
from minigrad.distributed.host import launched_ranks, thread_caps
from minigrad.distributed.threads import run_ranks
from minigrad.errors import InputError


def frozen() -> np.ndarray:
    array = np.ones(3)
    array.flags.writeable = False
    return array


def caught(f, *args) -> BaseException | None:
    try:
        f(*args)
    except Exception as error:
        return error
    return None


def test_serial() -> None:
    assert exercise(SerialCommunicator()) > 400
    with pytest.raises(SystemExit) as end:
        SerialCommunicator().abort(3)
    assert end.value.code == 3


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_threads(n: int) -> None:
    assert min(run_ranks(n, exercise)) > 400


def test_ranks_and_results_in_order() -> None:
    def ranks(comm: Communicator) -> tuple[int, ...]:
        return comm.rank, comm.size, comm.local_rank, comm.local_size

    assert run_ranks(3, ranks) == [(0, 3, 0, 3), (1, 3, 1, 3), (2, 3, 2, 3)]


@given(
    parts=st.lists(
        st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=4, max_size=4), min_size=1
    ),
)
def test_sums_are_taken_in_rank_order(parts: list[list[float]]) -> None:
    def total(comm: Communicator) -> np.ndarray:
        x = np.array(parts[comm.rank], np.float32)
        comm.all_reduce(x)
        return x

    wanted = np.array(parts[0], np.float32)
    for part in parts[1:]:
        wanted += np.array(part, np.float32)
    for got in run_ranks(len(parts), total):
        assert got.tobytes() == wanted.tobytes()


@given(data=st.data(), n=st.integers(1, 5), count=st.integers(1, 6))
def test_requests_may_be_awaited_in_any_order(data: st.DataObject, n: int, count: int) -> None:
    orders = [data.draw(st.permutations(range(count))) for _ in range(n)]

    def sums(comm: Communicator) -> list[float]:
        arrays = [np.array([10.0**place * (comm.rank + 1)]) for place in range(count)]
        requests = [comm.start_all_reduce(array) for array in arrays]
        for place in orders[comm.rank]:
            requests[place].wait()
        return [float(array[0]) for array in arrays]

    wanted = [10.0**place * n * (n + 1) / 2 for place in range(count)]
    assert run_ranks(n, sums) == [wanted] * n


def test_a_request_is_done_once_all_have_come() -> None:
    first, second = ThreadCommunicator.group(2)
    x, y = np.ones(2), np.ones(2)
    request = first.start_all_reduce(x)
    assert not request.done()
    assert second.start_all_reduce(y).done()
    assert request.done()
    assert x.tolist() == y.tolist() == [2, 2]


DISAGREEMENTS = {
    "call": (lambda c: c.barrier(), lambda c: c.all_reduce(np.ones(2)), "barrier", "all_reduce"),
    "op": (
        lambda c: c.all_reduce(np.ones(2, int)),
        lambda c: c.all_reduce(np.ones(2, int), "max"),
        "sum",
        "max",
    ),
    "root": (
        lambda c: c.broadcast(np.ones(2), 0),
        lambda c: c.broadcast(np.ones(2), 1),
        "root 0",
        "root 1",
    ),
    "dtype": (
        lambda c: c.all_reduce(np.ones(2)),
        lambda c: c.all_reduce(np.ones(2, np.float32)),
        "float64",
        "float32",
    ),
    "shape": (
        lambda c: c.all_reduce(np.ones(2)),
        lambda c: c.start_all_reduce(np.ones(3)).wait(),
        "(2,)",
        "(3,)",
    ),
    "order": (
        lambda c: c.duplicate().barrier(),
        lambda c: c.all_reduce(np.ones(1)),
        "split()",
        "all_reduce",
    ),
    "on a duplicate": (
        lambda c: c.duplicate().barrier(),
        lambda c: c.duplicate().all_reduce(np.ones(1)),
        "barrier",
        "all_reduce",
    ),
    "rows": (
        lambda c: c.all_gather(np.ones((1, 2))),
        lambda c: c.all_gather(np.ones((1, 3))),
        "(2,)",
        "(3,)",
    ),
}


@pytest.mark.parametrize("kind", DISAGREEMENTS)
def test_ranks_that_disagree_are_all_told_who_called_what(kind: str) -> None:
    most, one, mine, theirs = DISAGREEMENTS[kind]
    errors = run_ranks(3, lambda comm: caught(one if comm.rank == 1 else most, comm))
    for error in errors:
        assert isinstance(error, InputError)
        assert "ranks 0, 2 called" in str(error)
        assert "rank 1 called" in str(error)
        assert mine in str(error)
        assert theirs in str(error)


def test_a_failed_rank_frees_the_others() -> None:
    seen: dict[int, BaseException | None] = {}

    def body(comm: Communicator) -> None:
        others = [comm, comm.duplicate()]
        if comm.rank == 2:
            time.sleep(0.05)
            raise KeyError("the real reason")
        seen[comm.rank] = caught(others[comm.rank % 2].all_reduce, np.ones(1))
        comm.barrier()

    start = time.monotonic()
    with pytest.raises(KeyError, match="the real reason") as failure:
        run_ranks(4, body)
    assert time.monotonic() - start < 5
    assert failure.value.__notes__ == ["raised on rank 2 of 4"]
    assert [type(error) for error in seen.values()] == [RankError] * 3
    assert "rank 2 failed with KeyError" in str(seen[0])


def test_abort_ends_all() -> None:
    seen = []

    def body(comm: Communicator) -> None:
        if comm.rank == 1:
            comm.abort(5)
        seen.append(caught(comm.barrier))

    with pytest.raises(SystemExit) as end:
        run_ranks(2, body)
    assert end.value.code == 5
    assert isinstance(seen[0], RankError)
    assert "rank 1 aborted the job with code 5" in str(seen[0])


@pytest.mark.parametrize("waits_first", [True, False])
@pytest.mark.parametrize("other", [True, False])
def test_a_rank_that_returns_early_is_named(other: bool, waits_first: bool) -> None:
    def body(comm: Communicator) -> None:
        if other:
            comm = comm.duplicate()
        comm.barrier()
        if (comm.rank == 0) == waits_first:
            time.sleep(0.05)
        if comm.rank == 0:
            comm.broadcast(np.ones(2))

    with pytest.raises(InputError, match=r"rank 1 has returned.* call 2: rank 0 called broad"):
        run_ranks(2, body)


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    run_ranks(8, lambda comm: comm.barrier())
    assert threading.active_count() == before


def test_numpy_settings_of_the_caller_hold_on_every_rank() -> None:
    with np.errstate(divide="ignore"):
        assert run_ranks(2, lambda _: np.geterr()["divide"]) == ["ignore"] * 2


BAD = {
    "a number": (lambda c: c.all_reduce(1.5), "got float: wrap a number"),
    "strided": (lambda c: c.all_reduce(np.ones((4, 4))[:, 1]), "is not contiguous"),
    "transposed": (lambda c: c.all_gather(np.ones((2, 3)).T), "is not contiguous"),
    "object": (lambda c: c.broadcast(np.array([None])), r"dtype \|O cannot be sent"),
    "complex": (lambda c: c.all_reduce(np.ones(1, complex)), "cannot be sent; convert it to float"),
    "byte order": (lambda c: c.all_gather(np.ones(1, ">f4")), "machine's byte order"),
    "read-only": (lambda c: c.all_reduce(frozen()), "this one is read-only"),
    "unknown op": (lambda c: c.all_reduce(np.ones(1), "summ"), "did you mean 'sum'"),
    "sum of bool": (lambda c: c.start_all_reduce(np.ones(1, bool)), "bool has no sum here"),
    "two axes": (lambda c: c.gather_into(np.ones((2, 3))), r"one axis, not of shape \(2, 3\)"),
    "counts": (lambda c: c.gather_into(np.ones(5), [4]), "each of 1 ranks that together make 5"),
    "out": (lambda c: c.reduce_scatter(np.ones(5), np.ones(4)), "gets 5 elements of float64"),
    "overlap": (lambda c: c.reduce_scatter(x := np.ones(5), x), "memory of its own"),
    "parts": (lambda c: c.all_to_all([np.ones(1)] * 2), "2 parts for 1 ranks"),
    "to itself": (lambda c: c.send(np.ones(1), 0), "rank 0 is this rank itself"),
    "no such rank": (lambda c: c.receive(np.ones(1), -1), "rank -1 is no rank"),
    "root": (lambda c: c.broadcast(np.ones(1), 1), "root 1 is no rank; choose 0 to 0"),
    "no axis": (lambda c: c.all_gather(np.array(1.0)), "at least one axis"),
    "no ranks": (lambda c: ThreadCommunicator.group(0), "group of 0 ranks"),
}


STUCK = {
    "send to each other": lambda c: c.send(np.ones(1), 1 - c.rank),
    "receive from each other": lambda c: c.receive(np.ones(1), 1 - c.rank),
    "collective and message": lambda c: c.barrier() if c.rank else c.receive(np.ones(1), 1),
    "two orders": lambda c: [c.duplicate(), c.duplicate()][c.rank].barrier(),
}


@pytest.mark.parametrize("kind", STUCK)
def test_ranks_that_wait_for_each_other_are_told(kind: str) -> None:
    for error in run_ranks(2, lambda comm: caught(STUCK[kind], comm)):
        assert isinstance(error, InputError)
        assert "all ranks wait, and for each other" in str(error)


def test_messages_that_do_not_fit() -> None:
    def job(comm: Communicator) -> BaseException | None:
        if comm.rank:
            return caught(comm.receive, np.ones(3), 0)
        return caught(comm.send, np.ones(2), 1)

    for error in run_ranks(2, job):
        assert "2 elements of float64 were sent, but 3 of float64" in str(error)


@pytest.mark.parametrize("kind", BAD)
def test_bad_arguments(kind: str) -> None:
    call, sentence = BAD[kind]
    with pytest.raises(InputError, match=sentence):
        call(SerialCommunicator())


def test_all_gather_takes_a_read_only_array() -> None:
    (got,) = SerialCommunicator().all_gather(frozen())
    got += 1
    assert got.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("environ", "ranks"),
    [
        ({}, 1),
        ({"PMI_SIZE": "3", "PMI_RANK": "0"}, 3),
        ({"OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "1"}, 2),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, 1),
        ({"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8"}, 8),
        ({"SLURM_STEP_NUM_TASKS": "1", "PMI_SIZE": "4"}, 4),
        ({"PMIX_RANK": "0"}, 0),
    ],
)
def test_launched_ranks(environ: dict[str, str], ranks: int) -> None:
    assert launched_ranks(environ) == ranks


@given(ranks=st.integers(1, 64), cores=st.integers(1, 64))
def test_threads_never_exceed_the_cores(ranks: int, cores: int) -> None:
    caps = thread_caps(ranks, cores, {"MKL_NUM_THREADS": "9"})
    assert caps.keys() == {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    for cap in caps.values():
        assert int(cap) == 1 or int(cap) * ranks <= cores < (int(cap) + 1) * ranks


def test_import_and_world_need_no_mpi4py() -> None:
    code = (
        "import sys; import minigrad.distributed as d; "
        "print(type(d.world()).__name__, 'mpi4py' in sys.modules)"
    )
    marks = ("PMI", "OMPI", "SLURM", "MV2", "PALS")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(marks)}
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["SerialCommunicator", "False"]
