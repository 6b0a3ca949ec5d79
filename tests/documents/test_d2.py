"""Article D2: training strategies and optimisation, with formulas and a program."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from updates import close, updated

from minigrad import nn, ops, optim
from minigrad.autograd import Tensor
from minigrad.backend import device_count, to_device, to_numpy
from minigrad.data import DataLoader
from minigrad.distributed.algorithms import WrittenOut
from minigrad.errors import InputError
from minigrad.kernels import kernel
from minigrad.kernels.build import compiler, gpu_binary, host_library
from minigrad.kernels.source import find
from minigrad.shares import share
from minigrad.testing import arrays, run_ranks

PRINTED = """
import numpy as np

def sgd(X, y, theta, eta, n_iters):
    m, n = X.shape
    for _ in range(n_iters):
        gradients = 2/m * X.T.dot(X.dot(theta) - y)
        theta -= eta * gradients
    return theta

X = np.array([[1, 2], [2, 4], [3, 6]])
y = np.array([1, 3, 5])
"""
ETA, STEPS = 0.01, 1000  # D2 §4.1
LEAST_NORM = np.array([11, 22]) / 35  # 0.3142857, 0.6285714
FREE = np.array([2.0, -1.0])  # Xθ does not see this direction
same = np.testing.assert_allclose
rates, betas = st.floats(1e-3, 0.5), st.floats(0, 0.99)


def printed():
    """What D2 §4.1 defines: sgd, X and y."""
    namespace = {}
    exec(PRINTED, namespace)
    return namespace["sgd"], namespace["X"], namespace["y"]


def mse_gradient(X, y, theta):
    """F9, as printed."""
    return 2 / len(X) * X.T.dot(X.dot(theta) - y)


def autograd_gradient(X, y, theta):
    p = nn.Parameter(theta.copy())
    ops.mse(ops.matmul(X, p), y).backward()
    return p.grad


# --- formulas -------------------------------------------------------------------------------------


@pytest.mark.article("F2", code="minigrad.optim.SGD")
@settings(max_examples=20)
@given(arrays((7, 3)), arrays((7, 1)), arrays((3, 1)), st.integers(1, 7), rates)
def test_f2_sgd(X, y, theta, batch_size, eta):
    """θ_{t+1} = θ_t − η∇J(θ_t), with ∇J over a random mini-batch."""
    eta /= 10
    model = nn.Dense(3, 1, rng=np.random.default_rng(0), bias=False, dtype="float64")
    model.weight.data = theta
    optimizer = optim.SGD(model, eta)
    for batch in DataLoader(X, y, batch_size=batch_size).epoch(0):
        optimizer.zero_grad()
        ops.mse(model(Tensor(batch.x)), batch.y).backward()
        optimizer.step()
        theta = theta - eta * mse_gradient(X[batch.rows], y[batch.rows], theta)
        same(model.weight.data, theta, rtol=1e-9, atol=1e-9)


@pytest.mark.article("F2", code="minigrad.ops.mse")
@settings(max_examples=10)
@given(arrays((5, 3)), arrays((5, 1)), arrays((3, 1)), st.integers(1, 5))
def test_f2_mini_batches_have_the_full_gradient_as_mean(X, y, theta, size):
    """∇J over a mini-batch is random; its mean over all batches of this size is the full ∇J."""
    batches = [list(rows) for rows in combinations(range(5), size)]
    found = [autograd_gradient(X[rows], y[rows], theta) for rows in batches]
    close(np.mean(found, axis=0), mse_gradient(X, y, theta))


def heavy_ball(theta, gradients, etas, mu):
    """v ← μv − ηg; θ ← θ + v: textbooks, Keras, Chainer."""
    v = 0.0
    for g, eta in zip(gradients, etas):
        v = mu * v - eta * g
        theta = theta + v
    return theta


def heavy_ball_pytorch(theta, gradients, etas, mu):
    """v ← μv + g; θ ← θ − ηv: PyTorch, apex."""
    v = 0.0
    for g, eta in zip(gradients, etas):
        v = mu * v + g
        theta = theta - eta * v
    return theta


def nesterov(theta, gradients, etas, mu):
    """v ← μv − ηg; θ ← θ + μv − ηg: Keras."""
    v = 0.0
    for g, eta in zip(gradients, etas):
        v = mu * v - eta * g
        theta = theta + mu * v - eta * g
    return theta


def nesterov_pytorch(theta, gradients, etas, mu):
    """v ← μv + g; θ ← θ − η(g + μv): PyTorch."""
    v = 0.0
    for g, eta in zip(gradients, etas):
        v = mu * v + g
        theta = theta - eta * (g + mu * v)
    return theta


CONVENTIONS = {
    "keras": (heavy_ball, {}),
    "keras, nesterov": (nesterov, {"nesterov": True}),
    "pytorch": (heavy_ball_pytorch, {"convention": "pytorch"}),
    "pytorch, nesterov": (nesterov_pytorch, {"convention": "pytorch", "nesterov": True}),
}


@pytest.mark.article("F3", code="minigrad.optim.momentum_step")
@pytest.mark.parametrize("convention", CONVENTIONS)
@given(theta=arrays(3), gradients=arrays((5, 3)), eta=rates, mu=st.floats(0.1, 0.99))
def test_f3_momentum(convention, theta, gradients, eta, mu):
    """v_{t+1} = βv_t − η∇J, then θ ← θ + v (the sign put right); and its other conventions."""
    formula, options = CONVENTIONS[convention]
    schedule = optim.Exponential(eta, 0.5)
    found = updated(lambda p: optim.SGD(p, schedule, momentum=mu, **options), theta, gradients)
    close(found, formula(theta, gradients, eta * 0.5 ** np.arange(5), mu))


@pytest.mark.article("F3", code="minigrad.optim.momentum_step")
@given(arrays(3), arrays((5, 3)), rates, betas)
def test_f3_conventions_agree_while_the_rate_is_constant(theta, gradients, eta, mu):
    """βv − η∇J or βv + ∇J: the same path while η is constant."""
    etas = [eta] * 5
    close(heavy_ball(theta, gradients, etas, mu), heavy_ball_pytorch(theta, gradients, etas, mu))


@pytest.mark.article("F3", code="minigrad.optim.SGD")
@pytest.mark.parametrize(("convention", "step"), [("keras", "0.596"), ("pytorch", "0.069")])
def test_f3_conventions_differ_after_a_change_of_rate(convention, step):
    """βv − η∇J or βv + ∇J: the step at η = 0.01 after ten at 0.1, along a gradient of 1."""

    def after(steps):
        rate = optim.StepDecay(0.1, size=10)
        gradients = np.ones((steps, 1))
        return updated(
            lambda p: optim.SGD(p, rate, momentum=0.9, convention=convention),
            np.zeros(1),
            gradients,
        )

    assert f"{(after(10) - after(11)).item():.3f}" == step


@pytest.mark.article("F3", code="minigrad.optim.SGD")
@given(arrays(3), arrays((4, 3)), rates)
def test_f3_without_momentum_it_is_sgd(theta, gradients, eta):
    """With β = 0, v = −η∇J."""
    found = updated(lambda p: optim.SGD(p, eta, momentum=0.0), theta, gradients)
    close(found, theta - eta * gradients.sum(axis=0))


@pytest.mark.article("F4", code="minigrad.optim.clip_by_value")
@given(arrays((3, 2)), st.floats(0.01, 5))
def test_f4_clipping_by_value(g, epsilon):
    """∇J = clip(∇J, −ε, ε)."""
    found = g.copy()
    optim.clip_by_value(found, epsilon)
    np.testing.assert_array_equal(found, np.clip(g, -epsilon, epsilon))
    p = nn.Parameter(np.zeros((3, 2)))
    optimizer = optim.SGD({"theta": p}, 0.1)
    p.grad = g
    optimizer.step(clip_value=epsilon)
    close(p.data, -0.1 * np.clip(g, -epsilon, epsilon))


@pytest.mark.article("F4", code="minigrad.optim.clip_by_global_norm")
@given(arrays((3, 2)), arrays(4), st.floats(0.01, 20))
def test_f4_clipping_by_global_norm(g, h, c):
    """g·min(1, c/‖g‖), over all parameters at once: never longer than c, never turned."""
    norm = np.sqrt(np.sum(g**2) + np.sum(h**2))
    assume(norm > 0)
    found = [g.copy(), h.copy()]
    same(optim.clip_by_global_norm(found, c), norm, rtol=1e-14)
    for clipped, before in zip(found, (g, h)):
        same(clipped, before * min(1, c / norm), rtol=2e-6 / norm)  # c/(‖g‖ + 1e-6), as PyTorch
        close(clipped, before * min(1, c / (norm + 1e-6)))
    assert np.hypot(*map(np.linalg.norm, found)) <= c * (1 + 1e-12)


@pytest.mark.article("F4", code="minigrad.optim.clip_by_global_norm")
@pytest.mark.parametrize(
    ("bad", "by_the_letter"),
    [(np.nan, [np.nan, np.nan, np.nan]), (np.inf, [0, np.nan, 0])],
    ids=["NaN", "infinity"],
)
def test_f4_one_bad_number_does_not_spread(bad, by_the_letter):
    """g·min(1, c/‖g‖): ‖g‖ = NaN would make every gradient NaN, and ‖g‖ = ∞ make the others 0."""
    g = np.array([3.0, bad, 4.0])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(g * np.minimum(1, 1 / np.linalg.norm(g)), by_the_letter)
    np.testing.assert_array_equal(optim.clip_by_global_norm(g, 1.0), bad)
    np.testing.assert_array_equal(g, [3, bad, 4])


@pytest.mark.article("F5", code="minigrad.optim.Polynomial")
@given(rates, st.integers(1, 1000), st.floats(0.1, 4), st.floats(0, 1))
def test_f5_polynomial_decay(eta_0, T, alpha, part):
    """η_t = η_0(1 − t/T)^α."""
    t = np.floor(part * T)
    same(optim.Polynomial(eta_0, T, alpha)(t), eta_0 * (1 - t / T) ** alpha, rtol=1e-14)


@pytest.mark.article("F5", code="minigrad.optim.Polynomial")
@pytest.mark.parametrize(
    ("alpha", "printed"), [(1, -0.05), (2, 0.025), (0.5, np.nan)], ids=["1", "2", "0.5"]
)
def test_f5_the_step_is_held_to_t(alpha, printed):
    """At t = 3T/2 the formula is negative, has risen again, or is no number; ours stays at 0."""
    with np.errstate(invalid="ignore"):
        same(np.float64(0.1) * (1 - np.float64(150) / 100) ** alpha, printed)
    rate = optim.Polynomial(0.1, 100, alpha)
    assert rate(150) == rate(100) == 0
    assert rate(-1) == rate(0) == 0.1
    assert optim.Polynomial(0.1, 100, alpha, end=1e-4)(150) == 1e-4


@pytest.mark.article("F9", code="minigrad.ops.mse")
@given(arrays((6, 3)), arrays(6), arrays(3))
def test_f9_gradient_of_the_mean_squared_error(X, y, theta):
    """∇ = (2/m)Xᵀ(Xθ − y)."""
    close(autograd_gradient(X, y, theta), 2 / 6 * X.T @ (X @ theta - y))


# --- algorithms -----------------------------------------------------------------------------------


@pytest.mark.article("A13", code="minigrad.distributed.WrittenOut")
@settings(max_examples=15)
@given(ranks=st.integers(1, 5), rows=st.integers(1, 12))
def test_a13_mpi_ranks_sum_around_a_ring(ranks, rows):
    """Parallel computing by MPI: each rank takes some rows, an all-reduce from send and receive
    adds up. The ranks are threads here; tests/distributed/test_mpi.py starts real processes."""
    rng = np.random.default_rng(0)
    X, y, theta = rng.normal(size=(rows, 3)), rng.normal(size=rows), rng.normal(size=3)

    def work(comm):
        start, stop = share(rows, comm.rank, comm.size)
        g = 2 / rows * X[start:stop].T @ (X[start:stop] @ theta - y[start:stop])
        WrittenOut(comm, "ring").all_reduce(g)
        return g

    for g in run_ranks(ranks, work):
        close(g, mse_gradient(X, y, theta))


def bias_relu(rows, columns):
    """What the kernel of this name is given, and max(z + b, 0) in NumPy."""
    rng = np.random.default_rng(0)
    z, b = rng.normal(size=(rows, columns)), rng.normal(size=columns)
    return z, b, np.maximum(z + b, 0)


@pytest.mark.article("A13", code="minigrad.kernels.kernel")
@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a13_openmp_threads_share_a_loop(threads):
    """Parallel computing by OpenMP: any number of threads gives NumPy's numbers, bit for bit. How
    much sooner is not shown here: kernels/README.md has the times."""
    z, b, wanted = bias_relu(700, 200)  # above the size from which threads share the loop
    found = kernel("bias_relu", like=z)
    if found is None:
        pytest.skip("kernels are switched off, or their compiler fails here")
    library = host_library(found.source, "float64")
    if not hasattr(library, "omp_set_num_threads"):
        pytest.skip("the C++ compiler has no OpenMP")
    before = library.omp_get_max_threads()
    library.omp_set_num_threads(threads)
    try:
        assert library.omp_get_max_threads() == threads
        found(z, b, z.size)
    finally:
        library.omp_set_num_threads(before)
    np.testing.assert_array_equal(z, wanted)


WHERE = [
    pytest.param("cpu", marks=pytest.mark.skipif(compiler() is None, reason="needs a compiler")),
    pytest.param(
        "cuda:0",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(device_count() == 0, reason="needs CuPy and a CUDA device"),
        ],
    ),
]


@pytest.mark.article("A13", code="minigrad.kernels.kernel")
@pytest.mark.parametrize("where", WHERE)
def test_a13_cuda_kernel_runs(where):
    """Parallel computing by CUDA: the kernel's one text gives NumPy's numbers on a CPU and on a
    GPU. Where there is no GPU only its form for CPUs is shown here."""
    z, b, wanted = bias_relu(5, 7)
    z, b = to_device(z, where), to_device(b, where)
    found = kernel("bias_relu", like=z)
    if found is None:
        pytest.skip("kernels are switched off, or their compiler fails here")
    found(z, b, z.size)
    np.testing.assert_array_equal(to_numpy(z), wanted)


@pytest.mark.article("A13", code="minigrad.kernels.source.find")
def test_a13_cuda_kernels_text_serves_both():
    """Parallel computing by CUDA: a kernel is written once, and loops are all that differs. What a
    GPU makes of it is not shown here."""
    source = find("bias_relu")
    written = {name: text.count("(bias_relu,") for name, text in source.files.items()}
    assert {name for name, times in written.items() if times} == {"dense.cu"}
    assert written["dense.cu"] == 1
    for loops in ("gpu.cuh", "cpu.cuh"):
        assert "void each(i64 n, F f, T*... p)" in source.files[loops]
    assert "blockIdx" in source.files["gpu.cuh"]
    assert "omp parallel" in source.files["cpu.cuh"]


@pytest.mark.article("A13", code="minigrad.kernels.build.gpu_binary")
def test_a13_cuda_kernel_compiles_without_a_gpu():
    """Parallel computing by CUDA: NVRTC makes the same text into a GPU's program."""
    try:
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
    except Exception as error:  # no CuPy, or CuPy without the library
        pytest.skip(f"needs NVRTC, from the extra 'nvrtc': {type(error).__name__}")
    assert b".text.bias_relu" in gpu_binary(find("bias_relu"), "float64", 90)


