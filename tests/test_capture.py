"""cuda_graph: its logic with a stand-in for CuPy's streams, and the real thing on a GPU.

What the stand-in's streams are given are the launches of the CPU's kernels.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from streams import CUDA, CUDAError, Stream

import minigrad as mg
from minigrad import nn, ops, optim
from minigrad.backend import device_count
from minigrad.capture import cuda_graph
from minigrad.kernels.build import compiler
from minigrad.kernels.launch import CPUKernel
from minigrad.kernels.matmul import capturing

on_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a CUDA device"),
]


@pytest.fixture
def cuda(monkeypatch):
    """The stand-in; the CPU's kernels launch on its streams, and arrays live on cuda:0."""
    if compiler() is None:
        pytest.skip("needs a C++ compiler")
    made = CUDA()
    bind = CPUKernel.bind

    def bound(self, *arguments, **options):
        run = bind(self, *arguments, **options)
        return lambda: made.launch(run)

    monkeypatch.setattr(CPUKernel, "bind", bound)
    monkeypatch.setattr("minigrad.capture.module_for", lambda device: SimpleNamespace(cuda=made))
    monkeypatch.setattr("minigrad.capture.device_of", lambda array: "cuda:0")
    return made


class Run:
    """A model, its optimizer, a batch that stays, and a step on them."""

    def __init__(self, cuda, make, **options):
        rng = np.random.default_rng(0)
        self.cuda, self.options = cuda, options
        self.model = nn.Sequential(nn.Dense(5, 4, rng=rng), nn.Tanh(), nn.Dense(4, 3, rng=rng))
        self.optimizer = make(self.model)
        self.norm = optim.GradientNorm(self.optimizer.arenas, 0.1)
        self.x = mg.Tensor(np.zeros((8, 5), np.float32))
        self.labels = mg.Tensor(np.zeros(8, np.int64))
        self.loss = mg.Tensor(np.zeros((), np.float32))

    def _gradient(self):
        self.optimizer.zero_grad()
        loss = ops.cross_entropy(self.model(self.x), self.labels)
        loss.backward()
        self.loss.data[...] = loss.data

    def step(self):
        self.cuda.launch(self._gradient)
        self.optimizer.step(norm=self.norm.measure(), **self.options)
        return self.loss

    def batch(self, i):
        rng = np.random.default_rng(i)
        self.x.data[...] = rng.normal(size=(8, 5))
        self.labels.data[...] = rng.integers(0, 3, 8)

    @property
    def theta(self):
        return np.concatenate([arena.data for arena in self.optimizer.arenas])


