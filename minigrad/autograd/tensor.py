"""Tensor: an array that remembers how it was computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd.graph import Hook, Leaf, Node, delivery, propagate, walk
from minigrad.backend import Array, array_module, device_of, to_device, to_numpy
from minigrad.errors import InputError

__all__ = ["Tensor", "as_array", "seed", "wrap"]


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    ``data`` is a NumPy or CuPy array, a number, or nested lists of them. Python floats become
    float32; an array keeps its dtype. ``requires_grad=True`` makes a leaf, whose gradient
    :meth:`backward` adds up in ``grad``; integer tensors cannot require gradients.

    >>> w = Tensor([1.0, -2.0], requires_grad=True)
    >>> loss = (w * w).sum()
    >>> loss.backward()
    >>> loss.item(), w.grad
    (5.0, array([ 2., -4.], dtype=float32))
    """

    __array_ufunc__ = None  # so that ndarray * Tensor asks Tensor.__rmul__
    _name = ""

    def __init__(
        self,
        data: Any,
        requires_grad: bool = False,
        *,
        dtype: Any = None,
        device: str | None = None,
        name: str = "",
    ) -> None:
        array = as_array(data, dtype)
        self._data = array if device is None else to_device(array, device)
        self._node: Node | Leaf | None = None
        if name:
            self._name = name
        if requires_grad:
            self.requires_grad = True

    # --- what it is ---------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The array itself. Assigning copies into it, so that views of it stay valid, and a
        backward that still needs the old numbers will raise; ``data[...] = x`` goes unnoticed."""
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        if type(self._node) is Node:
            raise InputError(
                f"this Tensor is the result of '{self._node.plan.name}', and backward may still "
                "need it: assign to the data of leaves, or of .detach()"
            )
        _copy_into(self._data, value, "data")
        if type(self._node) is Leaf:
            self._node.version.count += 1

    @property
    def grad(self) -> Array | None:
        """The gradient added up so far, an array; ``None`` for what is no leaf or has none yet."""
        return self._node.grad if type(self._node) is Leaf else None

    @grad.setter
    def grad(self, value: Any) -> None:
        leaf = self._node
        if type(leaf) is not Leaf:
            raise InputError(
                "this Tensor is no leaf, so it keeps no gradient: only Tensors made with "
                "requires_grad=True do; minigrad.grad(loss, [tensor]) gives any gradient"
            )
        if leaf.buffer is None:
            leaf.buffer = array_module(self._data).zeros_like(self._data)
        if value is None:  # as elsewhere in the field; but it becomes zeros, and stays an array
            leaf.buffer.fill(0)
        else:
            _copy_into(leaf.buffer, value, "grad")
        leaf.fresh = value is None

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient reaches this Tensor. Can be set on leaves."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        node = self._node
        if wanted == (node is not None):
            return
        if isinstance(node, Node):
            raise InputError("requires_grad can only be switched off on a leaf; use .detach()")
        if isinstance(node, Leaf) and node.in_arena:
            raise InputError(
                f"parameter '{node.name}' already belongs to an optimizer's arena; freeze it "
                "before the optimizer is made"
            )
        if wanted and self._data.dtype.kind != "f":
            raise InputError(
                f"a Tensor of dtype {self._data.dtype} cannot require a gradient: only floating "
                "point has one; convert it with .astype('float32') first"
            )
        self._node = Leaf(self._data, self._name) if wanted else None

    @property
    def name(self) -> str:
        """A name for people: shown in errors and explanations."""
        return self._name if self._node is None else self._node.name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name
        if self._node is not None:
            self._node.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes; ``()`` for a scalar."""
        return tuple(self._data.shape)

    @property
    def ndim(self) -> int:
        """The number of axes; 0 for a scalar."""
        return int(self._data.ndim)

    @property
    def size(self) -> int:
        """The number of elements, the product of :attr:`shape`."""
        return int(self._data.size)

    @property
    def dtype(self) -> Any:
        """The array's NumPy dtype."""
        return self._data.dtype

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda:N"``."""
        return device_of(self._data)

    # --- copies and conversions ----------------------------------------------------------------

    def numpy(self) -> Array:
        """The data as a NumPy array: the same memory on the CPU, a copy from a GPU."""
        return to_numpy(self._data)

    def item(self) -> float:
        """The one number in this Tensor; :class:`InputError` where there are more, or none."""
        if self._data.size != 1:
            raise InputError(f"item() needs exactly one element; this Tensor has {self.shape}")
        return self._data.item()  # type: ignore[no-any-return]

    def detach(self) -> Tensor:
        """The same data without its history.

        >>> w = Tensor([2.0], requires_grad=True)
        >>> (w * w.detach()).sum().backward()
        >>> w.grad
        array([2.], dtype=float32)
        """
        return wrap(self._data, None)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=20)
        dtype = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        device = "" if self.device == "cpu" else f", device='{self.device}'"
        wants = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({values}{dtype}{device}{wants})"

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    __hash__ = object.__hash__

    # --- gradients -----------------------------------------------------------------------------

    def backward(self, gradient: Any = None, *, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf), times ``gradient``, to the ``grad`` of every leaf behind self.

        ``gradient`` (a number, or an array of self's shape) may be left out for a scalar, where
        it is 1. The graph is freed on the way unless ``retain_graph`` (article D1 §3.2). Raises
        :class:`InputError` where nothing behind self requires a gradient, for a gradient of another
        shape, and where the graph has been freed. A second backward adds to the first:

        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> for _ in range(2):
        ...     (3 * w).sum().backward()
        >>> w.grad
        array([6., 6.], dtype=float32)
        """
        root, g = seed(self, gradient)
        if isinstance(root, Leaf):
            delivery({root: 1})(root, g)
        else:
            nodes, uses = walk([root])
            propagate(nodes, {root: g}, delivery(uses), retain_graph=retain_graph)

    def register_hook(self, hook: Hook) -> Callable[[], None]:
        """Call ``hook(gradient)`` in each backward when this Tensor's gradient is complete.

        What the hook returns, if not ``None``, takes the gradient's place; it must not write to
        the gradient itself, which may be shared. The result removes the hook again. Raises
        :class:`InputError` where this Tensor requires no gradient.

        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> remove = w.register_hook(lambda g: -g)
        >>> w.sum().backward()
        >>> w.grad
        array([-1., -1.], dtype=float32)
        """
        node = self._node
        if node is None:
            raise InputError("a hook needs a Tensor that requires a gradient; this one does not")
        node.hooks = [*(node.hooks or []), hook]

        def remove() -> None:
            node.hooks = [other for other in node.hooks or [] if other is not hook] or None

        return remove

    if TYPE_CHECKING:  # attached by minigrad.ops, which stands above this module
        T: Tensor

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __getattr__(self, name: str) -> Any: ...


_new = object.__new__


def wrap(array: Array, node: Node | Leaf | None) -> Tensor:
    """A Tensor around an array that needs no conversion: the way results are made."""
    tensor = _new(Tensor)
    tensor._data = array
    tensor._node = node
    return tensor


def as_array(data: Any, dtype: Any = None) -> Array:
    """``data`` as an array. Python floats become float32, arrays keep their dtype.

    >>> mg.autograd.as_array([1.0, 2.0]).dtype, mg.autograd.as_array(np.ones(2)).dtype
    (dtype('float32'), dtype('float64'))
    """
    if isinstance(data, Tensor):
        data = data._data
    if hasattr(data, "dtype") and not isinstance(data, np.generic):
        return data if dtype is None else data.astype(dtype, copy=False)
    if isinstance(data, list | tuple) and any(
        isinstance(part, Tensor) and part.requires_grad for part in data
    ):
        raise InputError(
            "a list of Tensors that require gradients would lose them here: join them with "
            "ops.stack or ops.concatenate"
        )
    array = np.asarray(data, dtype)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"a Tensor holds numbers, but {type(data).__name__} {data!r:.60} was given"
        )
    return array.astype(np.float32) if dtype is None and array.dtype == np.float64 else array


def _copy_into(target: Array, value: Any, what: str) -> None:
    source = as_array(value)
    if source.shape not in (target.shape, ()):
        raise InputError(
            f"{what} has shape {target.shape}, but an array of shape {source.shape} was given for "
            "it; the shapes must agree"
        )
    target[...] = to_device(source, device_of(target))


def seed(output: Tensor, gradient: Any) -> tuple[Node | Leaf, Array]:
    """The node of ``output`` and the gradient that backward starts with there."""
    node = output._node
    if node is None:
        raise InputError(
            "backward needs a Tensor that came from one with requires_grad=True; no input of "
            "this one had it, or it was computed under no_grad, or it is a gradient that was made "
            "without create_graph=True"
        )
    if gradient is None:
        if output._data.size != 1:
            raise InputError(
                f"backward starts at a scalar; this Tensor has shape {output.shape}: reduce it "
                "with .sum() or .mean(), or pass the gradient of the same shape"
            )
        gradient = 1.0
    g = array_module(output._data).empty(node.shape, node.dtype)
    if isinstance(gradient, float | int):
        g.fill(gradient)
    else:
        _copy_into(g, gradient, "the gradient")
    return node, g
