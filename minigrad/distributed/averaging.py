"""Averaging parameters instead of gradients: local SGD, and the articles' parameter server.

Each rank makes steps of its own, with the gradient of its own samples, and from time to time the
parameters become their mean over the ranks. One averaging costs what one reduction of gradients
does; with H steps between two, a job sends an H-th as many bytes.

What a rank's own gradient is: the caller divides its sum by the *global* number of samples, and
the update multiplies by the number of ranks p. With equal shares that is the mean over this rank's
samples. With unequal ones it is what makes the plain mean of the parameters right: a rank with
fewer samples makes a smaller step, one without any stays where it is, and the mean of the ranks'
SGD steps is the step with the mean gradient of all samples.

The steps of SGD, with momentum or without, are linear in the gradient, so averaging after each of
them is data parallelism. Adam's are not: the mean of the ranks' steps is not the step of the mean.
The optimizer's state stays each rank's own. A checkpoint holds that of rank 0, from which all
ranks go on; so a run that was resumed differs a little from one that was not.

``fit`` averages at the end of each epoch and where it stops, too, before anything is judged or
saved. In a loop of your own, call :meth:`DataParallel.synchronise` before that. Clipping and the
check for what is not finite use one number on all ranks: the root mean square of the norms of the
ranks' own gradients.
"""

from __future__ import annotations

import math

from minigrad.backend import Array, array_module
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.reducers import Reducer
from minigrad.errors import InputError
from minigrad.optim import Optimizer

__all__ = ["LocalSGD", "ParameterServer"]


class LocalSGD(Reducer):
    """The ranks' parameters become their mean after each ``every`` steps (Stich 2019, "Local SGD
    converges fast and communicates little"). Raises :class:`InputError` for fewer than 1."""

    def __init__(self, every: int = 8) -> None:
        if every < 1:
            raise InputError(f"local SGD averages each so many steps: at least 1, not {every}")
        self.every = every

    def __repr__(self) -> str:
        return f"{type(self).__name__}(every={self.every})"

    def attach(self, comm: Communicator, optimizer: Optimizer) -> None:
        super().attach(comm, optimizer)
        self.over = comm
        # √p here and √p in finish: measured in between and added up over the ranks, the squared
        # norms are the mean of those of the ranks' own gradients
        self.scale = math.sqrt(comm.size)

    def finish(self) -> None:
        for arena in self.optimizer.arenas:
            gradient = arena.grad
            gradient *= self.scale

    def updated(self) -> None:
        self.replicas_equal = False
        if self.optimizer.steps % self.every == 0:
            self.synchronise()

    def synchronise(self) -> None:
        if self.replicas_equal:
            return
        for arena in self.optimizer.arenas:
            self.average(arena.data)
            arena.touch()
        self.replicas_equal = True

    def average(self, parameters: Array) -> None:
        """Replace ``parameters`` (n,) by their mean over the ranks: the same bits on each."""
        self.comm.all_reduce(parameters)
        parameters /= self.comm.size


class ParameterServer(LocalSGD):
    """Local SGD through a main device, rank 0, after each step (D4 §3.3).

    The article's six steps: initialise the parameters (:class:`DataParallel` sends rank 0's),
    distribute the data (:class:`~minigrad.data.DataLoader`), train on each device, aggregate the
    parameters on the main device, update them there to their mean and send it back, repeat. Rank 0
    receives and sends p − 1 times all parameters, where an all-reduce by a ring lets no rank send
    them more than twice.
    """

    def __init__(self) -> None:
        super().__init__(every=1)

    def average(self, parameters: Array) -> None:
        others = range(1, self.comm.size)
        if self.comm.rank != 0:
            self.comm.send(parameters, 0)
            self.comm.receive(parameters, 0)
            return
        arriving = array_module(parameters).empty_like(parameters)
        for rank in others:
            self.comm.receive(arriving, rank)
            parameters += arriving
        parameters /= self.comm.size
        for rank in others:
            self.comm.send(parameters, rank)
