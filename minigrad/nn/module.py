"""Module: layers with parameters, found by looking at attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd import Tensor
from minigrad.backend import Array, to_device
from minigrad.errors import InputError

if TYPE_CHECKING:
    from minigrad.arena import Arena

__all__ = ["Module", "Parameter"]


class Parameter(Tensor):
    """A Tensor that a Module learns: a leaf that requires a gradient unless it is frozen.

    ``arena`` is where an optimizer keeps its data and gradient.
    """

    arena: Arena | None = None

    def __init__(self, data: Any, requires_grad: bool = True, *, dtype: Any = None) -> None:
        super().__init__(data, requires_grad, dtype=dtype)


class Module:
    """A function with parameters. A subclass assigns parameters and Modules (or lists of Modules)
    as attributes and defines ``forward``.

    ``buffers`` names attributes that hold arrays which are state but not learned. ``training``
    tells layers such as Dropout what to do; ``comm`` is who shares the batch (``None``: nobody),
    and ``sample`` the number of the next sample, counted over the whole training and all ranks.
    """

    buffers: tuple[str, ...] = ()
    training = True
    comm: Any = None
    sample = 0
    on_forward: Callable[[Module, Tensor], None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} defines no forward(self, x)")

    def __call__(self, x: Any) -> Tensor:
        y = self.forward(x if isinstance(x, Tensor) else Tensor(x))
        if self.on_forward is not None:
            self.on_forward(self, y)
        return y

    # --- what it is made of ---------------------------------------------------------------------

    def _members(self) -> Iterator[tuple[str, Any]]:
        """Parameters and Modules among the attributes, lists of them entered."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter | Module):
                yield name, value
            elif isinstance(value, list | tuple):
                for i, item in enumerate(value):
                    if isinstance(item, Parameter | Module):
                        yield f"{name}.{i}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This Module (named ``prefix``) and all below it, with their paths."""
        yield prefix, self
        for name, value in self._members():
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This Module and all below it."""
        return (module for _, module in self.named_modules())

    def _all_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for path, module in self.named_modules():
            for name, value in module._members():
                if isinstance(value, Parameter):
                    yield f"{path}.{name}" if path else name, value

    def named_parameters(self) -> dict[str, Parameter]:
        """Parameters by path. One that is used in two places appears once, under its first path."""
        found: dict[int, tuple[str, Parameter]] = {}
        for name, parameter in self._all_parameters():
            found.setdefault(id(parameter), (name, parameter))
        return dict(found.values())

    def parameters(self) -> list[Parameter]:
        """The parameters, each once."""
        return list(self.named_parameters().values())

    # --- modes ----------------------------------------------------------------------------------

    def train(self, training: bool = True) -> Module:
        """Switch all layers to training (Dropout drops, BatchNorm uses the batch), or back."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> Module:
        """Switch all layers to evaluation."""
        return self.train(False)

    def distribute(self, comm: Any) -> Module:
        """Tell all layers which communicator's ranks share each batch (BatchNorm asks)."""
        for module in self.modules():
            module.comm = comm
        return self

    def seek(self, sample: int) -> Module:
        """Tell all layers the number of the next sample (Dropout's masks are drawn by it)."""
        for module in self.modules():
            module.sample = sample
        return self

    def freeze(self) -> Module:
        """Take all parameters out of training. Done before the optimizer is made."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        return self

    def to(self, device: str) -> Module:
        """Move parameters and buffers to ``device``, in place. Done before the optimizer."""
        for parameter in self.parameters():
            wanted = parameter.requires_grad
            parameter.requires_grad = False  # raises where an optimizer's arena holds it
            parameter._data = to_device(parameter._data, device)
            parameter.requires_grad = wanted
        for module in self.modules():
            for name in module.buffers:
                setattr(module, name, to_device(getattr(module, name), device))
        return self

    # --- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """All parameters (under every path that leads to them) and buffers, by path: the arrays
        themselves, not copies."""
        state = {name: parameter._data for name, parameter in self._all_parameters()}
        for path, module in self.named_modules():
            for name in module.buffers:
                state[f"{path}.{name}" if path else name] = getattr(module, name)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy ``state`` into this Module. Raises, before anything is changed, where names or
        shapes differ, listing every difference."""
        mine = self.state_dict()
        problems = [f"missing: {name}" for name in mine if name not in state]
        problems += [f"unexpected: {name}" for name in state if name not in mine]
        problems += [
            f"{name}: shape {np.shape(state[name])} given, {mine[name].shape} expected"
            for name in mine
            if name in state and np.shape(state[name]) != mine[name].shape
        ]
        if problems:
            raise InputError(
                f"this state belongs to another model than this {type(self).__name__}: "
                + "; ".join(problems)
            )
        for name, parameter in self._all_parameters():
            parameter.data = state[name]
        for path, module in self.named_modules():
            for name in module.buffers:
                getattr(module, name)[...] = state[f"{path}.{name}" if path else name]
