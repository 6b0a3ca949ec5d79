"""How NumPy and CuPy run a rule on a model: by its formula, or piece by piece in place.

An executor is made for the blocks of one optimizer and called in each step with the groups'
hyper-parameters. What holds for every rule happens here: the gradient arrives scaled, clipped and
penalised, θ decayed, and the soft threshold follows. The one that runs the compiled kernels is in
:mod:`minigrad.optim.compiled`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from minigrad.arena import Arena
from minigrad.backend import Array, aligned_zeros, array_module, device_of
from minigrad.optim.regularisation import (
    decayed,
    effective_gradient,
    effective_gradient_,
    soft_threshold,
    soft_threshold_,
)

if TYPE_CHECKING:
    from minigrad.optim.base import Optimizer

__all__ = ["Block", "Formula", "Hyper", "InPlace", "Owned", "Scratch", "cut"]

Hyper: TypeAlias = Mapping[str, Any]
"""One group's hyper-parameters in one step: plain Python numbers, with ``eta`` and ``t`` from 1."""

CHUNK = 131072
"""Elements a NumPy rule handles at a time. Adam on 109,386 and on 6 million float32 parameters, in
times of this choice: 16k 1.24 and 1.30 (calls), 32k 1.12 and 1.16, 64k 0.98 and 1.01, 256k 1.01
and 0.94, the whole of 6 million 1.46 (memory)."""


class Block(NamedTuple):
    """A stretch of an arena under one group's hyper-parameters: 1-D views of equal length.

    ``spans`` say where in it each parameter begins and ends.
    """

    group: str
    theta: Array
    g: Array
    state: tuple[Array, ...]
    spans: tuple[tuple[int, int], ...]

    def parts(self) -> Iterator[Block]:
        """A block for each parameter."""
        for start, stop in self.spans:
            state = tuple(buffer[start:stop] for buffer in self.state)
            size = ((0, stop - start),)
            yield Block(self.group, self.theta[start:stop], self.g[start:stop], state, size)


class Owned(NamedTuple):
    """The part of an arena that this rank updates, and the buffer of that part's gradients."""

    part: slice
    g: Array


def cut(
    arena: Arena, buffers: Sequence[Array], group_of: Mapping[str, str], own: Owned
) -> Iterator[Block]:
    """Runs of spans of one group, as far as they lie in ``own``, with which the state's
    ``buffers`` begin and end."""
    first, last, _ = own.part.indices(len(arena))
    runs = groupby(arena.spans, lambda span: group_of[span.name])
    for spans in (list(run) for _, run in runs):
        start, stop = max(spans[0].start, first), min(spans[-1].stop, last)
        if start < stop:
            here = slice(start - first, stop - first)
            state = tuple(buffer[here] for buffer in buffers)
            cuts = tuple(
                (max(span.start, start) - start, min(span.stop, stop) - start)
                for span in spans
                if span.start < stop and span.stop > start
            )
            group = group_of[spans[0].name]
            yield Block(group, arena.data[start:stop], own.g[here], state, cuts)


class Scratch(dict[tuple[str, Any, str], Array]):
    """Work arrays that the blocks of one optimizer share, one for each use, dtype and device."""

    def lend(self, use: str, like: Array, size: int) -> Array:
        """``size`` elements of ``like``'s kind; ask for the largest first, and it serves all."""
        key = (use, like.dtype, device_of(like))
        if key not in self or self[key].size < size:
            self[key] = aligned_zeros(array_module(like), size, like.dtype)
        return self[key][:size]


def blocks_of(rule: Optimizer, blocks: Sequence[Block]) -> list[Block]:
    """The blocks that a rule looks at as wholes, the largest first."""
    parts = [part for block in blocks for part in (block.parts() if rule.per_span else [block])]
    return sorted(parts, key=lambda block: -block.theta.size)


class Formula:
    """The teaching step, whose results are copied into the arena."""

    form = "formula"

    def __init__(self, rule: Optimizer, blocks: Sequence[Block]) -> None:
        self.rule, self.blocks = rule, blocks_of(rule, blocks)
        self.names = (*rule.hyper, *rule.takes)

    def __call__(self, hyper: Mapping[str, Hyper]) -> None:
        """One update."""
        for group, theta, g, state, _ in self.blocks:
            h = hyper[group]
            inputs = {name: h[name] for name in self.names}
            start = (
                theta if "weight_decay" in inputs else decayed(theta, h["eta"], h["weight_decay"])
            )
            results = self.rule.formula(start, effective_gradient(theta, g, h), *state, **inputs)
            for buffer, value in zip((theta, *state), results, strict=True):
                buffer[...] = value
            if tau := h["eta"] * h["proximal_l1"]:
                theta[...] = soft_threshold(theta, tau)


class InPlace:
    """The fast step, a piece at a time that stays in cache; it allocates nothing."""

    form = "in_place"

    def __init__(self, rule: Optimizer, blocks: Sequence[Block]) -> None:
        scratch = Scratch()
        self.updates = [
            (block.group, _BlockInPlace(rule, block, scratch)) for block in blocks_of(rule, blocks)
        ]

    def __call__(self, hyper: Mapping[str, Hyper]) -> None:
        """One update."""
        for group, update in self.updates:
            update(hyper[group])


class _BlockInPlace:
    def __init__(self, rule: Optimizer, block: Block, scratch: Scratch) -> None:
        self.rule, self.block = rule, block
        size = block.theta.size
        # on a GPU a pass is a launch: larger pieces, yet no scratch as large as the model
        length = min(size, CHUNK if array_module(block.theta) is np else 64 * CHUNK)
        row = length + -length % 64  # all rows begin aligned
        penalised, s, other = scratch.lend("work", block.theta, 3 * row).reshape(3, row)
        self.update = scratch.lend("update", block.theta, size if rule.per_span else 0)
        self.pieces = []
        for start in range(0, size, length):
            cut = slice(start, min(start + length, size))
            some = slice(cut.stop - start)
            last = self.update[cut] if rule.per_span else other[some]
            arrays = (*(buffer[cut] for buffer in block.state), s[some], last)
            self.pieces.append((block.theta[cut], block.g[cut], penalised[some], s[some], arrays))

    def __call__(self, h: Hyper) -> None:
        """One update."""
        rule, tau = self.rule, h["eta"] * h["proximal_l1"]
        keep = 1.0 if "weight_decay" in rule.takes else 1 - h["eta"] * h["weight_decay"]
        for theta, g, penalised, s, arrays in self.pieces:
            g = effective_gradient_(theta, g, h, penalised, s)
            if keep != 1:
                theta *= keep
            rule.in_place(theta, g, *arrays, h)
            if tau and not rule.per_span:
                soft_threshold_(theta, tau, s)
        if rule.per_span:
            rule.finish(self.block.theta, self.update, h)
            if tau:
                soft_threshold_(self.block.theta, tau, self.update)
