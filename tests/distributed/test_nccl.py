"""NCCL by the body that every communicator passes, on a fake; and which way GPU arrays go."""

from __future__ import annotations

import sys
import threading
import types
from typing import Any, NoReturn

import numpy as np
import pytest
from exercise import exercise
from fake_gpu import CALLS, DTYPES, NCCL, OPS, cupy
from mpirun import mpirun

from minigrad.backend import device_count, nccl_library, to_numpy
from minigrad.distributed import Call, Communicator, Request, SerialCommunicator, Wrapper, nccl
from minigrad.distributed.nccl import NCCLCommunicator, for_device
from minigrad.errors import InputError
from minigrad.testing import run_ranks

REAL = pytest.mark.skipif(
    device_count() == 0 or nccl_library() is None, reason="needs a GPU and NCCL"
)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_collective(n: int, gpu: Any) -> None:
    library = NCCL()
    compared = run_ranks(n, lambda comm: exercise(NCCLCommunicator(comm, library), gpu))
    assert min(compared) > 400
    called = {name for group in library.calls for name in group}
    assert called == set(CALLS if n > 1 else CALLS[1:])


@pytest.mark.parametrize(
    ("dtype", "counts", "groups"),
    [
        ("float32", (2, 2, 2), [["reduceScatter"], ["allGather"]]),
        ("float32", (3, 2, 1), [["reduce"] * 3, ["broadcast"] * 3]),
        ("uint16", (0, 6, 0), [["reduce"], ["broadcast"]]),
    ],
)
def test_what_is_one_call_of_nccl(
    dtype: str, counts: tuple[int, ...], groups: list[list[str]], gpu: Any
) -> None:
    library = NCCL()

    def rank(inner: Communicator) -> np.ndarray:
        comm = NCCLCommunicator(inner, library)
        out, whole = gpu.zeros(counts[comm.rank], dtype), gpu.zeros(6, dtype)
        comm.reduce_scatter(gpu.array(np.arange(6).astype(dtype)), out, counts=counts)
        first = sum(counts[: comm.rank])
        whole[first : first + counts[comm.rank]] = out
        comm.gather_into(whole, counts)
        return to_numpy(whole)

    for whole in run_ranks(3, rank):
        np.testing.assert_array_equal(whole, 3 * np.arange(6))
    assert library.calls == groups


def test_float16_is_summed_in_float32(gpu: Any) -> None:
    library = NCCL()

    def rank(inner: Communicator) -> np.ndarray:
        x = gpu.array(np.array([[2048, 1, 1, 1][inner.rank]], np.float16))
        NCCLCommunicator(inner, library).all_reduce(x)
        return to_numpy(x)

    assert [x.tolist() for x in run_ranks(4, rank)] == [[2052]] * 4  # 2048 + 1 is 2048 in float16


def test_what_nccl_does_not_get(gpu: Any) -> None:
    library = NCCL()

    def rank(inner: Communicator) -> None:
        comm = NCCLCommunicator(inner, library)
        x = np.ones(3)
        comm.all_reduce(x)
        assert x.tolist() == [2, 2, 2]
        y = gpu.array(x)
        comm.send(y, 1) if comm.rank == 0 else comm.receive(y, 0)
        comm.barrier()
        comm.all_reduce(gpu.zeros(0))

    run_ranks(2, rank)
    assert library.calls == []


def test_what_is_begun_runs_beside_and_is_waited_for_by_the_stream(gpu: Any) -> None:
    library = NCCL()
    comm = NCCLCommunicator(SerialCommunicator(), library)
    here = gpu.cuda.get_current_stream()
    request = comm.start_all_reduce(gpu.array(np.ones(3, np.float16)))
    beside = comm._beside
    assert beside is not here
    after_what_was_asked, _ = beside.asked
    assert after_what_was_asked.__self__.stream is here
    assert beside.carried_out == 0  # the host has waited for nothing
    waits = len(here.asked)
    request.wait()
    request.wait()
    assert len(here.asked) == waits + 1
    assert beside.carried_out == 2
    assert request.done()


def test_the_fakes_have_the_names_of_what_they_stand_for() -> None:
    real = pytest.importorskip("cupy")
    for name in vars(cupy()):
        assert name.startswith("__") or hasattr(real, name)
    for name in ("Stream", "get_current_stream", "alloc_pinned_memory", "Device"):
        assert hasattr(real.cuda, name)
    for name in ("synchronize", "record", "wait_event", "ptr"):
        assert hasattr(real.cuda.Stream.null, name)
    if (library := nccl_library()) is None:
        pytest.skip("CuPy finds no NCCL")
    for name in ("get_version", "get_unique_id", "groupStart", "groupEnd", "NcclCommunicator"):
        assert hasattr(library, name)
    assert {*DTYPES, *OPS} <= {name.removeprefix("NCCL_") for name in dir(library)}
    assert set(CALLS) <= set(dir(library.NcclCommunicator))


def test_without_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nccl, "nccl_library", lambda: None)
    with pytest.raises(InputError, match="finds no NCCL"):
        NCCLCommunicator(SerialCommunicator())


