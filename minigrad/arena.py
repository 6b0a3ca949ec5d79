"""All parameters in one buffer, all their gradients in another.

A model's parameters become reshaped views of one 1-D array, their gradients views of a second.
So one call updates the model, a bucket of gradients is a slice that is reduced in place, a shard
of optimizer state is a slice, and a checkpoint is a slice with a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from minigrad.autograd import Leaf, Version
from minigrad.backend import Array, aligned_zeros, array_module
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
            if names:
                end += -end % 16  # where instructions that move several numbers may begin
            first = end
            for name in reversed(names):
                start, end = end, end + parameters[name].size
                self.spans.append(Span(name, start, end, parameters[name].shape))
            self.groups[group] = slice(first, end)
        xp = array_module(*(parameter.data for parameter in parameters.values()))
        dtype = next(iter(parameters.values())).dtype
        self.data = aligned_zeros(xp, end, dtype)
        self._grad: Array | None = aligned_zeros(xp, end, dtype)
        self.version = Version()
        self.zeroed = 0
        self.moved = False
        self._groups = {group: list(names) for group, names in groups.items()}
        self.leaves: dict[str, Leaf] = {}
        for span in self.spans:
            self._adopt(parameters[span.name], span)

    def _adopt(self, parameter: Parameter, span: Span) -> None:
        if parameter.arena is not None:
            parameter.arena.moved = True
        leaf = parameter._node
        assert isinstance(leaf, Leaf)
        view = self.data[span.start : span.stop].reshape(span.shape)
        view[...] = parameter.data
        gradient = self.grad[span.start : span.stop].reshape(span.shape)
        if leaf.grad is not None:
            gradient[...] = leaf.grad
        parameter.rebind(view)
        parameter.name = span.name
        parameter.arena = self
        # a graph that kept the old array must not be run backward, now or after updates
        leaf.version.count += 1
        self.version.count = max(self.version.count, leaf.version.count)
        leaf.buffer, leaf.version, leaf.in_arena = gradient, self.version, True
        self.leaves[span.name] = leaf

    def holds(
        self, parameters: Mapping[str, Parameter], groups: Mapping[str, Sequence[str]]
    ) -> bool:
        """Whether this arena is the home of just these parameters, in these groups."""
        nodes = {name: parameter._node for name, parameter in parameters.items()}
        return not self.moved and self.leaves == nodes and self._groups == groups

    def __len__(self) -> int:
        return len(self.data)

    def touch(self) -> None:
        """To be called after ``data`` was changed: graphs that kept a parameter are now stale."""
        self.refuse_if_moved()
        self.version.count += 1

    @property
    def grad(self) -> Array:
        """All gradients, 1-D, as long as ``data``."""
        if self._grad is None:
            raise InputError(
                "this arena keeps no gradients: each rank has the sums of its own part only (ZeRO "
                "stage 2); use stage 1 to look at all of them"
            )
        for leaf in self.leaves.values():
            leaf.fresh = False
        return self._grad

    def release_grad(self) -> None:
        """Keep no gradients from here on. A leaf's is an array of its own, as backward makes it,
        for ``on_ready`` to take away (``leaf.buffer = None``)."""
        self._grad = None
        for leaf in self.leaves.values():
            leaf.buffer = None

    def zero_grad(self, *, done: bool = False) -> None:
        """Set all gradients to zero, in place, if an update has not ``done`` it already;
        ``zeroed`` counts how often."""
        self.refuse_if_moved()
        if not done and self._grad is not None:
            self._grad.fill(0)
        self.zeroed += 1
        for leaf in self.leaves.values():
            leaf.fresh = True

    def refuse_if_moved(self) -> None:
        """Raise :class:`InputError` where the parameters live elsewhere by now."""
        if self.moved:
            raise InputError(
                "this optimizer's parameters have moved: another optimizer was made for them, or "
                "some were frozen or moved to another device; make a new optimizer, and use that"
            )


def arenas_of(
    parameters: Mapping[str, Parameter], groups: Mapping[str, Sequence[str]]
) -> list[Arena]:
    """The arenas of all ``parameters`` that are not frozen: one per dtype and device.

    Parameters stay in the arenas they live in if those hold the same names in the same groups.
    Otherwise they move to new ones, and the optimizer that made the old ones can do no more steps.
    """
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    if not trained:
        raise InputError("there is no parameter to train: the model has none, or all are frozen")
    kinds: dict[tuple[object, str], dict[str, Parameter]] = {}
    for name, parameter in trained.items():
        kinds.setdefault((parameter.dtype, parameter.device), {})[name] = parameter
    arenas = []
    for some in kinds.values():
        mine = {g: [n for n in names if n in some] for g, names in groups.items()}
        old = next(iter(some.values())).arena
        arenas.append(old if old is not None and old.holds(some, mine) else Arena(some, mine))
    return arenas
