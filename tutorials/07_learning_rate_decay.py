r"""
7. Learning-rate decay
======================

Articles: F5, F6, F7, E3, E9, E12

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * why SGD with a constant rate stops short of the minimum
      * three formulas by which a rate can fall
      * what decay cannot do, though two articles say so

   .. grid-item-card:: You need

      * :doc:`tutorial 3 <03_mini_batches>`: mini-batches and their noise
      * powers with fractional exponents

The problem
-----------

Ten measurements of each of 353 patients, age and blood pressure among them, are to predict how far
diabetes has come a year later. For a linear model :math:`X\theta` linear algebra gives the least
:term:`loss` there is. How near to it does SGD come?
"""

import matplotlib.pyplot as plt
import numpy as np

from minigrad import nn, ops, optim
from minigrad.data import load

data = load("diabetes", dtype="float64")
X, y = data.x_train, data.y_train
y = (y - y.mean()) / y.std()
best = np.linalg.lstsq(X, y)[0]


def loss(theta):
    return np.mean((X @ theta - y) ** 2)


def train(rate, T=3000):
    """θ after T steps of 8 rows each; the loss above the least, by step."""
    rng, theta, excess = np.random.default_rng(0), np.zeros((10, 1)), []
    for t in range(T):
        rows = rng.choice(len(X), 8, replace=False)
        gradient = 2 / 8 * X[rows].T @ (X[rows] @ theta - y[rows])
        theta = theta - rate(t) * gradient
        excess.append(loss(theta) - loss(best))
    return theta, np.array(excess)


for eta in (0.1, 0.003):
    _, excess = train(optim.Constant(eta))
    soon, late = excess[10:30].mean(), excess[-25:].mean()
    print(f"η = {eta}: loss above the least {soon:.3f}, in the end {late:.4f}")

# %%
# The first number is that of about 20 steps. The large rate is soon near, and never arrives: each
# batch pushes θ somewhere else, by η times its :term:`noise <gradient noise>`. The small one takes
# long. A rate that begins large and ends small can have both: :term:`learning-rate decay`.
#
# The formula
# -----------
#
# In D2 §3.4 the rate of step :math:`t` starts at :math:`\eta_0` and ends at 0 after :math:`T` steps
# (:term:`polynomial decay`):
#
# .. article:: F5
#
#    \eta_t = \eta_0 \times (1 - \frac{t}{T})^\alpha
#
# The program of D3 has two more. One line sets the rate after each step:
#
# .. article:: F6
#
#    optimizer.lr = learning_rate * (1 - decay * global_step)
#
# The other leaves it to Keras, where ``decay`` once divided :math:`\eta_0` by 1 + decay · t:
#
# .. article:: F7
#
#    optimizer = tf.keras.optimizers.Adam(learning_rate=0.001, decay=0.0001)
#
# **Errata E3, E9 and E12.** D2 calls :math:`\alpha` the rate of decay; it is an exponent, and the
# end stays at :math:`T`. D2 says that decay avoids vanishing gradients; no rate changes a gradient,
# and a smaller one makes its step smaller still. F6 is negative after 1/decay steps: the model
# climbs. E12 is the first misconception below.


def polynomial(t, eta_0, T, alpha):
    return eta_0 * (1 - t / T) ** alpha


def linear(t, eta_0, decay):  # F6, as printed
    return eta_0 * (1 - decay * t)


def inverse_time(t, eta_0, decay):  # F7
    return eta_0 / (1 + decay * t)


for formula in (linear, inverse_time):
    rates = [round(formula(t, 0.001, 0.0001), 6) for t in (0, 10_000, 20_000)]
    print(f"at t = 0, 10,000, 20,000: {rates} {formula.__name__}")

# %%
# The library
# -----------
#
# A :term:`schedule <learning-rate schedule>` is a function of the step, and an optimizer takes it
# in place of a number. ``Polynomial`` stays at 0 after T, and ``Linear`` (F6) too.

