"""Ranks that go on without those that were killed: MPI with ULFM, as Open MPI has it.

Where a rank is gone, an MPI call that needs it fails on some of the others, and not on all. The one
that finds out *revokes* the communicators, which wakes the rest; they *agree* that the work is not
done, *shrink* to a communicator of those that are left, and do it again from what they hold.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from minigrad.distributed.call import Call, Request
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.failure import fail_together
from minigrad.distributed.host import launched_ranks
from minigrad.distributed.mpi import MPICommunicator, initialised, share_the_machine
from minigrad.distributed.serial import SerialCommunicator, Wrapper
from minigrad.errors import InputError, SharedError

__all__ = ["ElasticCommunicator", "RanksLost", "elastic_world", "outlive"]

T = TypeVar("T")

_SURVIVES = "OMPI_MCA_mpi_ft_enable"
"""What ``mpirun --with-ft ulfm`` sets. The calls are there without it, but do not help."""
_LEAVES = ("OMPI_MCA_async_mpi_finalize", "1")
"""Or MPI_Finalize may wait for ever for the ranks that are gone."""


class RanksLost(RuntimeError):
    """A rank of this communicator is gone; :func:`outlive` goes on without it."""


def elastic_world() -> Communicator:
    """All ranks that the launcher started, as :func:`minigrad.distributed.world`, for
    :func:`outlive`: a rank that is killed does not end the others.

    An exception that nothing catches still ends the whole job. How long ranks wait for each other
    is not limited. Raises :class:`SharedError` where this MPI does not survive a killed rank.
    """
    started = launched_ranks(os.environ)
    if started == 1:
        return SerialCommunicator()
    os.environ.setdefault(*_LEAVES)
    mpi = initialised(started)
    library = mpi.Get_library_version()
    if "Open MPI" not in library:
        name = " ".join(library.partition("\n")[0].partition(",")[0].split())
        raise SharedError(
            "elastic training needs an MPI that outlives a killed rank (ULFM), and this is "
            f"{name}; make a new environment with Open MPI, in minigrad's folder run: "
            "python -m pip install -e '.[mpi-elastic]'"
        )
    if os.environ.get(_SURVIVES, "0").lower() not in ("1", "true"):
        raise SharedError(
            "elastic training: Open MPI was started without --with-ft ulfm, so a killed rank would "
            f"end the job; start with 'minigrad launch -n {started} --elastic …'"
        )
    comm = ElasticCommunicator(MPICommunicator(mpi.COMM_WORLD))
    fail_together(comm)
    share_the_machine(comm)
    return comm


def outlive(comm: Communicator, work: Callable[[Communicator], T]) -> T:
    """``work(comm)``, and where ranks are lost, ``work`` again with those that are left.

    Every rank calls it. The ranks end together: none returns before all that are left have done
    their work. So ``work`` must be repeatable; what it goes on from is its own affair
    (:class:`minigrad.train.Replica`). A :class:`SharedError` is raised on all of them. A ``comm``
    that is not from :func:`elastic_world` is worked with once.
    """
    while isinstance(comm, ElasticCommunicator):
        result: list[T] = []
        error: SharedError | None = None
        try:
            result.append(work(comm))
        except RanksLost:
            comm.revoke()
        except SharedError as shared:
            error = shared
        except (KeyboardInterrupt, SystemExit) as left:  # the others would wait for ever
            sys.stderr.write(f"rank {comm.rank}: {left!r} before the work was done\n")
            comm.abort(130 if isinstance(left, KeyboardInterrupt) else 1)
        if comm.agree(bool(result or error)):
            if error is not None:
                raise error
            return result[0]
        before = comm.size
        comm = comm.survivors()
        if comm.rank == 0:
            sys.stderr.write(
                f"minigrad: {before - comm.size} of {before} ranks lost; {comm.size} go on\n"
            )
    return work(comm)


class ElasticCommunicator(Wrapper):
    """An :class:`MPICommunicator` whose calls raise :class:`RanksLost` where a rank is gone.

    What is split off it belongs to the same family, and is revoked together with it.
    """

    def __init__(self, inner: MPICommunicator, family: _Family | None = None) -> None:
        super().__init__(inner)
        self._family = family or _Family(inner._mpi)
        self._family.comms.append(inner.mpi_comm)

    def split(self, color: int, key: int = 0) -> Communicator:
        with self._family.told():
            return super().split(color, key)

    def revoke(self) -> None:
        """Let every call of the family fail, on all ranks, now and from here on, and wait for what
        this rank has begun, so that MPI writes to no array any more."""
        family = self._family
        for comm in family.comms:
            comm.Revoke()
        for request in list(family.pending):
            with contextlib.suppress(RanksLost, InputError):
                request.wait()
        family.pending.clear()

    def agree(self, done: bool) -> bool:
        """Whether all ranks that are left are ``done``: the same answer on each of them."""
        return _agree(self._family.mpi, self._family.comms[0], done)

    def survivors(self) -> ElasticCommunicator:
        """A communicator of the ranks that are left, in the order they had."""
        mpi, comm = self._family.mpi, self._family.comms[0]
        while True:
            comm = comm.Shrink()
            made = None
            try:
                made = MPICommunicator(comm)
            except mpi.Exception:  # one more is gone by now
                comm.Revoke()
            if _agree(mpi, comm, made is not None) and made is not None:
                return ElasticCommunicator(made)

    def _start(self, call: Call) -> Request:
        with self._family.told():
            request = self.inner._start(call)
        return request if call.blocking else _Pending(request, self._family)

    def _wrap(self, inner: Communicator) -> Communicator:
        assert isinstance(inner, MPICommunicator)
        return ElasticCommunicator(inner, self._family)


class _Family:
    """A communicator with all that was split off it, and what is under way on them."""

    def __init__(self, mpi: Any) -> None:
        self.mpi = mpi
        self.comms: list[Any] = []
        self.pending: set[_Pending] = set()
        self._signs = (mpi.ERR_PROC_FAILED, mpi.ERR_PROC_FAILED_PENDING, mpi.ERR_REVOKED)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Say of an MPI call that fails for want of a rank that ranks are lost."""
        try:
            yield
        except self.mpi.Exception as error:
            if error.Get_error_class() not in self._signs and not self._damaged():
                raise
            raise RanksLost(
                f"a rank of this job is gone ({error}); outlive(comm, work) goes on without it"
            ) from error

    def _damaged(self) -> bool:
        return any(comm.Is_revoked() or comm.Get_failed().Get_size() for comm in self.comms)


class _Pending(Request):
    def __init__(self, request: Request, family: _Family) -> None:
        self._request, self._family = request, family
        family.pending.add(self)

    def wait(self) -> None:
        with self._family.told():
            self._request.wait()
        self._family.pending.discard(self)

    def done(self) -> bool:
        with self._family.told():
            done = self._request.done()
        if done:
            self._family.pending.discard(self)
        return done


def _agree(mpi: Any, comm: Any, done: bool) -> bool:
    while True:
        comm.Ack_failed()
        try:
            return bool(comm.Agree(int(done)))
        except mpi.Exception:  # on all ranks: one that is gone had not been seen by all of them
            continue
