r"""
9. L1 and L2
============

Articles: A8, E12

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * two penalties that keep weights small, and what they do to new data
      * why one of them makes weights exactly 0
      * why Adam needs a decay of its own

   .. grid-item-card:: You need

      * :doc:`tutorial 5 <05_adam>` and :doc:`tutorial 7 <07_learning_rate_decay>`
      * the derivative of :math:`|\theta|`

The problem
-----------

Again ten measurements of a patient are to predict how far diabetes has come, but now there are
only 15 patients to learn from. 89 others, the :term:`test set`, show what the weights are worth.
Losses are divided by what a guess of the mean would give, so that 1 is no better than a guess.
"""

import matplotlib.pyplot as plt
import numpy as np

from minigrad import nn, ops, optim
from minigrad.data import load

data = load("diabetes", dtype="float64")
X, y = data.x_train[:15], data.y_train[:15]
mean, deviation = y.mean(), y.std()
y, y_test = (y - mean) / deviation, (data.y_test - mean) / deviation
guess = np.mean(y_test**2)


def losses(theta):
    """Of each column of θ: on the 15 patients, and on the others."""
    test = np.mean((data.x_test @ theta - y_test) ** 2, axis=0)
    return np.mean((X @ theta - y) ** 2, axis=0), test / guess


train, test = losses(np.linalg.lstsq(X, y)[0])
print(f"least squares: training {train[0]:.2f}, test {test[0]:.2f}")

# %%
# Ten weights can follow 15 numbers, chance and all: this is :term:`overfitting`. On new patients
# such weights are worse than a guess.
#
# The formula
# -----------
#
# Article D3 says what to do, and D4 §6.3 names L1 and L2:
#
# .. article:: A8
#
#    它将一个正则项添加到损失函数中，以避免过拟合。
#
# The term is a :term:`penalty` on large weights, :math:`\frac{\lambda}{2} \sum_i \theta_i^2`
# (:term:`L2 <L2 regularisation>`) or :math:`\lambda \sum_i |\theta_i|`
# (:term:`L1 <L1 regularisation>`). Its derivative, :math:`\lambda\theta_i` or
# :math:`\pm\lambda`, joins the gradient. L2 pulls a small weight weakly; L1 pulls with the same
# force down to 0, where a step of :math:`\eta\lambda` would jump across. So the
# :term:`soft threshold` takes that step and stops at 0.
#
# **Erratum E12.** D3 also counts learning rates, clipping and decay among the means against
# overfitting. They change the way to the minimum; a penalty moves the minimum.


def l2_gradient(theta, lam):
    return lam * theta


def l1_gradient(theta, lam):
    return lam * np.sign(theta)


def soft_threshold(theta, tau):
    return np.sign(theta) * np.maximum(np.abs(theta) - tau, 0)


def fit(l1=0.0, l2=0.0, proximal_l1=0.0, steps=5000, eta=0.1):
    theta = np.zeros((10, 1))
    for _ in range(steps):
        gradient = 2 / len(X) * X.T @ (X @ theta - y)
        gradient = gradient + l1_gradient(theta, l1) + l2_gradient(theta, l2)
        theta = soft_threshold(theta - eta * gradient, eta * proximal_l1)
    return theta


for settings in ({"l2": 1.0}, {"l1": 0.1}, {"proximal_l1": 0.1}):
    theta = fit(**settings)
    train, test = losses(theta)
    zeros = np.sum(theta == 0)
    print(f"training {train[0]:.2f}, test {test[0]:.2f}, {zeros} zeros with {settings}")

# %%
# The library
# -----------
#
# Every optimizer takes these settings, under the same names:

for settings in ({"l2": 1.0}, {"l1": 0.1}, {"proximal_l1": 0.1}):
    theta = nn.Parameter(np.zeros((10, 1)))
    optimizer = optim.SGD([theta], lr=0.1, **settings)
    for _ in range(500):
        optimizer.zero_grad()
        ops.mse(X @ theta, y).backward()
        optimizer.step()
    ours = fit(**settings, steps=500)
    np.testing.assert_allclose(theta.data, ours, rtol=1e-9, atol=1e-12)