# --- errata ---------------------------------------------------------------------------------------


def printed_momentum(theta, beta, eta, gamma):
    """θ after each of 20 steps of D2 §3.2 on θ²/2, as printed."""
    v = 0.0
    for _ in range(20):
        v = beta * v - eta * theta
        theta = theta - gamma * v
        yield theta


@pytest.mark.article("E1", "F3", code="minigrad.optim.SGD")
def test_e1_momentum_as_printed_climbs():
    """θ ← θ − γv with v = βv − η∇J: on θ²/2, from θ = 1, twenty steps lead to 2.637."""
    *_, last = printed_momentum(1.0, 0.9, 0.1, 0.1)
    assert f"{last:.3f}" == "2.637"
    p = nn.Parameter(np.ones(1))
    optimizer = optim.SGD({"theta": p}, 0.1, momentum=0.9)
    path = []
    for _ in range(200):
        p.grad = p.data
        optimizer.step()
        path.append(p.item())
    assert f"{path[19]:.3f}" == "0.345"
    assert abs(path[-1]) < 1e-3


@pytest.mark.article("E1")
@given(betas, rates, rates)
def test_e1_it_climbs_whatever_the_settings(beta, eta, gamma):
    """θ ← θ − γv: every step leads away from the minimum, for any β, η and γ."""
    path = [1.0, *printed_momentum(1.0, beta, eta, gamma)]
    assert np.all(np.diff(path) > 0)


