"""What layers must know of the batch they are given, beyond its numbers."""

from __future__ import annotations

from typing import Any

__all__ = ["Context"]


class Context:
    """Where in the training the coming forward is, and who shares its batch.

    One Context serves all modules of a model (:meth:`Module.attach`). ``sample`` is the number of
    the batch's first row, counted over the whole training and all ranks, so that what is drawn
    for a sample does not depend on the rank that has it. ``comm`` is the communicator whose ranks
    share the batch, or ``None``.
    """

    def __init__(self, comm: Any = None) -> None:
        self.comm = comm
        # until somebody says where: apart from the other ranks', so that masks differ
        self.sample = 0 if comm is None else comm.rank << 32
        self._calls: dict[int, int] = {}

    def seek(self, sample: int) -> None:
        """The coming forward begins with sample number ``sample``."""
        self.sample = sample
        self._calls.clear()

    def call(self, layer: object) -> int:
        """How often ``layer`` has been called since :meth:`seek`, this call not counted."""
        number = self._calls.get(id(layer), 0)
        self._calls[id(layer)] = number + 1
        return number

    def __deepcopy__(self, memo: dict[int, Any]) -> Context:
        return self  # a copied model is in the same training