OPTIMIZERS = {
    "adam, its bias corrections": lambda model: optim.Adam(model, 0.01),
    "a schedule": lambda model: optim.AdamW(
        model, lambda t: 0.01 / (1 + t), groups={"biases": {"match": "*bias", "lr": 0.1}}
    ),
    "three launches": lambda model: optim.LAMB(model, lambda t: 0.1 * 0.5**t),
    "momentum": lambda model: optim.SGD(model, 0.1, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("options", [{}, {"zero_grad": True}, {"scale": 0.5, "clip_value": 0.01}])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_replays_are_steps(cuda, make, options):
    plain, graphed = Run(cuda, make, **options), Run(cuda, make, **options)
    for run in (plain, graphed):
        run.batch(0)
    replay = cuda_graph(graphed.step, graphed.optimizer, warmup=2)
    for _ in range(2):
        plain.step()
    np.testing.assert_array_equal(graphed.theta, plain.theta)  # capturing itself moved nothing
    assert graphed.optimizer.steps == 2
    versions = [arena.version.count for arena in graphed.optimizer.arenas]
    for i in range(5):
        for run in (plain, graphed):
            run.batch(i)
        plain.step()
        assert replay() is graphed.loss
        np.testing.assert_array_equal(graphed.theta, plain.theta)
        assert graphed.loss.item() == plain.loss.item()
        assert graphed.optimizer.steps == plain.optimizer.steps == 3 + i
    state, expected = (run.optimizer.state_dict() for run in (graphed, plain))
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value)
    rises = [a.version.count - v for a, v in zip(graphed.optimizer.arenas, versions)]
    assert all(rise >= 5 for rise in rises)


def adam(model):
    return optim.Adam(model, 0.01)


def test_a_new_learning_rate_holds_from_the_next_replay_on(cuda):
    plain, graphed = Run(cuda, adam), Run(cuda, adam)
    replay = cuda_graph(graphed.step, graphed.optimizer, warmup=1)
    plain.step()
    for lr in (0.01, 0.5, 0.002):
        plain.optimizer.lr = graphed.optimizer.lr = lr
        plain.step()
        replay()
        np.testing.assert_array_equal(graphed.theta, plain.theta)


def test_plain_steps_and_replays_take_turns(cuda):
    plain, graphed = Run(cuda, adam), Run(cuda, adam)
    replay = cuda_graph(graphed.step, graphed.optimizer, warmup=1)
    for step in (replay, graphed.step, replay, graphed.step):
        step()
    for _ in range(5):
        plain.step()
    np.testing.assert_array_equal(graphed.theta, plain.theta)


def test_two_optimizers_in_one_step(cuda):
    plain, graphed = ([Run(cuda, adam), Run(cuda, OPTIMIZERS["momentum"])] for _ in range(2))
    replay = cuda_graph(
        lambda: [run.step() for run in graphed], *(run.optimizer for run in graphed), warmup=1
    )
    for run in plain:
        run.step()
        run.step()
    replay()
    for one, other in zip(graphed, plain):
        np.testing.assert_array_equal(one.theta, other.theta)


def test_a_graph_from_before_a_replay_is_stale(cuda):
    run = Run(cuda, adam)
    replay = cuda_graph(run.step, run.optimizer)
    loss = ops.sum(ops.square(run.model(mg.Tensor(np.ones((2, 5), np.float32)))))
    replay()
    with pytest.raises(mg.InputError, match="overwritten since"):
        loss.backward()


def test_all_runs_on_a_stream_and_in_memory_of_its_own(cuda):
    run, seen = Run(cuda, adam), []

    def step():
        seen.append((cuda.get_current_stream(), cuda.allocators[-1], capturing()))
        return run.step()

    first = cuda.get_current_stream()
    replay = cuda_graph(step, run.optimizer, warmup=2)
    own = seen[0][0]
    assert seen == [(own, "malloc", True)] * 3
    assert cuda.waits == [own, first]  # each for what the other did before
    assert (cuda.get_current_stream(), cuda.allocators[-1], capturing()) == (first, None, False)
    replay()
    assert len(seen) == 3


@pytest.mark.parametrize("calls", [1, 2])  # in the warm-up, and while capturing
@pytest.mark.parametrize("invalid", [False, True])
def test_after_an_error_in_the_step_all_is_as_before(cuda, calls, invalid):
    plain, run = Run(cuda, adam), Run(cuda, adam)
    left = [calls]

    def step():
        left[0] -= 1
        if not left[0]:
            cuda.get_current_stream().invalid = invalid
            raise ZeroDivisionError
        run.step()

    first = cuda.get_current_stream()
    with pytest.raises(ZeroDivisionError):
        cuda_graph(step, run.optimizer, warmup=1)
    assert run.optimizer.captured is None
    assert not capturing()
    assert cuda.get_current_stream() is first
    assert cuda.waits[-1] is first
    for _ in range(calls - 1):
        plain.step()
    plain.step()
    run.step()
    np.testing.assert_array_equal(run.theta, plain.theta)
    assert run.optimizer.steps == plain.optimizer.steps


@pytest.mark.parametrize(
    "error", [CUDAError("operation not permitted"), NotImplementedError("calling cuBLAS API")]
)
def test_what_cupy_refuses_is_said_in_a_sentence(cuda, error):
    run = Run(cuda, adam)

    def step():
        if cuda.get_current_stream().captured is not None:
            cuda.get_current_stream().invalid = True
            raise error
        run.step()

    with pytest.raises(mg.InputError, match=rf"cannot be captured .{error}.*einsum") as caught:
        cuda_graph(step, run.optimizer)
    assert caught.value.__cause__ is error
    assert run.optimizer.captured is None


def test_a_capture_that_fails_at_its_end_is_an_error(cuda):
    run = Run(cuda, adam)

    def step():
        stream = cuda.get_current_stream()
        stream.invalid = stream.captured is not None
        run.step()

    with pytest.raises(mg.InputError, match="Invalidated"):
        cuda_graph(step, run.optimizer)
    assert run.optimizer.captured is None


@pytest.mark.parametrize("updates", [0, 2])
def test_a_step_updates_once(cuda, updates):
    run = Run(cuda, adam)
    with pytest.raises(mg.InputError, match=f"step made {updates} updates with Adam"):
        cuda_graph(lambda: [run.step() for _ in range(updates)], run.optimizer)


@pytest.mark.parametrize("form", ["in_place", "formula"])
def test_updates_by_kernels_alone(cuda, form):
    run = Run(cuda, lambda model: optim.Adam(model, 0.01, form=form))
    with pytest.raises(mg.InputError, match=r"Adam does not update by kernels.*form"):
        cuda_graph(run.step, run.optimizer)


def test_warmup_is_at_least_one(cuda):
    run = Run(cuda, adam)
    with pytest.raises(mg.InputError, match="warmup is 0"):
        cuda_graph(run.step, run.optimizer, warmup=0)


def test_a_cpu_has_no_graphs():
    model = nn.Dense(2, 2, rng=np.random.default_rng(0))
    with pytest.raises(mg.InputError, match=r"optimizers on cpu; move the model with \.to"):
        mg.cuda_graph(lambda: None, optim.Adam(model, 0.1))
    with pytest.raises(mg.InputError, match="optimizers on no device"):
        mg.cuda_graph(lambda: None)


def test_the_stand_in_is_like_cupy(cuda):
    """As far as can be seen without a GPU: all that is used is there."""
    real = pytest.importorskip("cupy").cuda
    used = ("MemoryPool", "Device", "Stream", "get_current_stream", "using_allocator", "runtime")
    methods = ("record", "wait_event", "begin_capture", "end_capture", "__enter__", "__exit__")
    for module in (real, cuda):
        assert all(hasattr(module, name) for name in used)
        assert issubclass(module.runtime.CUDARuntimeError, RuntimeError)
    for stream in (real.Stream, Stream):
        assert all(hasattr(stream, name) for name in methods)
    assert hasattr(real.MemoryPool, "malloc")
    assert hasattr(real.Graph, "launch")


class OnGPU:
    """Sequential, cross-entropy, AdamW with a schedule and a clipped norm, float32."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.model = nn.Sequential(
            nn.Dense(784, 128, rng=rng, activation="relu"),
            nn.LayerNorm(128),
            nn.Dense(128, 64, rng=rng, activation="gelu"),
            nn.Dense(64, 64, rng=rng),
            nn.ReLU(),
            nn.Dense(64, 10, rng=rng),
        ).to("cuda:0")
        self.optimizer = optim.AdamW(self.model, lambda t: 1e-3 / (1 + 0.1 * t))
        self.norm = optim.GradientNorm(self.optimizer.arenas, 1.0)
        self.x = mg.Tensor(np.zeros((32, 784), np.float32), device="cuda:0")
        self.labels = mg.Tensor(np.zeros(32, np.int64), device="cuda:0")

    def step(self):
        loss = ops.cross_entropy(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step(norm=self.norm.measure(), zero_grad=True)
        return loss

    def losses(self, step, batches):
        found = []
        for i in batches:
            rng = np.random.default_rng(i)
            labels = rng.integers(0, 10, 32)
            x = rng.normal(size=(32, 784)) + np.eye(10, 784)[labels]
            self.x.data = x.astype(np.float32)
            self.labels.data = labels
            found.append(step().item())
        return found


@pytest.mark.parametrize("where", [pytest.param("gpu", marks=on_gpu)])
def test_captured_steps_train_as_others_do(where):
    plain, graphed = OnGPU(), OnGPU()
    expected = plain.losses(plain.step, [0, 0, 0, *range(50)])
    graphed.losses(lambda: mg.Tensor(0.0), [0])  # a first batch for the warm-up
    replay = cuda_graph(graphed.step, graphed.optimizer, warmup=3)
    np.testing.assert_allclose(graphed.losses(replay, range(50)), expected[3:], atol=1e-5)
    assert graphed.optimizer.steps == 53
    assert graphed.norm.value == pytest.approx(plain.norm.value, rel=1e-3)


@pytest.mark.parametrize("where", [pytest.param("gpu", marks=on_gpu)])
def test_reading_a_number_back_cannot_be_captured(where):
    run = OnGPU()
    with pytest.raises(mg.InputError, match="cannot be captured"):
        cuda_graph(lambda: run.step().item(), run.optimizer)
    run.step()
    assert run.optimizer.captured is None
