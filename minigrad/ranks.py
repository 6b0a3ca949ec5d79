"""From the settings of a run to how its ranks share the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from minigrad import nn
from minigrad.distributed import Communicator
from minigrad.distributed.algorithms import ALGORITHMS, WrittenOut
from minigrad.distributed.averaging import LocalSGD, ParameterServer
from minigrad.distributed.checked import CheckedCommunicator
from minigrad.distributed.compression import Float16, PowerSGD, TopK
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.layout import arrange
from minigrad.distributed.mesh import Mesh
from minigrad.distributed.reducers import Bucketed, Compression, Flat, Naive, Reducer
from minigrad.distributed.timeline import timeline
from minigrad.distributed.traced import NO_TRACE, Trace
from minigrad.distributed.zero import ZeRO
from minigrad.errors import InputError, SharedError, unknown
from minigrad.files import make_folder
from minigrad.optim import Optimizer
from minigrad.settings import Settings
from minigrad.train.together import together

__all__ = ["COMPRESSIONS", "REDUCERS", "Sharing", "reducer_of"]

COMPRESSIONS: dict[str, Callable[[], Compression | None]] = {
    "none": lambda: None,
    "float16": Float16,
    "topk": lambda: TopK(0.01),
    "powersgd": lambda: PowerSGD(2),
}
REDUCERS: dict[str, Callable[[], Reducer]] = {
    "naive": Naive,
    "flat": Flat,
    "bucketed": Bucketed,
    "server": ParameterServer,
}


class Sharing:
    """How the ranks of ``comm`` share a run: the communicator as the settings wrap it, the mesh,
    and the trace. All ranks make it. Raises :class:`SharedError` where the layout does not fit."""

    def __init__(self, settings: Settings, comm: Communicator) -> None:
        if settings.elastic and settings.local_steps:
            raise SharedError(
                "--elastic goes on from one rank's parameters, and with --local-steps the ranks' "
                "differ between averagings: leave one of the two out"
            )
        self.settings = settings
        if settings.trace:
            with together(comm):  # now, not after the training
                make_folder(Path(settings.trace).parent, "trace", "--trace")
        self.trace = Trace(comm) if settings.trace else NO_TRACE
        several = comm.size > 1
        if several and settings.algorithm != "mpi":
            if settings.algorithm not in ALGORITHMS:
                raise _shared(unknown("algorithm", settings.algorithm, {"mpi", *ALGORITHMS}))
            comm = WrittenOut(comm, settings.algorithm)
        if several and settings.check_collectives:
            comm = CheckedCommunicator(comm)
        self.comm = self.trace.wrap(comm)
        self.mesh = Mesh(self.comm, tensor=settings.tensor, pipeline=settings.pipeline)

    def arrange(self, model: nn.Sequential) -> nn.Module:
        """This rank's part of the model."""
        return arrange(model, self.mesh, schedule=self.settings.pipeline_schedule)

    def parallel(self, model: nn.Module, optimizer: Optimizer) -> DataParallel:
        """What ``fit`` trains."""
        reducer = reducer_of(self.settings)
        return DataParallel(model, optimizer, self.mesh, reducer=reducer, trace=self.trace)

    def show_trace(self) -> None:
        """Write the trace and print its table, where one was asked for; called by all ranks."""
        if not self.settings.trace:
            return
        self.trace.save(self.settings.trace)
        table = self.trace.summary()
        if self.comm.rank == 0:
            print(f"\n{table}\ntrace: {self.settings.trace} (open it at https://ui.perfetto.dev)")

    def draw_trace(self) -> None:
        """Draw two steps of the trace that was written; rank 0 calls it."""
        if self.settings.trace:
            picture = Path(self.settings.trace).with_suffix(".png")
            timeline(self.settings.trace, picture)
            print(f"two steps of it: {picture}")


def reducer_of(settings: Settings) -> Reducer:
    """How gradients become sums. Raises :class:`SharedError` for options that exclude others."""
    compressed = settings.compress != "none"
    chosen = {
        "--zero": settings.zero > 0,
        "--local-steps": settings.local_steps > 0,
        "--compress": compressed,
        "--reducer": settings.reducer != "bucketed",
    }
    if sum(chosen.values()) > 1:
        names = [name for name, given in chosen.items() if given]
        raise SharedError(
            f"{' and '.join(names)} were given together, and each is a way of its own to bring the "
            "ranks' work together: choose one"
        )
    if settings.zero:
        return ZeRO(settings.zero)
    if settings.local_steps:
        return LocalSGD(settings.local_steps)
    if settings.compress not in COMPRESSIONS:
        raise _shared(unknown("compression", settings.compress, COMPRESSIONS))
    if compressed:
        return Bucketed(compression=COMPRESSIONS[settings.compress]())
    if settings.reducer not in REDUCERS:
        raise _shared(unknown("reducer", settings.reducer, REDUCERS))
    return REDUCERS[settings.reducer]()


def _shared(error: InputError) -> SharedError:
    return SharedError(str(error))