# %%
# Adam divides a gradient by its usual size. With ``l2`` it divides the penalty too, so a weight
# with large gradients is hardly held back. ``AdamW`` shrinks all weights alike, by a
# :term:`weight decay` beside the gradient:

for adam, decay in ((optim.Adam, "l2"), (optim.AdamW, "weight_decay")):
    theta = nn.Parameter(np.ones((1, 2)))
    optimizer = adam([theta], lr=0.01, **{decay: 0.5})
    for t in range(400):
        theta.grad = (-1) ** t * np.array([[10.0, 0.1]])  # to and fro
        optimizer.step()
    print(f"{adam.__name__:5}", theta.data.round(3))

# %%
# The picture
# -----------
#
# The ten weights, trained with more and more of each penalty, and what that does to the loss.
# Three have names: body-mass index (bmi), blood pressure (bp) and a blood value (s5).

lam = np.geomspace(0.003, 10, 60)  # a column of θ for each
strong = {"bmi": "#009E73", "bp": "#CC79A7", "s5": "#000000"}
figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(9, 3.8), layout="constrained",
    num="Left and middle: the ten weights by λ. Under L2 all shrink and none stays "
    "at 0; under L1 more and more are exactly 0, in the end all. Right: with "
    "growing λ the training loss rises; the test loss falls far, then rises.",
)  # fmt: skip
middle.sharey(left)
for axes, name, settings, colour in (
    (left, "L2", {"l2": lam}, "#0072B2"),
    (middle, "L1", {"proximal_l1": lam}, "#D55E00"),
):
    theta = fit(**settings)
    for feature, path in zip(data.feature_names, theta):
        label = feature if feature in strong else None
        axes.semilogx(lam, path, color=strong.get(label, "#BBBBBB"), label=label)
    axes.set_xlabel(f"λ of {name}")
    train, test = losses(theta)
    right.semilogx(lam, test, color=colour, label=f"{name}, test")
    right.semilogx(lam, train, "--", color=colour, label=f"{name}, training")
    best = test.argmin()
    print(f"{name}: test loss {test[best]:.2f} at λ = {lam[best]:.2f}, its best,",
          f"and {test[-1]:.2f} at λ = 10")  # fmt: skip
left.set_ylabel("$θ_i$")
left.legend()
right.set(xlabel="λ", ylabel="loss", ylim=(0, 2.5))
right.legend()
plt.show()

# %%
# The gap between training and test closes as λ grows. Too much is no use either: from λ = 1 on, L1
# leaves no weight, and with that a guess.
#
# Proof
# -----
#
# Where the minimum is known, L1 must lead to it, zeros and all:
#
# .. property-test:: tests/documents/test_d3.py::test_a8_l1_makes_exact_zeros
#
# Three misconceptions
# --------------------
#
# * *"The gradient of L1 makes weights 0."* With ``l1`` none of the ten became 0: four jump to and
#   fro across it, for ever. With the soft threshold these four are 0.
# * *"Weight decay is another name for L2."* For SGD it is. For Adam see above: with L2 the two
#   weights went from 1 to 0.804 and 0.000, with weight decay both to 0.132. Look which of them your
#   library means; PyTorch's ``Adam`` calls L2 ``weight_decay``.
# * *"The λ with the least test loss is the right one."* By that choice the test set has become
#   part of the training. Choose λ on other rows, the :term:`validation set`.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/09.py``; ``minigrad check 9`` looks at them.
#
# 1. ``penalised_gradient``: the gradient of a loss with both penalties.
# 2. ``l1_step``: one step of SGD that can end at exact zeros.
# 3. ``smallest_lambda``: the λ from which on L1 leaves every weight of a linear model at 0.
#
# Words: :term:`regularisation` · :term:`overfitting` · :term:`L1 regularisation` ·
# :term:`L2 regularisation` · :term:`soft threshold` · :term:`weight decay`