# --- which way --------------------------------------------------------------------------------


class Pretended(Communicator):
    """Ranks as threads that say they are MPI's, on the machines and GPUs that a test gives them."""

    cuda_aware = False

    def __init__(self, inner: Communicator, local_rank: int) -> None:
        super().__init__(inner.rank, inner.size, local_rank, 0)
        self.inner = inner

    def split(self, color: int, key: int = 0) -> Communicator:
        raise NotImplementedError

    def abort(self, code: int) -> NoReturn:
        raise NotImplementedError

    def _start(self, call: Call) -> Request:
        return self.inner._start(call)


class Outliving(Wrapper):
    """In an ElasticCommunicator's place."""

    def _wrap(self, inner: Communicator) -> Communicator:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("places", "version", "aware", "way", "told"),
    [
        (["a 1", "a 2"], [22707, 22707], False, "NCCL", []),
        (["a 1", "b 1"], [22707, 22707], False, "NCCL", []),
        (["a 1", "a 2"], [22707, 0], False, "staged", []),
        (["a 1", "a 2"], [22707, 21805], True, "cuda-aware", []),
        (["a 1", "a 1"], [22707, 22707], False, "staged", ["2 ranks on a share 1 GPU:"]),
        (["a 1", "a 2", "a 1"], [0, 0, 0], True, "cuda-aware", ["3 ranks on a share 2 GPUs:"]),
        (["a 1", "a 1", "b 1", "b 1"], [0] * 4, False, "staged",
         ["2 ranks on a share 1 GPU:", "2 ranks on b share 1 GPU:"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("elastic", [False, True])
def test_the_way_of_gpu_arrays(
    places: list[str],
    version: list[int],
    aware: bool,
    way: str,
    told: list[str],
    elastic: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if elastic and way == "NCCL":
        way = "staged"
    asked: list[int] = []
    ranks: Any = threading.local()
    monkeypatch.setattr(nccl, "MPICommunicator", Pretended)
    monkeypatch.setattr(nccl, "ElasticCommunicator", Outliving)
    monkeypatch.setattr(nccl.socket, "gethostname", lambda: ranks.place.split()[0])
    device = types.SimpleNamespace
    fake = device(cuda=device(Device=lambda: device(pci_bus_id=ranks.place.split()[1])))
    monkeypatch.setattr(nccl, "module_for", lambda name: fake)
    monkeypatch.setattr(nccl, "nccl_library", lambda: made_of(ranks.version))

    def made_of(version: int) -> NCCL | None:
        monkeypatch.setattr(library, "get_version", lambda: ranks.version)
        return library if version else None

    library = NCCL()
    monkeypatch.setattr(nccl, "cuda_aware", lambda: asked.append(ranks.number) or aware)

    def rank(inner: Communicator) -> str:
        r = ranks.number = inner.rank
        ranks.place, ranks.version = places[r], version[r]
        host = places[r].split()[0]
        comm = Pretended(inner, sum(place.split()[0] == host for place in places[:r]))
        given = Outliving(comm) if elastic else comm
        assert for_device(given, "cpu") is given
        chosen = for_device(given, "cuda:0")
        if isinstance(chosen, NCCLCommunicator):
            return "NCCL"
        assert chosen is given
        return "cuda-aware" if comm.cuda_aware else "staged"

    assert run_ranks(len(places), rank) == [way] * len(places)
    lines = sorted(capsys.readouterr().err.splitlines())
    assert [line.removeprefix("minigrad: ").partition(" this")[0] for line in lines] == told
    first = [r for r, place in enumerate(places) if place.split()[0] not in
             [other.split()[0] for other in places[:r]]]  # fmt: skip
    assert sorted(asked) == ([] if way == "NCCL" else first)


def test_ranks_that_are_no_processes_keep_their_communicator() -> None:
    run_ranks(2, lambda comm: _same(comm, for_device(comm, "cuda")))
    alone = SerialCommunicator()
    assert for_device(alone, "cuda:0") is alone


def _same(one: object, other: object) -> None:
    assert one is other


# --- on GPUs --------------------------------------------------------------------------------------

ON_GPUS = """
import sys
sys.path.insert(0, 'tests/distributed')
from exercise import exercise
from minigrad.backend import module_for, use_device
from minigrad.distributed import world
from minigrad.distributed.nccl import NCCLCommunicator, for_device
comm = world()
device = use_device('cuda', comm.local_rank)
chosen = for_device(comm, device) if comm.size > 1 else NCCLCommunicator(comm)
assert isinstance(chosen, NCCLCommunicator), type(chosen)
assert exercise(chosen, module_for('cuda')) > 400
"""


@pytest.mark.gpu
@REAL
def test_one_rank_on_a_gpu() -> None:
    from minigrad.backend import module_for

    assert exercise(NCCLCommunicator(SerialCommunicator()), module_for("cuda")) > 400


@pytest.mark.mpi
@pytest.mark.gpu
@REAL
def test_as_many_ranks_as_gpus() -> None:
    job = mpirun(min(8, device_count()), "-c", ON_GPUS)
    assert job.returncode == 0, job.stderr