@pytest.mark.article("E1", code="minigrad.optim.momentum_step")
@given(arrays(3), arrays((5, 3)), betas, rates, rates)
def test_e1_two_learning_rates_are_one(theta, gradients, beta, eta, gamma):
    """η and γ are both called the learning rate: with θ ← θ + γv their product acts alone."""
    found, v = theta, 0.0
    for g in gradients:
        v = beta * v - eta * g
        found = found + gamma * v
    close(found, heavy_ball(theta, gradients, [eta * gamma] * 5, beta))
    close(found, updated(lambda p: optim.SGD(p, eta * gamma, momentum=beta), theta, gradients))


def deep(activation):
    """20 layers, the gradient of the first one's weights, and that of the last one's."""
    rng = np.random.default_rng(0)
    dense = [nn.Dense(16, 16, rng=rng, dtype="float64") for _ in range(20)]
    model = nn.Sequential(*(part for layer in dense for part in (layer, activation())))
    ops.mse(model(Tensor(rng.normal(size=(32, 16)))), np.ones((32, 16))).backward()
    return dense[0].weight.grad, dense[-1].weight.grad


@pytest.mark.article("E2", code="minigrad.optim.clip_by_value")
@pytest.mark.parametrize("clip", [optim.clip_by_value, optim.clip_by_global_norm])
def test_e2_clipping_lets_vanished_gradients_pass(clip):
    """Clipping "avoids exploding and vanishing gradients": after 20 sigmoids 6.5e-15 is left, and
    clipping leaves that. What helps is another activation."""
    first, last = deep(nn.Sigmoid)
    assert f"{np.linalg.norm(first):.1e}" == "6.5e-15"
    before = first.copy()
    clip([first, last], 1.0)
    np.testing.assert_array_equal(first, before)
    assert np.linalg.norm(deep(nn.LeakyReLU)[0]) > 1e-4


