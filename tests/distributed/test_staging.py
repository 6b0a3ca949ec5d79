"""GPU arrays by way of the host, on a fake GPU whose copies come late; and the probe's decision."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_gpu import GpuArray, cupy
from mpirun import ROOT, mpirun

from minigrad.backend import device_count
from minigrad.distributed import staging
from minigrad.distributed.call import Call, Kind
from minigrad.distributed.mpi import MPICommunicator
from minigrad.errors import SharedError

NEEDS_GPU = pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a GPU")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is copied, in order, while a fake stands in CuPy's place."""
    monkeypatch.setitem(sys.modules, "cupy", cupy())
    found: list[str] = []
    monkeypatch.setattr(GpuArray, "events", found)
    return found


class Comm:
    """An mpi4py communicator of two ranks, the other with the same numbers; keeps ``events``."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def Get_rank(self) -> int:  # noqa: N802
        return 1

    def Get_size(self) -> int:  # noqa: N802
        return 2

    def Split_type(self, kind: object) -> Comm:  # noqa: N802
        return self

    def Split(self, color: int, key: int) -> Comm:  # noqa: N802
        return self

    def Dup(self) -> Comm:  # noqa: N802
        return self

    def Free(self) -> None:  # noqa: N802
        pass

    def Allreduce(self, _: object, buffer: np.ndarray, op: str) -> None:  # noqa: N802
        self.events.append(f"{buffer.size} reduced")
        buffer += buffer

    def __getattr__(self, name: str) -> object:
        return lambda *args, **kwargs: self.events.append(name)


@pytest.fixture
def comm(events: list[str], monkeypatch: pytest.MonkeyPatch) -> MPICommunicator:
    mpi = types.ModuleType("mpi4py.MPI")
    mpi.SUM, mpi.MAX, mpi.MIN, mpi.IN_PLACE, mpi.COMM_TYPE_SHARED = "sum", "max", "min", None, 0
    mpi.Status = lambda: types.SimpleNamespace(count=48)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", mpi)
    monkeypatch.setitem(sys.modules, "mpi4py", types.ModuleType("mpi4py"))
    return MPICommunicator(Comm(events))


@pytest.mark.parametrize(
    ("kind", "peer", "copies"),
    [
        ("all_reduce", -1, ["6 to host", "6 reduced", "6 back"]),
        ("broadcast", 1, ["6 to host", "Bcast"]),
        ("broadcast", 0, ["Bcast", "6 back"]),
        ("gather_into", -1, ["2 to host", "Allgatherv", "6 back"]),
        ("reduce_scatter", -1, ["6 to host", "Reduce_scatter", "2 back"]),
        ("all_to_all", -1, ["6 to host", "Alltoallv", "2 back"]),
        ("send", 0, ["6 to host", "Send"]),
        ("receive", 0, ["Recv", "6 back"]),
    ],
)
def test_only_what_is_needed_is_copied(
    kind: Kind, peer: int, copies: list[str], comm: MPICommunicator, events: list[str]
) -> None:
    array = GpuArray(np.arange(6.0))
    out = GpuArray(np.empty(2)) if kind in ("reduce_scatter", "all_to_all") else None
    call = Call(kind, array, out, "sum", peer, counts=(4, 2), out_counts=(1, 1))
    comm._start(call)
    assert events == copies
    if kind == "all_reduce":
        assert array.host.tolist() == [0, 2, 4, 6, 8, 10]


def test_an_mpi_that_is_cuda_aware_gets_the_array_itself(
    comm: MPICommunicator, events: list[str]
) -> None:
    comm.cuda_aware = True
    array = GpuArray(np.zeros(6))
    buffer, finish = comm._staged(array)
    finish()
    assert buffer is array
    assert events == []
    assert comm.split(0).cuda_aware
    assert comm.duplicate().cuda_aware


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "bool"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_numbers_go_there_and_back(
    dtype: str, shape: tuple[int, ...], comm: MPICommunicator
) -> None:
    numbers = np.full(shape, 1, dtype)
    array = GpuArray(numbers.copy())
    buffer, finish = comm._reducible(array)
    assert isinstance(buffer, np.ndarray)
    assert buffer.dtype == {"float16": "float32", "bool": "uint8"}.get(dtype, dtype)
    np.testing.assert_array_equal(buffer, numbers)
    buffer *= 0
    finish()
    assert not array.host.any()


@pytest.mark.parametrize("size", [1, 3, 4, 5, 11, 12])
def test_chunks(size: int, events: list[str]) -> None:
    array = GpuArray(np.arange(float(size)).reshape(1, size))

    def double(part: np.ndarray) -> None:
        events.append(f"{part.size} reduced")
        part *= 2

    staging.in_chunks(array, double, chunk=4 * 8)
    np.testing.assert_array_equal(array.host, 2 * np.arange(float(size)).reshape(1, size))
    sizes = [4] * (size // 4) + [size % 4] * (size % 4 > 0)
    one_by_one = [word for n in sizes for word in (f"{n} to host", f"{n} reduced")]
    assert events == one_by_one + [f"{n} back" for n in sizes]


def test_a_reduction_that_fails_leaves_no_copy_under_way(events: list[str]) -> None:
    with pytest.raises(RuntimeError):
        staging.in_chunks(GpuArray(np.zeros(12)), lambda part: raise_error(), chunk=4 * 8)
    assert events == ["4 to host"] * 3


def raise_error() -> None:
    raise RuntimeError


@pytest.mark.parametrize("dtype", ["float16", "float64", "bool"])
def test_a_long_array_is_reduced_in_chunks(
    dtype: str, comm: MPICommunicator, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minigrad.distributed.mpi.CHUNK", 9)
    monkeypatch.setattr("minigrad.distributed.staging.in_chunks.__defaults__", (8,), raising=True)
    array = GpuArray(np.ones(10, dtype))
    comm.all_reduce(array, "max" if dtype == "bool" else "sum")
    assert array.host.tolist() == [True if dtype == "bool" else 2] * 10
    assert (
        sum(" reduced" in event for event in events)
        == {"float16": 5, "float64": 10, "bool": 2}[dtype]
    )


# --- whether an MPI takes GPU arrays --------------------------------------------------------------


@pytest.fixture
def python_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules a child finds first."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.delenv(staging.SWITCH, raising=False)
    staging._probe.cache_clear()
    yield tmp_path
    staging._probe.cache_clear()


MPI_OF_ONE = """
class COMM_SELF:
    def Sendrecv(x, dest, sendtag, y, source, recvtag): y[...] = x
    def Allreduce(x, y): y[...] = x
