"""A stand-in for cupy.cuda: streams and graphs without a GPU.

It captures as CUDA does: what is launched on a capturing stream does not run, and runs at each
replay with the arguments that it was bound to.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

__all__ = ["CUDA", "CUDAError", "Stream"]


class CUDAError(RuntimeError):
    """As CuPy's CUDARuntimeError."""


class Stream:
    """A stream whose work is done at once, but for what it captures."""

    def __init__(self, cuda):
        self.cuda = cuda
        self.captured = None
        self.invalid = False

    def __enter__(self):
        self.cuda.streams.append(self)

    def __exit__(self, *_):
        self.cuda.streams.pop()

    def record(self):
        assert self.captured is None
        return object()

    def wait_event(self, event):
        self.cuda.waits.append(self)

    def begin_capture(self):
        self.captured = []

    def end_capture(self):
        launches, self.captured = self.captured, None
        if self.invalid:
            raise CUDAError("cudaErrorStreamCaptureInvalidated")
        return SimpleNamespace(launch=lambda: [launch() for launch in launches])


class CUDA:
    """cupy.cuda, as far as cuda_graph uses it."""

    runtime = SimpleNamespace(CUDARuntimeError=CUDAError)
    MemoryPool = staticmethod(lambda: SimpleNamespace(malloc="malloc"))
    Device = staticmethod(lambda index: contextlib.nullcontext())

    def __init__(self):
        self.streams = [Stream(self)]
        self.waits = []
        self.allocators = []

    def Stream(self, non_blocking):  # noqa: N802
        assert non_blocking
        return Stream(self)

    def get_current_stream(self):
        return self.streams[-1]

    @contextlib.contextmanager
    def using_allocator(self, malloc):
        self.allocators.append(malloc)
        yield
        self.allocators.append(None)

    def launch(self, work):
        """A kernel that does ``work``."""
        captured = self.streams[-1].captured
        if captured is None:
            work()
        else:
            captured.append(work)