@pytest.mark.article("E2", "F4", code="minigrad.optim.clip_by_global_norm")
@given(arrays(4), st.floats(0.1, 2))
def test_e2_clipping_bounds_from_above_only(g, epsilon):
    """clip(∇J, −ε, ε) makes nothing larger, and what lies within ±ε passes as it is."""
    for clip in (optim.clip_by_value, optim.clip_by_global_norm):
        clipped, small = g.copy(), 1e-9 * g
        clip(clipped, epsilon)
        assert np.all(np.abs(clipped) <= np.abs(g))
        clip(small, epsilon)
        np.testing.assert_array_equal(small, 1e-9 * g)


@pytest.mark.article("E2", "F4", code="minigrad.optim.clip_by_global_norm")
def test_e2_clipping_by_value_turns_the_gradient():
    """clip(∇J, −ε, ε): (10, 1) becomes (1, 1), 39 degrees away; by norm it keeps its direction."""

    def turned(clip):
        g, clipped = np.array([10.0, 1.0]), np.array([10.0, 1.0])
        clip(clipped, 1.0)
        cosine = g @ clipped / np.linalg.norm(g) / np.linalg.norm(clipped)
        return np.degrees(np.arccos(min(cosine, 1)))

    assert f"{turned(optim.clip_by_value):.0f}" == "39"
    assert turned(optim.clip_by_global_norm) < 1e-5


