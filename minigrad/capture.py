"""A training step as one CUDA graph: launched in one go, without Python between its kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.backend import device_of, module_for
from minigrad.errors import InputError
from minigrad.kernels.matmul import for_capture
from minigrad.optim import Optimizer

__all__ = ["cuda_graph"]


def cuda_graph(
    step: Callable[[], Any], *optimizers: Optimizer, warmup: int = 3
) -> Callable[[], Any]:
    """Capture ``step`` on the GPU; calling what comes back replays it, and returns its result.

    ``step`` takes nothing, and reads its batch from Tensors that stay: ``x.data = batch`` copies
    a new one into them. What it returns are the same Tensors each time, with new
    numbers in them. It must not read a number back (``item``, ``print``, an optimizer's ``scale``
    from a float norm: use :class:`minigrad.optim.GradientNorm`), draw random numbers on the host
    or take other ways from call to call. ``optimizers`` are those that step within it, each once:
    their learning rates and bias corrections are made anew for each replay.

    Within it, products are those of kernels/matmul.cu, since CuPy refuses to capture cuBLAS: of
    float32 or float64, (…, k) by (k, n), and the sums in them are added in another order.

    ``step`` is run ``warmup`` times, once at least, as training steps that count; capturing runs
    nothing. Raises :class:`InputError` where parameters are on a CPU or an optimizer runs no
    kernels, and for what cannot be captured.
    """
    optimizers = tuple(dict.fromkeys(optimizers))
    device = _checked(optimizers, warmup)
    cuda = module_for(device).cuda
    place = cuda.Device(int(device.partition(":")[2]))
    with place:
        pool = cuda.MemoryPool()  # the graph's arrays live here, and nobody else is given them
        stream, current = cuda.Stream(non_blocking=True), cuda.get_current_stream()
        stream.wait_event(current.record())
        try:
            with cuda.using_allocator(pool.malloc), stream, for_capture():
                for _ in range(warmup):
                    _warm_up(step, optimizers)
                graph, result, numbers = _capture(step, optimizers, stream)
        finally:
            current.wait_event(stream.record())

    def replay(_keep: Any = (pool, stream)) -> Any:
        with place:
            for optimizer, given in zip(optimizers, numbers):
                optimizer.advance(**given)
                for arena in optimizer.arenas:
                    arena.touch()
            graph.launch()
        return result

    return replay


def _checked(optimizers: Sequence[Optimizer], warmup: int) -> str:
    """The one device of all parameters."""
    devices = {device_of(arena.data) for o in optimizers for arena in o.arenas}
    if len(devices) != 1 or "cpu" in devices:
        raise InputError(
            f"cuda_graph captures the work of one GPU, but was given optimizers on "
            f"{' and '.join(sorted(devices)) or 'no device'}; move the model with .to('cuda:0'), "
            "or call the step itself"
        )
    for optimizer in optimizers:
        if optimizer.form != "compiled":
            raise InputError(
                f"cuda_graph: {type(optimizer).__name__} does not update by kernels alone, and "
                "other updates would use the same numbers in every replay; leave out form=…, and "
                "have parameters in float32 or float64"
            )
    if warmup < 1:
        raise InputError(f"cuda_graph: warmup is {warmup}, but must be 1 or more")
    return devices.pop()


def _warm_up(step: Callable[[], Any], optimizers: Sequence[Optimizer]) -> None:
    before = [optimizer.steps for optimizer in optimizers]
    step()
    for optimizer, steps in zip(optimizers, before):
        if optimizer.steps != steps + 1:
            raise InputError(
                f"cuda_graph: step made {optimizer.steps - steps} updates with "
                f"{type(optimizer).__name__}, but a replay brings the numbers of just one; give "
                "it the optimizers that step in it once"
            )


def _capture(
    step: Callable[[], Any], optimizers: Sequence[Optimizer], stream: Any
) -> tuple[Any, Any, list[dict[str, Any]]]:
    """The graph, what ``step`` returned, and what each optimizer's step was given."""
    try:
        for optimizer in optimizers:
            optimizer.captured = {}
        stream.begin_capture()
        try:
            result = step()
        except BaseException:
            with contextlib.suppress(RuntimeError):  # there is no graph, and the first error counts
                stream.end_capture()
            raise
        graph = stream.end_capture()
        return graph, result, [optimizer.captured or {} for optimizer in optimizers]
    except RuntimeError as error:  # CuPy's errors, and NotImplementedError, are of its kind
        raise InputError(
            f"cuda_graph: step does what cannot be captured ({error}): reading a number back, "
            "taking data from the host, or calling cuBLAS other than by ops.dense and ops.matmul "
            "(ops.einsum, say)"
        ) from error
    finally:
        for optimizer in optimizers:
            optimizer.captured = None
