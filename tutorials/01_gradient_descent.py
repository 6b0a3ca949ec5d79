r"""
1. Gradient descent
===================

Articles: F1, F9, E5

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * what a parameter, a loss, a gradient and a learning rate are
      * how a model finds its numbers, step by step
      * which learning rates are too small, and which too large

   .. grid-item-card:: You need

      * partial derivatives
      * matrices times vectors in NumPy

The problem
-----------

How wide is an iris's petal? From its length :math:`x_2` and that of the sepal, the green leaf below
it, :math:`x_1`, we predict :math:`\theta_1 x_1 + \theta_2 x_2`. This is the :term:`model`; the
numbers :math:`\theta = (\theta_1, \theta_2)` are its :term:`parameters <parameter>`. The
:term:`loss` :math:`J(\theta)` says how wrong they are: the mean of (predicted − true)² over 120
flowers. Which :math:`\theta` makes it least? We try some:
"""

import matplotlib.pyplot as plt
import numpy as np

from minigrad import nn, ops, optim
from minigrad.data import load

flowers = load("iris").x_train.astype("float64")  # 0: average, 1: one standard deviation
X, y = flowers[:, [0, 2]], flowers[:, 3]


def loss_at(theta):
    return np.mean((X @ theta - y) ** 2)


values = np.linspace(-1, 1, 11)
guesses = [np.array([a, b]) for a in values for b in values]
best = min(guesses, key=loss_at)
print(f"the best of {len(guesses)} guesses: θ = {best}, loss {loss_at(best):.4f}")
digits = 30_730 * np.log10(11)
print(f"guesses for 30,730 parameters: a number of {digits:,.0f} digits")

# %%
# With 11 values for each parameter, two take 121 guesses. The network in article D1 §4 has 30,730.
# (The tutorials follow five articles, D0 to D4. F1 is a formula of theirs, A1 an algorithm, E1 an
# erratum: ``minigrad articles`` lists them.)
#
# The formula
# -----------
#
# Start anywhere and ask which way is down. The :term:`gradient` :math:`\nabla J`, the vector of all
# :math:`\partial J / \partial \theta_i`, points where the loss rises fastest. So take a
# :term:`step` the other way, and ask again:
#
# .. article:: F1
#
#    \theta_{t+1} = \theta_t - \alpha \nabla J(\theta_t)
#
# :math:`t` counts the steps; you choose the :term:`learning rate` :math:`\alpha`, which says how
# far to go. For our loss with :math:`m` flowers, D2 §4 writes the gradient in NumPy:
#
# .. article:: F9
#
#    gradients = 2/m * X.T.dot(X.dot(theta) - y)


def descend(X, y, theta, alpha, steps):
    m, path = len(y), [np.array(theta)]
    for _ in range(steps):
        theta = path[-1]
        gradients = 2 / m * X.T.dot(X.dot(theta) - y)
        path.append(theta - alpha * gradients)
    return np.array(path)


theta = descend(X, y, [0.0, 0.0], alpha=0.5, steps=40)[-1]
print(f"after 40 steps: θ = {theta.round(3)}, loss {loss_at(theta):.4f}")

rows, targets = np.array([[1, 2], [2, 4], [3, 6]]), np.array([1, 3, 5])  # D2 §4
for start in ([0.0, 0.0], [2.0, -1.0]):
    found = descend(rows, targets, start, alpha=0.01, steps=1000)[-1]
    error = np.mean((rows @ found - targets) ** 2)
    print(f"D2 §4, from {start}: θ = {found.round(3)}, loss {error:.4f}")

# %%
# **Erratum E5.** The article does not say that in its data the second column is twice the first.
# So only :math:`\theta_1 + 2\theta_2` counts: a whole line of :math:`\theta` has the least loss,
# and the start decides which one is found.
#
# The library
# -----------
#
# ``backward`` finds the gradient (how: :doc:`02_backpropagation`), ``step`` is the formula, and
# ``zero_grad`` forgets the old gradient.

theta = nn.Parameter(np.zeros(2))
optimizer = optim.SGD(theta, lr=0.5)
for _ in range(40):
    optimizer.zero_grad()
    loss = ops.mse(X @ theta, y)
    loss.backward()
    optimizer.step()

by_hand = descend(X, y, [0.0, 0.0], alpha=0.5, steps=40)[-1]
np.testing.assert_allclose(theta.data, by_hand, rtol=1e-12)

# %%
# The picture
# -----------
#
# Each grey :term:`contour line` joins parameters of equal loss. On a parabola
# :math:`J = \frac{1}{2}\lambda\theta^2` the gradient is :math:`\lambda\theta`, so a step multiplies
# :math:`\theta` by :math:`1 - \alpha\lambda`. Above :math:`\alpha = 1/\lambda` it jumps across the
# minimum; above :math:`2/\lambda` it lands farther away each time (:term:`divergence`). Our valley
# has :math:`\lambda = 3.77` across and 0.23 along, so the limit is 0.531.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained",
    num="Left: contours of the loss, a long valley, with three paths from (0, 0): "
    "α = 0.05 creeps, 0.5 swings from side to side and arrives, 0.6 swings ever farther "
    "out. Right: the loss by step, falling for the first two and growing for the third.",
)  # fmt: skip
a, b = np.meshgrid(np.linspace(-1.5, 1.5, 90), np.linspace(-0.7, 2, 90))
losses = [[loss_at(theta) for theta in zip(*row)] for row in zip(a, b)]
left.contour(a, b, losses, 0.066 + 0.01 * 3.0 ** np.arange(8), colors="#BBBBBB")
for alpha, colour in ((0.6, "#D55E00"), (0.5, "#009E73"), (0.05, "#0072B2")):
    path = descend(X, y, [0.0, 0.0], alpha, steps=6 if alpha == 0.6 else 40)
    losses = [loss_at(theta) for theta in path]
    left.plot(*path.T, ".-", color=colour, linewidth=1)
    right.semilogy(losses, color=colour, label=f"α = {alpha}")
left.plot(*np.linalg.lstsq(X, y)[0], "k*", markersize=12, label="least loss")
left.set(xlim=(-1.5, 1.5), ylim=(-0.7, 2), aspect="equal")
left.set(xlabel="$θ_1$", ylabel="$θ_2$")
left.legend(loc="lower left")
right.set(xlabel="step t", ylabel="J(θ)", ylim=(0.05, 20))
right.legend(loc="center right")
plt.show()

# %%
# Choose the rule "gradient descent" and move the learning rate; η is our α:
#
# .. interactive:: descent
#
# Proof
# -----
#
# The library's steps are the formula's, for any quadratic loss and any start:
#
# .. property-test:: tests/documents/test_d1.py::test_f1_gradient_descent
#
# Three misconceptions
# --------------------
#
# * *"Downhill leads straight to the minimum."* At (0, 0) the way down is 46 degrees away from the
#   way to the minimum.
# * *"A larger learning rate is faster."* To come within 0.01 of the minimum, α = 0.05 takes 375
#   steps, 0.5 takes 38, 0.52 takes 100, and 0.54 never arrives.
# * *"At the minimum the loss is 0."* Here it is 0.066: flowers are not that regular. What is 0
#   there is the gradient; that is why steps shrink by themselves.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/01.py``; ``minigrad check 1`` looks at them.
#
# 1. ``descent_step``: one step on the mean squared error.
# 2. ``numerical_gradient``: the gradient of any loss, by moving each parameter a little.
# 3. ``steps_needed``: how many steps a parabola takes, if they arrive.
#
# Words: :term:`parameter` · :term:`loss` · :term:`gradient` · :term:`learning rate` · :term:`step`
