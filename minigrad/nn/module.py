"""Module: layers with parameters, found by looking at attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minigrad.autograd import Leaf, Node, Tensor, number
from minigrad.backend import Array, device_of, to_device
from minigrad.errors import InputError
from minigrad.nn.context import Context
from minigrad.state import check_names

if TYPE_CHECKING:
    from minigrad.arena import Arena

__all__ = ["Module", "Parameter", "Shard"]


class Shard(NamedTuple):
    """Which part of a whole parameter a rank holds: ``start`` to ``stop`` of the ``length`` that
    the whole has on ``axis``."""

    axis: int
    start: int
    stop: int
    length: int

    @property
    def slices(self) -> tuple[slice, ...]:
        """``whole[shard.slices]`` is the part."""
        return (*(slice(None),) * self.axis, slice(self.start, self.stop))


class Parameter(Tensor):
    """A Tensor that a Module learns: a leaf that requires a gradient unless it is frozen.

    ``arena`` is where an optimizer keeps its data and gradient. Freezing a parameter takes it out
    of its arena; that optimizer can then do no further step, and a new one is made. ``shard`` says
    which part of a whole this is in tensor parallelism; ``None`` is all of it.

    >>> w = nn.Parameter([1.0])
    >>> w.requires_grad = False
    >>> (2 * w).requires_grad
    False
    """

    arena: Arena | None = None
    shard: Shard | None = None

    def __init__(self, data: Any, requires_grad: bool = True, *, dtype: Any = None) -> None:
        super().__init__(data, requires_grad, dtype=dtype)

    def leave_arena(self) -> None:
        """Take data and gradient out of the arena, which is then no longer in use."""
        if self.arena is not None:
            self.arena.moved = True
            self.arena = None
            self._data = self._data.copy()
            leaf = Leaf(self._data, self.name)
            leaf.hooks = self._node.hooks if self._node is not None else None
            self._node = leaf

    def rebind(self, array: Array) -> None:
        """Let ``array`` be the data from here on."""
        self._data = array
        if isinstance(self._node, Leaf):
            self._node.data = array

    @property
    def requires_grad(self) -> bool:
        """Whether it is trained; setting it to ``False`` freezes it."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not wanted:
            self.leave_arena()
        Tensor.requires_grad.__set__(self, wanted)  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        twin = Parameter(self._data.copy(), self.requires_grad)
        twin.name, twin.shard = self.name, self.shard
        memo[id(self)] = twin
        return twin


