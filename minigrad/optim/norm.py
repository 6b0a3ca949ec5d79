"""The gradient's global norm where the gradient lives: nothing waits (D2 §3.3, D3 §3.2.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from minigrad.arena import Arena
from minigrad.backend import Array, array_module, device_of, to_device, to_numpy
from minigrad.errors import InputError
from minigrad.kernels import kernel
from minigrad.optim._checks import positive
from minigrad.optim.clipping import clip_scale, global_norm

__all__ = ["GradientNorm", "neutral", "use"]

_PER_PIECE, _PIECES = 4096, 1024


class Gathering(Protocol):
    """What :class:`GradientNorm` asks of a communicator."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def gather_into(self, whole: Array, counts: Sequence[int] | None = None) -> None: ...


def neutral(xp: Any) -> Array:
    """Struct Norm of kernels/optimizers.cuh, for a gradient that nobody measured: ‖g‖, the scale,
    whether it is not finite, and how often it was not."""
    return xp.asarray([0.0, 1.0, 0.0, 0.0])


class GradientNorm:
    """‖g‖ over all gradients of ``arenas``, as the update will need it::

        norm = optim.GradientNorm(optimizer.arenas, limit=1.0)     # once
        norm.measure()                  # after backward; on a GPU nothing waits
        optimizer.step(norm=norm)       # scaled by min(1, limit/(‖g‖ + 1e-6))
        print(norm.value)               # waits

    Where ‖g‖ is infinite or NaN, ``step`` leaves parameters and state as they are, and ``skipped``
    counts it; the step counts as one all the same, in ``optimizer.steps`` and in bias corrections.
    Without ``limit``, a number above 0, nothing is clipped. The sum of squares is formed in double,
    in an order that depends on the sizes alone, so a norm has the same bits whenever and on
    whichever processor it is measured; by a kernel, float64 gradients above 1e150 count as
    infinite, and below 1e-150 as 0. ``parts`` are the gradients to count (1-D), by default those
    of the arenas; ``over`` is the communicator of the ranks that each count a part of the whole.
    Raises :class:`InputError` for arenas of several devices, for a limit of 0 or below, and in
    ``measure`` where the parameters have moved to other arenas.

    >>> theta = nn.Parameter([0.0, 0.0])
    >>> optimizer = optim.SGD([theta], lr=1.0)
    >>> norm = optim.GradientNorm(optimizer.arenas, limit=1.0)
    >>> theta.grad = [3.0, 4.0]
    >>> optimizer.step(norm=norm.measure())
    >>> norm.value, theta.data
    (5.0, array([-0.6, -0.8], dtype=float32))
    """

    def __init__(
        self,
        arenas: Sequence[Arena],
        limit: float | None = None,
        *,
        parts: Sequence[Array] | None = None,
        over: Gathering | None = None,
    ) -> None:
        if not all(isinstance(arena, Arena) for arena in _listed(arenas)):
            raise InputError(
                f"GradientNorm was given {type(arenas).__name__}; give it an optimizer's arenas: "
                "GradientNorm(optimizer.arenas)"
            )
        self.arenas = list(arenas)
        devices = sorted({device_of(arena.data) for arena in self.arenas})
        if len(devices) != 1:
            raise InputError(
                f"GradientNorm was given arenas on {' and '.join(devices) or 'no device'}; give it "
                "those of one device, and clip by hand where a model lies on several"
            )
        self.limit = math.inf if limit is None else positive("the limit of the global norm", limit)
        self.device = devices[0]
        self.fresh = False
        """Whether it was measured since the last update that it was given to."""
        self.record = neutral(array_module(self.arenas[0].data))
        self._parts, self._over = parts, over if over is not None and over.size > 1 else None
        self._launches = self._bind()

    def _bind(self) -> list[Callable[[], None]]:
        buffers = [arena.grad for arena in self.arenas] if self._parts is None else self._parts
        xp = array_module(self.arenas[0].data)
        like = self.arenas[0].data
        stages = [kernel("norm_pieces", like=g) for g in buffers]
        last = kernel("norm_record", like=like)
        if last is None or None in stages:
            return []
        counts = [min(max(1, -(-g.size // _PER_PIECE)), _PIECES) for g in buffers]
        pieces = xp.zeros(sum(counts))
        ends = np.cumsum(counts)
        calls = [
            stage.bind(g, pieces[end - count : end])
            for stage, g, count, end in zip(stages, buffers, counts, ends)
            if stage is not None
        ]
        if self._over is None:
            return [*calls, last.bind(pieces, self.record, self.limit, 1)]
        return [*calls, *self._bind_over(self._over, pieces, last)]

    def _bind_over(self, over: Gathering, pieces: Array, last: Any) -> list[Callable[[], None]]:
        """The sum of this rank's pieces goes to all others; each adds them up in rank order."""
        sums = array_module(pieces).zeros(over.size)

        def gather() -> None:
            sums[over.rank] = pieces.sum()
            over.gather_into(sums, [1] * over.size)

        return [gather, last.bind(sums, self.record, self.limit, 1)]

    def measure(self) -> GradientNorm:
        """Look at the gradients as they are now."""
        for arena in self.arenas:
            arena.refuse_if_moved()
        self.fresh = True
        if self._launches:
            for launch in self._launches:
                launch()
            return self
        norm = self._formula()
        finite = math.isfinite(norm)
        scale = clip_scale(norm, self.limit) if finite and self.limit < math.inf else 1.0
        skipped = self.skipped + (not finite)
        self.record[...] = to_device(np.array([norm, scale, not finite, skipped]), self.device)
        return self

    def _formula(self) -> float:
        mine = global_norm(self.arenas if self._parts is None else self._parts)
        if self._over is None:
            return mine
        norms = np.zeros(self._over.size)
        norms[self._over.rank] = mine
        self._over.gather_into(norms, [1] * self._over.size)
        return math.hypot(*norms)

    @property
    def value(self) -> float:
        """‖g‖ when it was last measured; on a GPU this waits for it."""
        return float(to_numpy(self.record)[0])

    @property
    def scale(self) -> float:
        """What the gradient is multiplied by."""
        return float(to_numpy(self.record)[1])

    @property
    def finite(self) -> bool:
        """Whether ‖g‖ is a number below infinity."""
        return not to_numpy(self.record)[2]

    @property
    def skipped(self) -> int:
        """How many measured gradients were not finite."""
        return int(to_numpy(self.record)[3])

    def __float__(self) -> float:
        return self.value


def use(norm: GradientNorm, arenas: Sequence[Arena], *, captured: bool) -> None:
    """An update of ``arenas`` takes ``norm``: raise :class:`InputError` unless it is theirs, and
    was measured since the last one."""
    if not isinstance(norm, GradientNorm):
        raise InputError(
            f"step: norm is {norm!r}, but must be a GradientNorm; clip by a number with "
            "scale=clip_scale(norm, limit)"
        )
    if norm.arenas != arenas:
        raise InputError(
            "step: this norm is of other parameters' gradients: make it with "
            "GradientNorm(optimizer.arenas) of the optimizer that steps"
        )
    if not norm.fresh and not captured:
        raise InputError(
            "step: this norm was not measured since the last update: call norm.measure() after "
            "backward"
        )
    norm.fresh = False


def _listed(arenas: object) -> list[object]:
    return list(arenas) if isinstance(arenas, Iterable) else [arenas]
