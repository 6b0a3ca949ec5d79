"""C2, article D2 §4.1: ``sgd`` in NumPy, on three rows of two features.

Articles: C2, F9, E4, E5

A comment that begins with ">" is a line of the article; all of them are here, in its order, and
below each stands what it is in minigrad: the gradient comes from the loss, not from a formula
worked out by hand. Lines without one above them are ours: the losses for the curve, and a row a
step where that is asked for. The program runs as printed, but two things are not as the article
says:

- E4: called stochastic, it takes every row in each step. ``rng`` draws a row a step instead.
- E5: the second feature is twice the first, so that a whole line of θ has the least loss, and
  which of them comes out depends on the first θ. A first θ of integers raises.

    python tutorials/articles/c2.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

# > import numpy as np
import numpy as np

import minigrad as mg
from minigrad import ops
from minigrad.errors import InputError
from minigrad.plot import lines


# > def sgd(X, y, theta, eta, n_iters):
def sgd(X, y, theta, eta, n_iters, rng=None):
    """θ after ``n_iters`` steps, and the loss of all rows before each step."""
    losses = []
    # > m, n = X.shape
    m, _ = X.shape
    # > for _ in range(n_iters):
    for _ in range(n_iters):
        losses.append(float(np.mean((X.dot(theta) - y) ** 2)))
        rows = slice(None) if rng is None else rng.integers(m, size=1)
        parameters = mg.Tensor(theta, requires_grad=True)
        loss = ops.mse(X[rows] @ parameters, y[rows])
        # > gradients = 2/m * X.T.dot(X.dot(theta) - y)
        (gradients,) = mg.grad(loss, parameters)
        # > theta -= eta * gradients
        theta = theta - eta * gradients.data
    # > return theta
    return theta, losses


# > X = np.array([[1, 2], [2, 4], [3, 6]])
X = np.array([[1.0, 2], [2, 4], [3, 6]])
# > y = np.array([1, 3, 5])
y = np.array([1.0, 3, 5])
# > theta = np.zeros(2)
theta = np.zeros(2)
# > eta = 0.01
eta = 0.01
# > n_iters = 1000
n_iters = 1000


def least_loss(X, y) -> float:
    """What no θ can better, from the least-norm solution of the normal equations."""
    return float(np.mean((X @ np.linalg.pinv(X) @ y - y) ** 2))


def largest_rate(X) -> float:
    """Where gradient descent stops converging: 2/λ, λ the greatest eigenvalue of (2/m)XᵀX."""
    return float(2 / np.linalg.eigvalsh(2 / len(X) * X.T @ X)[-1])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--epochs", type=int, default=n_iters, help="passes over the three rows")
    steps = options.parse_args().epochs

    # > theta = sgd(X, y, theta, eta, n_iters)
    found, whole = sgd(X, y, theta, eta, steps)
    for step in [s for s in (0, 1, 2, 5, 10, 100, 999) if s < steps]:
        print(f"after {step:3} steps: loss {whole[step]:.7f}")
    print(f"θ = {found}, the least loss that there is: {least_loss(X, y):.7f}")
    by_hand = 2 / len(X) * X.T.dot(X.dot(theta) - y)
    minus_gradient, _ = sgd(X, y, theta, 1.0, 1)  # one step of η = 1 from zeros
    print(f"F9: the first gradient by the article's formula {by_hand}")
    print(f"    and from the loss, by backpropagation       {-minus_gradient}")

    drawn, noisy = sgd(X, y, theta, eta, 3 * steps, np.random.default_rng(0))
    print(f"E4: one random row a step, the same rows in all: θ = {drawn}, loss {noisy[-1]:.7f}:")
    print("    it stays in motion, since at the least loss the rows' own gradients are not 0")
    other, _ = sgd(X, y, np.array([1.0, 0]), eta, steps)
    print(f"E5: X has rank {np.linalg.matrix_rank(X)}; from θ = [1, 0] it ends at {other},")
    least = np.mean((X @ other - y) ** 2)
    print(f"    of loss {least:.7f}; from zeros it is the one of least norm")
    try:
        sgd(X, y, np.zeros(2, int), eta, 1)
    except InputError as error:
        print(f"    from integers: {error}")
    limit = largest_rate(X)
    print(f"η must stay below {limit:.6f}: 200 steps of", end=" ")
    _, below = sgd(X, y, theta, 0.99 * limit, 200)
    _, above = sgd(X, y, theta, 1.01 * limit, 200)
    print(f"99% of that lead to {below[-1]:.4g}, of 101% to {above[-1]:.4g}")

    folder = Path("runs/articles")
    folder.mkdir(parents=True, exist_ok=True)
    runs = {"all rows": whole, "one random row": noisy, f"all rows, η = {1.01 * limit:.4f}": above}
    shown = {name: losses[:200] for name, losses in runs.items()}
    lines(shown, folder / "c2.png", x="step", log=True, floors={"1/7, the least loss": 1 / 7})
    print(f"the curve is in {folder / 'c2.png'}")


if __name__ == "__main__":
    main()
