import numpy as np
import pytest

from minigrad import Tensor, grad, ops
from minigrad.testing import run_ranks


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
