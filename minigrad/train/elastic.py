"""What a rank holds of a run, so that it can go on when others are killed."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.distributed.data_parallel import DataParallel
from minigrad.errors import SharedError
from minigrad.train.loop import Callback, Run

__all__ = ["Replica"]


class Replica(Callback):
    """This rank's copy of the run: where ranks are lost, the one that is furthest is gone on from::

        replica = Replica()

        def attempt(comm):
            parallel = DataParallel(model, optimizer, comm)
            data = DataLoader(x, y, batch_size=32, rank=comm.rank, size=comm.size)
            return fit(parallel, loss, data, epochs=10, callbacks=[replica],
                       resume=replica.resume(parallel))

        run = outlive(elastic_world(), attempt)

    Batches are the same for any number of ranks, and an update is made with the whole batch's
    gradient or not at all. So with fewer ranks every sample is still used once an epoch, and
    weighs the same. Each rank must hold the whole model and optimizer, as in data parallelism.
    """

    def __init__(self) -> None:
        self._run: Run | None = None
        self._kept: tuple[dict[str, np.ndarray], dict[str, Any]] | None = None

    def on_start(self, run: Run) -> None:
        if run.parallel.mesh.model.size > 1 or run.parallel.reducer.over is not None:
            raise SharedError(
                "elastic training goes on from what each rank holds, and here the model or the "
                "optimizer's state is divided among them or differs (ZeRO, tensors, stages, local "
                "SGD): train with plain "
                "data parallelism, or let 'minigrad launch --restarts' go on from a checkpoint"
            )
        self._run = run
        self._kept = None
        self._began = time.perf_counter()
        # a step that fails halfway has changed no parameter, but perhaps what batch norm keeps
        state = run.model.state_dict()
        paths = (
            f"{path}.{name}" if path else name
            for path, module in run.model.named_modules()
            for name in module.buffers
        )
        self._buffers = {path: state[path] for path in paths}
        self._note(run)

    def on_step(self, run: Run) -> None:
        self._note(run)

    def on_epoch(self, run: Run) -> None:
        self._began = time.perf_counter()

    def close(self) -> None:
        """Take the copy: ``fit`` has ended, well or not."""
        if (run := self._run) is None:
            return
        self._run = None
        state = {name: np.array(to_numpy(a)) for name, a in run.parallel.state_dict().items()}
        if run.optimizer.steps == self._steps:
            state |= {f"model/{name}": to_numpy(array) for name, array in self._before.items()}
        if run.totals.get("seconds", 0.0) == self._seconds:
            run.add(seconds=time.perf_counter() - self._began)
        self._kept = (state, {**run.position(), "stop": run.stop})

    def resume(self, parallel: DataParallel) -> dict[str, Any] | None:
        """``fit``'s ``resume``, with the state of the furthest rank in ``parallel``, on all ranks.

        None before the first ``fit``. All ranks call it.
        """
        comm = parallel.comm
        _, position = self._kept or (None, {"epoch": -1, "batch": -1})
        places = comm.all_gather(np.array([[position["epoch"], position["batch"]]]))
        furthest = max(range(comm.size), key=lambda rank: tuple(places[rank][0]))
        if places[furthest][0, 0] < 0:
            return None
        text = comm.broadcast_text(json.dumps(position), furthest)
        state: dict[str, Array] = {}
        for name, array in parallel.state_dict().items():
            mine = self._kept[0][name] if self._kept and comm.rank == furthest else array
            state[name] = np.array(to_numpy(mine), order="C")
            comm.broadcast(state[name], furthest)
        parallel.load_state_dict(state)
        agreed: dict[str, Any] = json.loads(text)
        return agreed

    def _note(self, run: Run) -> None:
        self._steps = run.optimizer.steps
        self._seconds = run.totals.get("seconds", 0.0)
        self._before = {name: array.copy() for name, array in self._buffers.items()}