schedule = optim.Polynomial(0.1, T=3000, alpha=2)
t = np.arange(3000)
np.testing.assert_allclose(schedule(t), polynomial(t, 0.1, 3000, alpha=2))
inverse = optim.InverseTime(0.1, decay=0.01)
np.testing.assert_allclose(inverse(t), inverse_time(t, 0.1, 0.01))

theta, rng = nn.Parameter(np.zeros((10, 1))), np.random.default_rng(0)
optimizer = optim.SGD([theta], lr=schedule)
for _ in range(3000):
    rows = rng.choice(len(X), 8, replace=False)
    optimizer.zero_grad()
    ops.mse(X[rows] @ theta, y[rows]).backward()
    optimizer.step()

np.testing.assert_allclose(theta.data, train(schedule)[0], rtol=1e-9)

rate = 1.0
for k in (1, 2, 3):
    rate = rate * 0.9**k
meant = optim.Exponential(1.0, gamma=0.9)(3)
print(f"multiplied by γᵗ in each step: {rate:.3f}; γ³ is {meant:.3f}")

# %%
# The picture
# -----------
#
# On the left the rates; on the right the training with each of them.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained",
    num="Left: the rate by step; polynomial decay ends at 0, inverse time stays "
    "above, F6 as printed becomes negative. Right: the loss above the least; "
    "constant rates stay at a floor, α = 2 ends lowest, F6 climbs.",
)  # fmt: skip
curves = (
    ("constant", optim.Constant(0.1), "#000000", "-"),
    ("constant, small", optim.Constant(0.003), "#999999", "-"),
    ("F5, α = 1/2", optim.Polynomial(0.1, T=3000, alpha=0.5), "#56B4E9", "-"),
    ("F5, α = 2", schedule, "#0072B2", "-"),
    ("F6 as printed", lambda t: linear(t, 0.1, 1 / 2000), "#D55E00", "--"),
    ("F7", inverse, "#009E73", "-"),
)
for name, rate, colour, line in curves:
    excess = train(rate)[1].reshape(-1, 25).mean(axis=1)  # of 25 steps each
    left.plot(t, rate(t), line, color=colour, label=name)
    right.semilogy(t[12::25], excess, line, color=colour)
    print(f"{name:15} {excess[-1]:.2g}")
left.axhline(0, color="#999999", linewidth=0.8)
left.set(xlabel="step t", ylabel="$η_t$")
right.set(xlabel="step t", ylabel="loss above the least", ylim=(5e-4, 2))
figure.legend(loc="outside upper center", ncols=6)
plt.show()

# %%
# A smaller constant rate has a lower floor. F5 ends at 0, and so below the floors; with α = 2 it
# spends more steps at small rates. F6 does as well until its rate turns negative.
#
# Choose schedules and move their numbers:
#
# .. interactive:: schedules
#
# Proof
# -----
#
# The library's rate is F5 for any numbers:
#
# .. property-test:: tests/documents/test_d2.py::test_f5_polynomial_decay
#
# Three misconceptions
# --------------------
#
# * *"Decay prevents overfitting."* So says D3 §3.2.3 (E12). It leads nearer to the minimum, and
#   does not move the minimum. Ten weights fitted to 12 noisy rows ended 2.18 away from the true
#   ones, with decay and without; a penalty brought them to 1.34: :doc:`09_regularisation`.
# * *"A small rate from the start does as well."* Of eight constant rates from 0.1 to
#   0.0003 none ended below 0.0029 here; α = 2 ended at 0.0009.
# * *"At step t, multiply the rate by γᵗ."* That rate was multiplied before, so the factors
#   compound: 0.9 · 0.9² · 0.9³ = 0.531 where 0.9³ = 0.729 is meant. Start from η₀ every time, or
#   multiply by γ alone.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/07.py``; ``minigrad check 7`` looks at them.
#
# 1. ``polynomial``: F5, for any step, also one past T.
# 2. ``next_rate``: from the rate of one step to that of the next along F7, without compounding.
# 3. ``best_rate``: the η that gains most from one noisy step. Used step by step, it traces F7.
#
# Words: :term:`learning-rate decay` · :term:`learning-rate schedule` · :term:`polynomial decay` ·
# :term:`inverse-time decay` · :term:`gradient noise`