@pytest.mark.article("E3", code="minigrad.optim.Polynomial")
def test_e3_decay_leaves_vanished_gradients():
    """Decay "avoids vanishing gradients": the first of 20 layers moves by 6.5e-16 at η₀ = 0.1, and
    by less with decay."""
    first, last = deep(nn.Sigmoid)
    moved = []
    for rate in (0.1, optim.Polynomial(0.1, 100, 2)):
        found = updated(lambda p, rate=rate: optim.SGD(p, rate), np.zeros((16, 16)), [first] * 50)
        moved.append(np.linalg.norm(found) / 50)
    assert f"{moved[0]:.1e}" == "6.5e-16"
    assert moved[1] < 0.6 * moved[0]
    again, _ = deep(nn.Sigmoid)
    np.testing.assert_array_equal(first, again)  # no rate is in a gradient
    assert np.linalg.norm(first) < 1e-13 * np.linalg.norm(last)


@pytest.mark.article("E3", "F5", code="minigrad.optim.Polynomial")
@given(rates, st.integers(1, 1000), st.floats(0.1, 4), st.floats(0, 1))
def test_e3_decay_never_enlarges_a_step(eta_0, T, alpha, part):
    """η_t = η_0(1 − t/T)^α ≤ η_0: no step is made larger than without decay."""
    assert 0 <= optim.Polynomial(eta_0, T, alpha)(part * T) <= eta_0


