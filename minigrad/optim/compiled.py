"""Updates by the kernels of kernels/, one launch a block (three for LAMB).

Every number of a step lies in device memory: a row for each group, which :meth:`Compiled.advance`
fills on the host and copies in one go, and the record of the gradient's norm. So the launches are
the same in every step, and a CUDA graph of them can be replayed with new numbers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from minigrad.backend import Array, array_module, device_of
from minigrad.errors import InputError
from minigrad.kernels import kernel
from minigrad.kernels.source import find
from minigrad.optim.executor import Block, Formula, Hyper, InPlace
from minigrad.optim.norm import neutral

if TYPE_CHECKING:
    from minigrad.optim.base import Optimizer

__all__ = ["FORMS", "PIECE", "Compiled", "Form", "executors", "numbers"]

Form: TypeAlias = Literal["compiled", "in_place", "formula"]
FORMS = get_args(Form)

PIECE = 16384
"""Elements of a tensor that one block of LAMB looks at."""


def executors(
    rule: Optimizer, blocks: Sequence[Block], form: Form | None
) -> tuple[list[Compiled], list[InPlace | Formula]]:
    """What runs the updates: without a ``form`` by kernels where there are some, else by NumPy."""
    if form == "formula":
        return [], [Formula(rule, blocks)]
    fast = [form != "in_place" and has_kernel(rule, block) for block in blocks]
    by_device: dict[str, list[Block]] = {}
    for block, compiled in zip(blocks, fast):
        by_device.setdefault(device_of(block.theta) if compiled else "", []).append(block)
    slow = by_device.pop("", [])
    if form == "compiled" and slow:
        raise InputError(
            f"{type(rule).__name__}: form='compiled' was asked for, but there is no kernel for "
            f"{slow[0].theta.dtype} on {device_of(slow[0].theta)}; 'minigrad doctor' says why"
        )
    compiled_ones = [Compiled(rule, some) for some in by_device.values()]
    return compiled_ones, [InPlace(rule, slow)] if slow else []


def has_kernel(rule: Optimizer, block: Block) -> bool:
    """Whether there is a kernel for this block's rule, dtype and device."""
    return kernel(rule.kernel_of(rule.groups[block.group]), like=block.theta) is not None


def fields_of(rule: Optimizer, group: str) -> tuple[str, ...]:
    """The fields of the struct that the kernel's argument ``hyper`` points to.

    Raises :class:`TypeError` where ``rule.constants`` has others, or in another order.
    """
    h = rule.groups[group]
    source = find(rule.kernel_of(h))
    (struct,) = (p.type for p in source.entries[rule.kernel_of(h)].parameters if p.name == "hyper")
    fields = source.structs[struct]
    given = (*source.structs["Common"], *rule.constants({**h, "eta": 1.0, "t": 1}))
    if given != fields:
        raise TypeError(
            f"{type(rule).__name__}.constants gives {given}, but struct {struct} in "
            f"{source.path.name} has {fields}"
        )
    return fields


class Compiled:
    """The kernels' step for blocks on one device."""

    def __init__(self, rule: Optimizer, blocks: Sequence[Block]) -> None:
        self.rule, self.blocks = rule, blocks
        self.xp = array_module(blocks[0].theta)
        self.groups = list(dict.fromkeys(block.group for block in blocks))
        self.fields = [fields_of(rule, group) for group in self.groups]
        self.host: Any = np.zeros((len(self.groups), max(map(len, self.fields))))
        self.rows: Any = self.host if self.xp is np else self.xp.asarray(self.host)
        starts = range(0, self.host.nbytes, self.host.strides[0])
        packers = [struct.Struct(f"{len(fields)}d") for fields in self.fields]
        self.targets = list(zip(self.groups, packers, starts))
        self.neutral = self.record = neutral(self.xp)
        self.calls = self._bind(self.neutral)

    def advance(self, hyper: Mapping[str, Hyper]) -> None:
        """Bring the numbers of the coming step to where the kernels read them."""
        for group, packer, start in self.targets:
            packer.pack_into(self.host, start, *numbers(self.rule, hyper[group]))
        if self.rows is not self.host:
            if self.xp.cuda.get_current_stream().is_capturing():
                raise InputError(
                    f"a {type(self.rule).__name__} steps within a captured step, but cuda_graph "
                    "was not given it: cuda_graph(step, optimizer, …) brings its numbers"
                )
            self.rows.set(self.host)

    def launch(self, record: Array | None = None) -> None:
        """The update itself; ``record`` is what the norm came to (:class:`GradientNorm`)."""
        record = self.neutral if record is None else record
        if record is not self.record:
            self.calls, self.record = self._bind(record), record
        for call in self.calls:
            call()

    def _bind(self, record: Array) -> list[Callable[[], None]]:
        return [call for block in self.blocks for call in self._bind_block(block, record)]

    def _bind_block(self, block: Block, record: Array) -> list[Callable[[], None]]:
        index = self.groups.index(block.group)
        arrays = dict(zip(self.rule.state, block.state))
        arrays |= {"theta": block.theta, "g": block.g, "norm": record}
        arrays |= {"hyper": self.rows[index, : len(self.fields[index])]}
        if self.rule.per_span:
            return self._bind_spans(block, arrays)
        return [self._launch(self.rule.kernel_of(self.rule.groups[block.group]), block, arrays)]

    def _bind_spans(self, block: Block, arrays: dict[str, Array]) -> list[Callable[[], None]]:
        """LAMB's three launches; a tensor is looked at in pieces, whose tables are made here."""
        pieces = [
            (start, min(start + PIECE, stop), span)
            for span, (begin, stop) in enumerate(block.spans)
            for start in range(begin, stop, PIECE)
        ]
        first, last, span = np.array(pieces, np.int64).T
        counts = np.bincount(span, minlength=len(block.spans))
        end = np.cumsum(counts)
        tables = {"first": first, "last": last, "span": span, "begin": end - counts, "end": end}
        xp = self.xp
        arrays |= {name: xp.asarray(np.ascontiguousarray(t)) for name, t in tables.items()}
        arrays["r"] = xp.zeros_like(block.theta)
        arrays["squares"] = xp.zeros((len(pieces), 2))
        arrays["ratio"] = xp.zeros(len(block.spans))
        names = ("lamb_direction", "lamb_ratio", "lamb_apply")
        return [self._launch(name, block, arrays) for name in names]

    def _launch(self, name: str, block: Block, arrays: dict[str, Array]) -> Callable[[], None]:
        found = kernel(name, like=block.theta)
        assert found is not None, f"has_kernel said that there is {name}"
        return found.bind(*(arrays[p.name] for p in found.given))


def numbers(rule: Optimizer | type[Optimizer], h: Hyper) -> tuple[float, ...]:
    """A step's numbers as struct Common has them, and then the rule's own."""
    eta, clip, l1, l2 = h["eta"], h["clip_value"], h["l1"], h["l2"]
    threshold = eta * h["proximal_l1"]
    return (
        h["scale"],
        math.inf if clip is None else clip,
        l1,
        l2,
        1.0 if "weight_decay" in rule.takes else 1 - eta * h["weight_decay"],
        threshold,
        clip is None and not (l1 or l2 or threshold),
        h["zero"],
        *rule.constants(h).values(),
    )
