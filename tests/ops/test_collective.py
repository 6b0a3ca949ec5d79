import numpy as np
import pytest

from minigrad import Tensor, grad, ops
from minigrad.errors import InputError
from minigrad.testing import check_grads, run_ranks


@pytest.mark.parametrize("n", [1, 2, 3])
def test_all_reduce_adds_up_and_so_do_its_gradients(n):
    def rank(comm):
        x = Tensor(np.array([1.0, 2.0]) * (comm.rank + 1), requires_grad=True)
        y = ops.all_reduce(x, comm)
        loss = (y**3 * (comm.rank + 1)).sum()  # the job's loss is the sum of these
        (g,) = grad(loss, x, create_graph=True)
        (second,) = grad((g * x).sum(), x)
        return x.data, y.data, g.data, second.data

    total = np.array([1.0, 2.0]) * n * (n + 1) / 2
    shares = n * (n + 1) / 2
    for x, y, g, second in run_ranks(n, rank):
        np.testing.assert_array_equal(y, total)
        np.testing.assert_allclose(g, 3 * total**2 * shares)
        # d/dx_r of Σ_q g·x_q is g + shares · 6 · total · Σ_q x_q
        np.testing.assert_allclose(second, g + shares * 6 * total * total)
        np.testing.assert_array_equal(x / x[0], [1, 2])


def _copied(x, comm):
    return ops.reduce_from_ranks(ops.copy_to_ranks(x, comm) ** 3 * (comm.rank + 1), comm)


def _scattered(axis):
    def f(x, comm):
        part = ops.scatter_to_ranks(x, comm, axis) ** 3 * (comm.rank + 1)
        return ops.gather_from_ranks(part, comm, axis)

    return f


def _factors(n, axis):
    """Each rank's factor at its own part of ``axis``, of length 12."""
    factors = np.repeat(np.arange(1.0, n + 1), 12 // n)
    return factors.reshape([12 if axis % 3 == k else 1 for k in range(3)])


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_conjugate_pairs_carry_gradients_of_every_order(n, axis):
    """All ranks have the same x and the same result, so each rank's own differences must agree
    with its own backward."""
    shape = [12 if axis is not None and axis % 3 == k else 2 for k in range(3)]
    x = np.random.default_rng(n).uniform(0.5, 1.5, shape)
    f = _copied if axis is None else _scattered(axis)
    factors = n * (n + 1) / 2 if axis is None else _factors(n, axis)

    def rank(comm):
        check_grads(lambda x: f(x, comm), x, order=3)
        return f(Tensor(x), comm).data

    for y in run_ranks(n, rank):
        np.testing.assert_allclose(y, x**3 * factors, rtol=1e-15)


@pytest.mark.parametrize(
    ("f", "axis", "said"),
    [
        (ops.scatter_to_ranks, 1, "axis 1 of shape .2, 3. does not divide .* 2 ranks"),
        (ops.scatter_to_ranks, 2, "axis 2 is out of bounds"),
        (ops.gather_from_ranks, -3, "axis -3 is out of bounds"),
    ],
)
def test_axes_that_cannot_be_divided(f, axis, said):
    with pytest.raises(InputError, match=said):
        run_ranks(2, lambda comm: f(Tensor(np.ones((2, 3))), comm, axis))