@pytest.mark.article("E3", "F5", code="minigrad.optim.Polynomial")
@given(rates, st.integers(2, 1000), st.floats(0.1, 4), st.floats(0, 0.99))
def test_e3_alpha_is_an_exponent(eta_0, T, alpha, part):
    """α is called the rate of decay: doubled, it squares η_t/η_0, and the end stays at T. A rate of
    decay, as in η_0(1 − decay·t), brings the end to T/2."""
    one, two = (optim.Polynomial(eta_0, T, a) for a in (alpha, 2 * alpha))
    t = part * T
    same(two(t) / eta_0, (one(t) / eta_0) ** 2, rtol=1e-9)
    assert one(T) == two(T) == 0
    close([optim.Linear(eta_0, d / T)(T / 2) for d in (1, 2)], [eta_0 / 2, 0])


@pytest.mark.article("E4", "C2", code="minigrad.data.DataLoader")
def test_e4_the_program_uses_every_row():
    """The code is called a simple SGD, but each step takes all rows, and nothing is random."""
    sgd, X, y = printed()
    theta = np.array([0.5, -0.5])
    once = sgd(X, y, theta.copy(), ETA, 1)
    close(once, theta - ETA * mse_gradient(X, y, theta))
    state = np.random.get_state()[1].copy()
    for rows in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        close(sgd(X[rows], y[rows], theta.copy(), ETA, STEPS), sgd(X, y, theta.copy(), ETA, STEPS))
    np.testing.assert_array_equal(np.random.get_state()[1], state)

    model = nn.Dense(2, 1, rng=np.random.default_rng(0), bias=False, dtype="float64")
    optimizer = optim.SGD(model, ETA)
    data = DataLoader(X.astype(float), y[:, None].astype(float), batch_size=1)

    def first_step(epoch):
        model.weight.data = theta[:, None]
        batch = next(data.epoch(epoch))
        optimizer.zero_grad()
        ops.mse(model(Tensor(batch.x)), batch.y).backward()
        optimizer.step()
        row = batch.rows[0]
        close(model.weight.data[:, 0], theta - ETA * 2 * X[row] * (X[row] @ theta - y[row]))
        return row, model.weight.data[:, 0].copy()

    steps = dict(first_step(epoch) for epoch in range(20))
    assert sorted(steps) == [0, 1, 2]  # a random row, and on average the printed step
    close(np.mean(list(steps.values()), axis=0), once)