class SUM:
    def Reduce_local(x, y): y += {x}
"""
CUPY = """
from numpy import *
class cuda:
    class get_current_stream:
        def synchronize(self): pass
"""


@pytest.mark.parametrize(
    ("cupy_code", "x", "answer"),
    [
        ("raise ImportError", "x", False),
        ("import os; os.kill(os.getpid(), 11)", "x", False),
        (CUPY, "x", True),
        (CUPY, "0 * x", False),
    ],
)
def test_the_probe(cupy_code: str, x: str, answer: bool, python_path: Path) -> None:
    (python_path / "cupy.py").write_text(cupy_code)
    (python_path / "mpi4py").mkdir()
    (python_path / "mpi4py" / "__init__.py").touch()
    (python_path / "mpi4py" / "MPI.py").write_text(MPI_OF_ONE.format(x=x))
    assert staging.cuda_aware() is answer
    (python_path / "cupy.py").unlink()
    assert staging.cuda_aware() is answer  # what was found out is kept


@pytest.mark.mpi
def test_the_probe_is_no_rank_of_the_job_that_asks(python_path: Path) -> None:
    (python_path / "cupy.py").write_text(CUPY)
    body = (
        "from minigrad.distributed import world, staging; comm = world();"
        "print(comm.rank or staging.cuda_aware(), flush=True); comm.barrier()"
    )
    paths = {"PYTHONPATH": os.environ["PYTHONPATH"]}
    job = mpirun(2, "-c", body, env=paths)
    assert sorted(job.stdout.split()) == ["1", "True"], job.stderr


@pytest.mark.parametrize(("said", "answer"), [("0", False), ("1", True)])
def test_the_variable_comes_first(said: str, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_probe", lambda: not answer)
    assert staging.cuda_aware({staging.SWITCH: said}) is answer
    assert staging.cuda_aware({}) is not answer


def test_a_variable_that_says_neither() -> None:
    with pytest.raises(SharedError, match="'yes': set it to 1"):
        staging.cuda_aware({staging.SWITCH: "yes"})


@pytest.mark.gpu
@NEEDS_GPU
@pytest.mark.parametrize("size", [1, 10_000_001])
def test_chunks_on_a_gpu(size: int) -> None:
    from minigrad.backend import module_for, to_numpy

    array = module_for("cuda").arange(size, dtype="float32")

    def double(part: np.ndarray) -> None:
        part *= 2

    staging.in_chunks(array, double)
    np.testing.assert_array_equal(to_numpy(array), 2 * np.arange(size, dtype="float32"))


def test_the_benchmark_compares_chunks_with_the_whole(events: list[str]) -> None:
    from benchmarks import staging as benchmark

    result = benchmark.bench(sys.modules["cupy"], (2 * staging.CHUNK,), budget=0)
    assert [row.what for row in result.rows] == [
        "8 MiB, whole", "8 MiB, chunks of 1 MiB", "8 MiB, chunks of 4 MiB",
        "8 MiB: chunks of 1 MiB / whole", "8 MiB: chunks of 4 MiB / whole",
    ]  # fmt: skip
    assert min(row.value.median for row in result.rows) > 0
