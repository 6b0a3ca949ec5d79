"""The central property: any layout of ranks equals one process on the whole batch."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from mpirun import mpirun
from test_data_parallel import every_rank_raises

from minigrad import nn, optim
from minigrad.distributed import Communicator, SerialCommunicator
from minigrad.distributed.agreement import ReplicasDiffer
from minigrad.distributed.algorithms import ALGORITHMS, WrittenOut
from minigrad.distributed.layout import arrange
from minigrad.distributed.mesh import Mesh
from minigrad.distributed.pipeline import SCHEDULES
from minigrad.distributed.reducers import Bucketed, Reducer
from minigrad.distributed.zero import ZeRO
from minigrad.errors import SharedError
from minigrad.kernels import kernel, reference
from minigrad.testing import run_ranks

LAYOUTS = [
    (d, t, p) for d in range(1, 9) for t in (1, 2, 4) for p in (1, 2, 3) if 1 < d * t * p <= 8
]  # fmt: skip


def network(dropout: float = 0.0, batch_norm: bool = False, hidden: int = 8) -> nn.Sequential:
    """Three Dense layers, of which tensor parallelism divides the first two."""
    rng = np.random.default_rng(0)
    dense = partial(nn.Dense, rng=rng, dtype="float64")
    layers: list[nn.Module] = [dense(tiny.FEATURES, hidden), nn.Tanh()]
    layers += [nn.Dropout(dropout, rng=rng)] * (dropout > 0)
    layers += [dense(hidden, 5, bias=not batch_norm)]
    layers += [nn.BatchNorm1d(5, epsilon=0.1, dtype="float64")] * batch_norm
    return nn.Sequential(*layers, nn.Tanh(), dense(5, tiny.CLASSES))


def parallel(
    comm: Communicator,
    sizes: tuple[int, int, int],
    optimizer: str,
    *,
    reducer: Reducer | None = None,
    schedule: str = "1f1b",
    **model: Any,
) -> tiny.DataParallel:
    """What trains :func:`network` on a mesh of these sizes."""
    data, tensor, pipeline = sizes
    mesh = Mesh(comm, data=data, tensor=tensor, pipeline=pipeline)
    part = arrange(network(**model), mesh, schedule=schedule)
    return tiny.DataParallel(part, tiny.OPTIMIZERS[optimizer](part), mesh, reducer=reducer)


def same_state(state: dict[str, Any], other: dict[str, Any]) -> None:
    assert sorted(state) == sorted(other)
    for name in other:
        np.testing.assert_allclose(state[name], other[name], rtol=1e-10, atol=1e-10, err_msg=name)


# the last batch of an epoch may have fewer rows than there are stages
few = pytest.mark.filterwarnings("ignore:.* micro-batch.* leave every stage idle:UserWarning")


@few
@given(st.data())
def test_any_layout_equals_one_process(data: st.DataObject) -> None:
    sizes = data.draw(st.sampled_from(LAYOUTS))
    d, t, p = sizes
    options = {
        "batch_size": data.draw(st.integers(d, 13)),
        "samples": data.draw(st.integers(13, 30)),
        "micro_batches": data.draw(st.integers(p, 5)),
        "clip_norm": data.draw(st.sampled_from([None, 0.3])),
        "epochs": 2,
    }
    names = sorted(set(tiny.OPTIMIZERS) - ({"lamb"} if t > 1 else set()))
    optimizer = data.draw(st.sampled_from(names))
    model = {
        "dropout": data.draw(st.sampled_from([0.0, 0.4])),
        "batch_norm": data.draw(st.booleans()),
    }
    stage = data.draw(st.sampled_from([0, 1, 2]))
    bucket = data.draw(st.sampled_from([1, 200, 1 << 20]))
    algorithm = data.draw(st.sampled_from(["", *sorted(ALGORITHMS)]))
    schedule = data.draw(st.sampled_from(sorted(SCHEDULES)))

    def job(comm: Communicator) -> tuple[Any, Any]:
        comm = WrittenOut(comm, algorithm) if algorithm and comm.size > 1 else comm
        reducer = ZeRO(stage, bucket) if stage else Bucketed(bucket)
        one = parallel(comm, sizes, optimizer, reducer=reducer, schedule=schedule, **model)
        run = tiny.go_on(one, **options)
        return run, one.state_dict()

    alone = parallel(SerialCommunicator(), (1, 1, 1), optimizer, **model)
    wanted = tiny.go_on(alone, **options)
    for run, state in run_ranks(d * t * p, job):
        for mine, theirs in zip(tiny.facts(run), tiny.facts(wanted), strict=True):
            assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-10)
        same_state(state, alone.state_dict())


@few
@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize(("one", "other"), [((2, 2, 1), (1, 2, 2)), ((1, 1, 3), (2, 1, 1))])
def test_a_checkpoint_of_one_layout_goes_on_on_another(
    stage: int, one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    def job(sizes: tuple[int, int, int], epochs: int, saved: Any, comm: Communicator) -> Any:
        this = parallel(comm, sizes, "adam", reducer=ZeRO(stage) if stage else None, dropout=0.4)
        if saved:
            this.load_state_dict(saved[0])
        run = tiny.go_on(this, epochs=epochs, micro_batches=3, resume=saved and saved[1])
        return this.state_dict(), run.position()

    alone = job((1, 1, 1), 3, None, SerialCommunicator())
    saved = run_ranks(int(np.prod(one)), partial(job, one, 1, None))[0]
    for state, _ in run_ranks(int(np.prod(other)), partial(job, other, 3, saved)):
        same_state(state, alone[0])


MPI = """
import sys
from functools import partial
import numpy as np, tiny
from test_mesh import network, parallel, same_state
from minigrad.distributed import CheckedCommunicator, SerialCommunicator, world
from minigrad.distributed.zero import ZeRO
comm = CheckedCommunicator(world())
sizes, stage = eval(sys.argv[1]), int(sys.argv[2])
options = dict(epochs=2, micro_batches=2, clip_norm=0.5)
one = parallel(comm, sizes, "adamw", reducer=ZeRO(stage) if stage else None, batch_norm=True)
tiny.go_on(one, **options)
alone = parallel(SerialCommunicator(), (1, 1, 1), "adamw", batch_norm=True)
tiny.go_on(alone, **options)
same_state(one.state_dict(), alone.state_dict())
print("equal")
"""


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("sizes", "stage"),
    [
        ((2, 1, 1), 2), ((3, 1, 1), 1), ((4, 1, 1), 2), ((1, 2, 1), 0), ((1, 1, 3), 0),
        ((2, 1, 2), 1), ((2, 2, 1), 2), ((1, 2, 2), 0),
    ],
)  # fmt: skip
def test_layouts_under_mpirun(sizes: tuple[int, int, int], stage: int) -> None:
    ranks = int(np.prod(sizes))
    paths = {"PYTHONPATH": "tests:tests/distributed"}
    job = mpirun(ranks, "-c", MPI, str(sizes), str(stage), timeout=100, env=paths)
    assert job.stdout.split() == ["equal"] * ranks, job.stderr


BAD = {
    "product": (lambda c: Mesh(c, data=2, tensor=2), "2 × 2 × 1 does not fit 3 ranks; what does"),
    "no data": (lambda c: Mesh(c, tensor=2), "tensor × pipeline = 2 × 1 does not fit 3 ranks"),
    "zero": (lambda c: Mesh(c, tensor=0), "each must be 1 or more"),
    "not divisible": (
        lambda c: arrange(network(hidden=7), Mesh(c, tensor=3)),
        "7 .* do not divide among 3 ranks",
    ),
    "no pair": (
        lambda c: arrange(nn.Sequential(network()[0]), Mesh(c, tensor=3)),
        "divides pairs of Dense layers",
    ),
    "stages": (
        lambda c: arrange(nn.Sequential(*network().layers[:3]), Mesh(c, pipeline=3)),
        "has 2 layers with parameters, and each stage trains one or more: use at most 2 stages",
    ),
    "norms of parts": (
        lambda c: tiny.DataParallel(
            model := arrange(network(hidden=9), mesh := Mesh(c, tensor=3)),
            optim.LAMB(model, 0.1),
            mesh,
        ),
        "LAMB needs the norm of whole weights",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_layouts_that_cannot_be(kind: str) -> None:
    make, says = BAD[kind]
    with pytest.raises(SharedError, match=says):
        run_ranks(3, make)


@pytest.mark.parametrize(
    ("what", "odd"), [("minigrad", "0.0.1"), ("device", "cuda"), ("layout", "elsewhere")]
)
def test_ranks_that_do_not_run_alike_are_all_told(
    what: str, odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(comm: Communicator) -> None:
        model = network()
        one = tiny.DataParallel.__new__(tiny.DataParallel)
        gather = comm.all_gather_text
        comm.all_gather_text = lambda text: gather(  # type: ignore[method-assign]
            text.replace(facts[what], odd) if comm.rank == 1 else text
        )
        one.__init__(model, optim.SGD(model, 0.1), comm)

    import minigrad

    facts = {"minigrad": minigrad.__version__, "device": "cpu", "layout": "Mesh"}
    says = every_rank_raises(3, job, SharedError)
    assert says.startswith(f"rank 1 has {what} '{odd}")
    assert "choose the same --device and options for all" in says


class Misuse:
    """Each is a way to train something else than was meant."""

    @staticmethod
    def optimizer_of_the_whole(comm: Communicator) -> None:
        model = network(hidden=9)
        mesh = Mesh(comm, tensor=3)
        optimizer = optim.SGD(model, 0.1)
        tiny.DataParallel(arrange(model, mesh), optimizer, mesh)

    @staticmethod
    def no_mesh(comm: Communicator) -> None:
        part = arrange(network(hidden=9), Mesh(comm, tensor=3))
        tiny.DataParallel(part, optim.SGD(part, 0.1), comm)

    @staticmethod
    def no_mesh_of_stages(comm: Communicator) -> None:
        part = arrange(network(), Mesh(comm, pipeline=3))
        tiny.DataParallel(part, optim.SGD(part, 0.1), comm)

    @staticmethod
    def tied(comm: Communicator) -> None:
        layer = nn.Dense(9, 9, rng=np.random.default_rng(0))
        arrange(nn.Sequential(layer, nn.Tanh(), layer), Mesh(comm, tensor=3))

    @staticmethod
    def a_seed_of_its_own(comm: Communicator) -> None:
        rng = np.random.default_rng(comm.rank)
        layers = [
            nn.Dense(6, 9, rng=rng),
            nn.Tanh(),
            nn.Dense(9, 4, rng=rng),
            nn.Dense(4, 2, rng=rng),
        ]
        mesh = Mesh(comm, tensor=3)
        part = arrange(nn.Sequential(*layers), mesh)
        tiny.DataParallel(part, optim.SGD(part, 0.1), mesh)

    @staticmethod
    def norms_by_kernel_and_formula(comm: Communicator) -> None:
        model = network()
        optimizer = optim.SGD(model, 0.1, form="in_place")
        with reference() if comm.rank == 1 else nullcontext():
            tiny.DataParallel(model, optimizer, comm)


@pytest.mark.parametrize(
    ("misuse", "says"),
    [
        (Misuse.optimizer_of_the_whole, "on a mesh of what arrange"),
        (Misuse.no_mesh, "pass the mesh"),
        (Misuse.no_mesh_of_stages, "pass the mesh"),
        (Misuse.tied, "layers 0 and 2 share a parameter"),
        (Misuse.a_seed_of_its_own, "different numbers in 'layers.3.weight' on rank 1"),
        (Misuse.norms_by_kernel_and_formula, "rank 1 has gradient norm by 'formula', rank 0 'comp"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_would_train_something_else_is_refused(misuse: Any, says: str) -> None:
    if (
        misuse is Misuse.norms_by_kernel_and_formula
        and kernel("norm_record", like=np.ones(1)) is None
    ):
        pytest.skip("no C++ compiler here, so there is one way to measure a norm")
    with pytest.raises((SharedError, ReplicasDiffer), match=says):
        run_ranks(3, misuse)
