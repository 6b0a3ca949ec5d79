"""A training step as one CUDA graph: launched in one go, without Python between its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.backend import device_of, module_for
from minigrad.errors import InputError
from minigrad.optim import Optimizer

__all__ = ["cuda_graph"]


def cuda_graph(
    step: Callable[[], Any], *optimizers: Optimizer, warmup: int = 3
) -> Callable[[], Any]:
    """Capture ``step`` on the GPU; calling what comes back replays it, and returns its result.

    ``step`` takes nothing, and reads its batch from arrays that stay: copy each new batch into
    them (``x.data[...] = batch``). What it returns are the same Tensors each time, with new
    numbers in them. It must not read a number back (``item``, ``print``, an optimizer's ``scale``
    from a float norm: use :class:`minigrad.optim.GradientNorm`), draw random numbers on the host
    or take other ways from call to call. ``optimizers`` are those that step within it: their
    learning rates and bias corrections are made anew for each replay.

    ``step`` is run ``warmup`` times, as training steps that count; capturing runs nothing. Raises
    :class:`InputError` where parameters are on a CPU.
    """
    devices = {device_of(arena.data) for o in optimizers for arena in o.arenas}
    if len(devices) != 1 or "cpu" in devices:
        raise InputError(
            f"cuda_graph captures the work of one GPU, but was given optimizers on "
            f"{' and '.join(sorted(devices)) or 'no device'}; move the model with .to('cuda:0'), "
            "or call the step itself"
        )
    cuda = module_for("cuda").cuda
    pool = cuda.MemoryPool()  # the graph's arrays live here, and nobody else is given their memory
    stream, current = cuda.Stream(non_blocking=True), cuda.get_current_stream()
    stream.wait_event(current.record())
    with cuda.using_allocator(pool.malloc), stream:
        for _ in range(max(1, warmup)):
            step()
        for optimizer in optimizers:
            optimizer.captured = {}
        stream.begin_capture()
        try:
            result = step()
        finally:
            graph = stream.end_capture()
            numbers = [(optimizer, optimizer.captured or {}) for optimizer in optimizers]
            for optimizer in optimizers:
                optimizer.captured = None
    current.wait_event(stream.record())

    def replay(_pool: Any = pool) -> Any:
        for optimizer, given in numbers:
            optimizer.advance(**given)
            for arena in optimizer.arenas:
                arena.touch()
        graph.launch()
        return result

    return replay
