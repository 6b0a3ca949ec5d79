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
        self.tables = [self._tables(block) if rule.per_span else {} for block in blocks]
        self.neutral = neutral(self.xp)
        self.bound: dict[int, tuple[Array, list[Callable[[], None]]]] = {}

    def advance(self, hyper: Mapping[str, Hyper]) -> None:
        """Bring the numbers of the coming step to where the kernels read them."""
        for group, packer, start in self.targets:
            packer.pack_into(self.host, start, *numbers(self.rule, hyper[group]))
        if self.rows is not self.host:
            stream = self.xp.cuda.get_current_stream()
            if stream.is_capturing():
                raise InputError(
                    f"a {type(self.rule).__name__} steps within a captured step, but cuda_graph "
                    "was not given it: cuda_graph(step, optimizer, …) brings its numbers"
                )
            self.rows.set(self.host, stream=stream)

    def launch(self, record: Array | None = None) -> None:
        """The update itself; ``record`` is what the norm came to (:class:`GradientNorm`)."""
        record = self.neutral if record is None else record
        if id(record) not in self.bound:
            if len(self.bound) == 4:  # somebody makes a norm for each step: forget the old ones
                self.bound.clear()
            calls = [
                call
                for block, tables in zip(self.blocks, self.tables)
                for call in self._bind_block(block, {**tables, "norm": record})
            ]
            self.bound[id(record)] = (record, calls)  # held, so that its id stays its own
        for call in self.bound[id(record)][1]:
            call()

    def _bind_block(self, block: Block, arrays: dict[str, Array]) -> list[Callable[[], None]]:
        index = self.groups.index(block.group)
        arrays |= dict(zip(self.rule.state, block.state))
        arrays |= {"theta": block.theta, "g": block.g}
        arrays |= {"hyper": self.rows[index, : len(self.fields[index])]}
        one = self.rule.kernel_of(self.rule.groups[block.group])
        names = (one, "lamb_ratio", "lamb_apply") if self.rule.per_span else (one,)
        return [self._launch(name, block, arrays) for name in names]

    def _tables(self, block: Block) -> dict[str, Array]:
        """What LAMB's launches need besides: a tensor is looked at in pieces."""
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
        found = {name: xp.asarray(np.ascontiguousarray(t)) for name, t in tables.items()}
        return found | {
            "r": xp.zeros_like(block.theta),
            "squares": xp.zeros((len(pieces), 2)),
            "ratio": xp.zeros(len(block.spans)),
        }

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