class Module:
    """A function with parameters. A subclass assigns Parameters and Modules (or lists or dicts of
    them) as attributes and defines ``forward``.

    ``buffers`` names attributes that hold arrays which are state but not learned, and
    ``training`` tells layers such as Dropout what to do.

    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter([2.0])
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> model = Scale()
    >>> model([1.0, 3.0]), model.named_parameters()
    (Tensor([2., 6.], requires_grad=True), {'factor': Tensor([2.], requires_grad=True)})
    """

    buffers: tuple[str, ...] = ()
    training = True
    on_forward: Callable[[Module, Tensor], None] | None = None

    def forward(self, *inputs: Any) -> Tensor:
        """What the module computes; a subclass defines it, and a call of the module runs it."""
        raise TypeError(f"{type(self).__name__} defines no forward(self, x)")

    def __call__(self, *inputs: Any) -> Tensor:
        began = number()
        y = self.forward(*(Tensor(x) if isinstance(x, _NUMBERS) else x for x in inputs))
        outputs: Any = y  # several, where a forward returns a tuple
        for output in outputs if isinstance(outputs, tuple) else (y,):
            node = getattr(output, "_node", None)
            if type(node) is Node and node.number > began:
                node.made_by = (*node.made_by, (self, began))
        if self.on_forward is not None:
            self.on_forward(self, y)
        return y

    # --- what it is made of ---------------------------------------------------------------------

    def _members(self) -> Iterator[tuple[str, Any]]:
        """Parameters and Modules among the attributes, lists and dicts of them entered."""
        for name, value in vars(self).items():
            yield from _found(name, value)

    def named_modules(
        self, prefix: str = "", _above: tuple[Module, ...] = ()
    ) -> Iterator[tuple[str, Module]]:
        """This Module (named ``prefix``) and all below it, with their paths. One that is in two
        places has two paths; a reference back to a Module above is none."""
        yield prefix, self
        above = (*_above, self)
        for name, value in self._members():
            if isinstance(value, Module) and all(value is not module for module in above):
                yield from value.named_modules(f"{prefix}.{name}" if prefix else name, above)

    def modules(self) -> Iterator[Module]:
        """This Module and all below it."""
        return (module for _, module in self.named_modules())

    def _all_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for path, module in self.named_modules():
            for name, value in module._members():
                if isinstance(value, Parameter):
                    yield f"{path}.{name}" if path else name, value
                elif isinstance(value, Tensor) and isinstance(value._node, Leaf):
                    raise InputError(
                        f"'{name}' of {type(module).__name__} is a Tensor that requires a "
                        "gradient, but no Parameter, so it would not be trained: make it "
                        "nn.Parameter(…)"
                    )

    def named_parameters(self) -> dict[str, Parameter]:
        """Parameters by path. One that is used in two places appears once, under its first path."""
        found: dict[int, tuple[str, Parameter]] = {}
        for name, parameter in self._all_parameters():
            found.setdefault(id(parameter), (name, parameter))
        return dict(found.values())

    def parameters(self) -> list[Parameter]:
        """The parameters, each once."""
        return list(self.named_parameters().values())

    def __repr__(self) -> str:
        layers = [
            f"{name}={value!r}" for name, value in self._members() if isinstance(value, Module)
        ]
        return f"{type(self).__name__}({', '.join(layers)})"

    # --- modes ----------------------------------------------------------------------------------

    def train(self, training: bool = True) -> Module:
        """Switch all layers to training (Dropout drops, BatchNorm uses the batch), or back."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> Module:
        """Switch all layers to evaluation."""
        return self.train(False)

    @property
    def context(self) -> Context:
        """What this Module knows of the batch; its own until one is attached."""
        if "_context" not in vars(self):
            self._context = Context()
        return self._context

    def attach(self, context: Context) -> Module:
        """Let all layers share ``context``: Dropout asks for the sample's number, BatchNorm for
        the ranks that share the batch."""
        for module in self.modules():
            module._context = context
        return self

    def freeze(self) -> Module:
        """Take all parameters out of training; ``requires_grad = True`` takes one back in. Batch
        norm's running averages are no parameters: they rest in evaluation mode."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        return self

    def to(self, device: str) -> Module:
        """Move parameters and floating-point buffers to ``device``. Done before the optimizer is
        made: one that has them already can do no further step. Keys of generators, which are
        integers, stay on the host, where masks are drawn."""
        for parameter in self.parameters():
            parameter.leave_arena()
            parameter.rebind(to_device(parameter._data, device))
        for module in self.modules():
            for name in module.buffers:
                array = getattr(module, name)
                setattr(
                    module, name, to_device(array, device) if array.dtype.kind == "f" else array
                )
        return self

    # --- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """All parameters (under every path that leads to them) and buffers, by path. These are
        the model's own arrays, which training changes: copy them to keep a snapshot."""
        state = {name: parameter._data for name, parameter in self._all_parameters()}
        for path, module in self.named_modules():
            for name in module.buffers:
                state[f"{path}.{name}" if path else name] = getattr(module, name)
        return state

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy ``state`` into this Module. Raises, before anything is changed, where names,
        shapes or dtypes differ, listing every difference."""
        what = f"this state belongs to another model than this {type(self).__name__}"
        check_names(self.state_dict(), state, what)
        for name, parameter in self._all_parameters():
            parameter.data = state[name]
        for path, module in self.named_modules():
            for name in module.buffers:
                buffer = getattr(module, name)
                buffer[...] = to_device(
                    state[f"{path}.{name}" if path else name], device_of(buffer)
                )


_NUMBERS = (np.ndarray, list, tuple, float, int)


def _found(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor | Module):
        yield name, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _found(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _found(f"{name}.{key}", item)
