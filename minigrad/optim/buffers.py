"""An optimizer's state: buffers as long as the arena, or as the part of it that this rank has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from minigrad.arena import Arena
from minigrad.backend import Array, aligned_zeros, array_module
from minigrad.optim.executor import Owned

__all__ = ["Gather", "StateBuffers"]

Gather: TypeAlias = Callable[[int, Array], Array]
"""(number of the arena, this rank's part of a buffer) -> the whole buffer, of all ranks' parts."""


class StateBuffers:
    """Buffers ``names`` for each of ``arenas``; ``owned`` say which part of it is here."""

    def __init__(
        self, arenas: Sequence[Arena], names: Sequence[str], owned: Sequence[Owned]
    ) -> None:
        self.arenas, self.names, self.owned = arenas, names, owned
        self.of_arena = [
            [aligned_zeros(array_module(a.data), own.g.size, a.data.dtype) for _ in names]
            for a, own in zip(arenas, owned, strict=True)
        ]

    @property
    def nbytes(self) -> int:
        """Bytes of state on this rank."""
        return sum(int(buffer.nbytes) for buffers in self.of_arena for buffer in buffers)

    def whole(self, gather: Gather | None = None) -> Iterator[tuple[str, Array]]:
        """``("m/layers.0.weight", array)`` for every buffer and parameter, in its shape."""
        for index, arena in enumerate(self.arenas):
            for name, buffer in zip(self.names, self.of_arena[index], strict=True):
                full = gather(index, buffer) if gather else buffer
                for span in arena.spans:
                    view = full[span.start : span.stop]
                    yield f"{name}/{span.name}", view.reshape(span.shape)

    def load(self, state: Mapping[str, Array]) -> None:
        """Take over from whole arrays, by the same names, what is here."""
        for arena, buffers, own in zip(self.arenas, self.of_arena, self.owned, strict=True):
            xp = array_module(arena.data)
            first, last, _ = own.part.indices(len(arena))
            for name, buffer in zip(self.names, buffers, strict=True):
                for span in arena.spans:
                    start, stop = max(span.start, first), min(span.stop, last)
                    if start < stop:
                        array = xp.asarray(state[f"{name}/{span.name}"]).reshape(-1)
                        buffer[start - first : stop - first] = array[
                            start - span.start : stop - span.start
                        ]
