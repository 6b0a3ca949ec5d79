"""Ranks laid out as an array: data × tensor × pipeline parallelism at once (D3 §3.1.3).

Rank (d·P + s)·T + t is replica d, stage s of P, and part t of T: those that talk most, the parts of
one layer, are neighbours.
"""

from __future__ import annotations

import itertools

from minigrad.distributed.communicator import Communicator
from minigrad.distributed.serial import SerialCommunicator
from minigrad.errors import SharedError

__all__ = ["Mesh"]


class Mesh:
    """``comm``'s ranks as an array of ``data`` × ``tensor`` × ``pipeline``.

    ``mesh.data`` is the communicator of the ranks that hold the same parameters, ``mesh.tensor`` of
    those that share this stage's layers, ``mesh.pipeline`` of the stages in order, and
    ``mesh.model`` of all that hold one replica together. ``data`` is what is left by default.
    Raises :class:`SharedError` where the sizes do not make the number of ranks. All ranks make it.
    """

    def __init__(
        self, comm: Communicator, *, data: int | None = None, tensor: int = 1, pipeline: int = 1
    ) -> None:
        if min(tensor, pipeline, 1 if data is None else data) < 1:
            raise SharedError(
                f"a layout of {data} × {tensor} × {pipeline} was asked for; each must be 1 or more"
            )
        parts = tensor * pipeline
        if data is None and comm.size % parts == 0:
            data = comm.size // parts
        if data is None or data * parts != comm.size:
            asked = " × ".join(map(str, (data, tensor, pipeline) if data else (tensor, pipeline)))
            raise SharedError(
                f"{'data × ' * bool(data)}tensor × pipeline = {asked} does not fit {comm.size} "
                f"rank{'s' * (comm.size > 1)}; what does, as data × tensor × pipeline: "
                f"{', '.join(layouts(comm.size))}"
            )
        self.comm = comm
        self.sizes = (data, tensor, pipeline)
        rest, t = divmod(comm.rank, tensor)
        d, s = divmod(rest, pipeline)
        self.place = (d, t, s)
        self.data: Communicator
        self.tensor: Communicator
        self.pipeline: Communicator
        self.model: Communicator
        if parts == 1:
            self.data = comm
            self.tensor = self.pipeline = self.model = SerialCommunicator()
            return
        self.data = _split(comm, s * tensor + t, d, data)
        self.tensor = _split(comm, d * pipeline + s, t, tensor)
        self.pipeline = _split(comm, d * tensor + t, s, pipeline)
        self.model = _split(comm, d, comm.rank, parts)

    def __repr__(self) -> str:
        return f"Mesh(data × tensor × pipeline = {' × '.join(map(str, self.sizes))})"


def _split(comm: Communicator, color: int, key: int, size: int) -> Communicator:
    return comm.split(color, key) if size > 1 else SerialCommunicator()


def layouts(ranks: int) -> list[str]:
    """All layouts of so many ranks, as text; the first dozen of them."""
    divisors = [n for n in range(1, ranks + 1) if ranks % n == 0]
    found = [
        f"{ranks // (t * p)}×{t}×{p}"
        for t, p in itertools.product(divisors, divisors)
        if ranks % (t * p) == 0
    ]
    return found[:12]