@pytest.mark.article("E4", "C2", code="minigrad.optim.SGD")
def test_e4_the_library_on_all_rows_is_the_program():
    """theta = sgd(X, y, np.zeros(2), 0.01, 1000): gradient descent, F1 with F9."""
    sgd, X, y = printed()
    p = nn.Parameter(np.zeros(2))
    optimizer = optim.SGD({"theta": p}, ETA)
    for _ in range(STEPS):
        optimizer.zero_grad()
        ops.mse(ops.matmul(X.astype(float), p), y.astype(float)).backward()
        optimizer.step()
    same(p.data, sgd(X, y, np.zeros(2), ETA, STEPS), rtol=1e-12)


@pytest.mark.article("E5", "C2")
def test_e5_the_data_have_rank_1():
    """X = [[1, 2], [2, 4], [3, 6]]: the program finds (0.3142857, 0.6285714), the solution of least
    norm, with a loss of 1/7; infinitely many others are as good."""
    sgd, X, y = printed()
    assert np.linalg.matrix_rank(X) == 1
    found = sgd(X, y, np.zeros(2), ETA, STEPS)
    assert [f"{value:.7f}" for value in found] == ["0.3142857", "0.6285714"]
    close(found, LEAST_NORM)
    close(found, np.linalg.pinv(X) @ y)
    for solution in (found, found + FREE, found - 10 * FREE):
        close(np.mean((X @ solution - y) ** 2), 1 / 7)


@pytest.mark.article("E5", "C2", code="minigrad.optim.l2_penalty")
@settings(max_examples=10)
@given(arrays(2))
def test_e5_the_answer_depends_on_the_start(start):
    """Whatever of θ lies along (2, −1) stays, as the program never sees it; with an L2 term λ the
    answer is one: (2/m·XᵀX + λI)⁻¹ 2/m·Xᵀy."""
    sgd, X, y = printed()
    kept = start @ FREE / 5 * FREE
    close(sgd(X, y, start.copy(), ETA, STEPS), LEAST_NORM + kept)

    p = nn.Parameter(start[:, None].copy())
    optimizer = optim.SGD({"theta": p}, 0.02, l2=10.0)
    for _ in range(150):
        p.grad = mse_gradient(X, y[:, None], p.data)
        optimizer.step()
    close(p.data[:, 0], np.linalg.solve(2 / 3 * X.T @ X + 10 * np.eye(2), 2 / 3 * X.T @ y))


@pytest.mark.article("E5", "C2")
def test_e5_the_largest_stable_rate():
    """η = 0.01 lies below 2/λ = 0.042857, with λ = 140/3 the curvature; above it θ diverges."""
    sgd, X, y = printed()
    limit = 2 / np.linalg.eigvalsh(2 / 3 * X.T @ X)[-1]
    assert f"{limit:.6f}" == "0.042857"
    same(sgd(X, y, np.zeros(2), 0.999 * limit, 20_000), LEAST_NORM, rtol=1e-9)
    assert np.linalg.norm(sgd(X, y, np.zeros(2), 1.001 * limit, 20_000)) > 1e6


@pytest.mark.article("E5", "C2", code="minigrad.nn.Parameter")
def test_e5_integers_are_refused():
    """theta -= eta * gradients raises where θ holds integers; ours says what to do before."""
    sgd, X, y = printed()
    with pytest.raises(TypeError, match="Cannot cast ufunc 'subtract' output"):
        sgd(X, y, np.zeros(2, int), ETA, 1)
    with pytest.raises(InputError, match=r"dtype int64 .*astype\('float32'\) first"):
        nn.Parameter(np.zeros(2, np.int64))
