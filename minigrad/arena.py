"""All parameters in one buffer, all their gradients in another.

A model's parameters become reshaped views of one 1-D array, their gradients views of a second.
So one call updates the model, a bucket of gradients is a slice that is reduced in place, a shard
of optimizer state is a slice, and a checkpoint is a slice with a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from minigrad.autograd import Leaf, Version
from minigrad.backend import Array, array_module
from minigrad.errors import InputError
from minigrad.nn import Parameter

__all__ = ["Arena", "Span", "arenas_of"]


class Span(NamedTuple):
    """Where one parameter lies in the buffers: elements ``start`` to ``stop``."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]


class Arena:
    """The buffers ``data`` and ``grad`` of parameters that share a dtype and a device.

    ``groups`` maps a name to the names of its parameters; each group is contiguous in the buffers
    and ``self.groups`` holds its slice. Within a group, spans lie in reverse order of the
    parameters, which is about the order in which backward completes their gradients.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        groups = {"all": list(parameters)} if groups is None else groups
        listed = [name for names in groups.values() for name in names]
        if sorted(listed) != sorted(parameters):
            raise InputError(
                f"the groups of an arena must hold each of its parameters once: the parameters are "
                f"{sorted(parameters)}, the groups hold {sorted(listed)}"
            )
        self.spans: list[Span] = []
        self.groups: dict[str, slice] = {}
        end = 0
        for group, names in groups.items():
            first = end
            for name in reversed(names):
                start, end = end, end + parameters[name].size
                self.spans.append(Span(name, start, end, parameters[name].shape))
            self.groups[group] = slice(first, end)
        xp = array_module(*(parameter.data for parameter in parameters.values()))
        dtype = next(iter(parameters.values())).dtype
        self.data = xp.empty(end, dtype)
        self._grad = xp.zeros(end, dtype)
        self.version = Version()
        self.leaves: dict[str, Leaf] = {}
        for span in self.spans:
            self._adopt(parameters[span.name], span)

    def _adopt(self, parameter: Parameter, span: Span) -> None:
        leaf = parameter._node
        assert isinstance(leaf, Leaf)
        view = self.data[span.start : span.stop].reshape(span.shape)
        view[...] = parameter.data
        gradient = self._grad[span.start : span.stop].reshape(span.shape)
        if leaf.grad is not None:
            gradient[...] = leaf.grad
        parameter._data = view
        parameter.name = span.name
        parameter.arena = self
        # a graph that kept the old array must not be run backward, now or after updates
        self.version.count = max(self.version.count, leaf.version.count + 1)
        leaf.buffer, leaf.version, leaf.in_arena = gradient, self.version, True
        self.leaves[span.name] = leaf

    def __len__(self) -> int:
        return len(self.data)

    def touch(self) -> None:
        """To be called after ``data`` was changed: graphs that kept a parameter are now stale."""
        self.version.count += 1

    @property
    def grad(self) -> Array:
        """All gradients, 1-D, as long as ``data``."""
        for leaf in self.leaves.values():
            leaf.fresh = False
        return self._grad

    def zero_grad(self) -> None:
        """Set all gradients to zero, in place."""
        self._grad.fill(0)
        for leaf in self.leaves.values():
            leaf.fresh = True


def arenas_of(
    parameters: Mapping[str, Parameter], groups: Mapping[str, Sequence[str]]
) -> list[Arena]:
    """The arenas of all ``parameters`` that are not frozen: one per dtype and device.

    Parameters that live in arenas already keep them if the groups are the same.
    """
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    if not trained:
        raise InputError("there is no parameter to train: the model has none, or all are frozen")
    homes = {id(p.arena): p.arena for p in trained.values() if p.arena is not None}
    if homes:
        found = list(homes.values())
        held = {name: id(leaf) for arena in found for name, leaf in arena.leaves.items()}
        wanted = {name: {n for n in names if n in trained} for name, names in groups.items()}
        present: dict[str, set[str]] = {name: set() for name in wanted}
        for arena in found:
            for group, part in arena.groups.items():
                inside = {s.name for s in arena.spans if part.start <= s.start < part.stop}
                present.setdefault(group, set()).update(inside)
        if held == {name: id(p._node) for name, p in trained.items()} and present == wanted:
            return found
        raise InputError(
            "these parameters belong to another optimizer already, with other names or groups; "
            "make one optimizer for them all, with groups=, or build the model anew"
        )
    kinds: dict[tuple[object, str], dict[str, Parameter]] = {}
    for name, parameter in trained.items():
        kinds.setdefault((parameter.dtype, parameter.device), {})[name] = parameter
    return [
        Arena(some, {g: [n for n in names if n in some] for g, names in groups.items()})
        for some in kinds.values()
    ]
