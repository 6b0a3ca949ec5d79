r"""
4. Momentum
===========

Articles: F3, E1

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * what is kept from earlier gradients, and why it helps
      * which sign the printed formula gets wrong
      * how to read a map of η and β

   .. grid-item-card:: You need

      * :doc:`tutorial 1 <01_gradient_descent>`
      * the derivative of a parabola

The problem
-----------

A :term:`loss` often falls steeply in one direction and hardly at all in another. The steep one
decides how large a step may be; along the flat one such steps take forever. Here is a valley that
is 25 times as steep across as it is along; 25 is its :term:`condition number`:
"""

import matplotlib.pyplot as plt
import numpy as np

from minigrad import nn, optim

STEEPNESS = np.array([0.04, 1.0])  # λ, along the valley and across


def gradient(theta):
    return STEEPNESS * theta  # of J(θ) = ½ Σ λ θ²


def descend(eta, steps=60, theta=(10.0, 1.0)):
    path = [np.array(theta)]
    for _ in range(steps):
        path.append(path[-1] - eta * gradient(path[-1]))
    return np.array(path)


print("60 steps of plain descent, η = 1.5:", descend(1.5)[-1].round(3))

# %%
# It has not arrived: the first number started at 10 and should be 0. With η above 2 the second
# would grow without end.
#
# The formula
# -----------
#
# A ball that rolls down does not forget its speed from one moment to the next. Article D2 §3.2
# gives the parameters a :term:`velocity` :math:`v`, which keeps a share :math:`\beta` of itself:
#
# .. article:: F3
#
#    v_{t+1} = \beta v_t - \eta \nabla J(\theta_t)
#
#    \theta_{t+1} = \theta_t - \gamma v_{t+1}
#
# **Erratum E1.** :math:`v` already points downhill, because of its :math:`-\eta`. To subtract it
# is to climb. What works is :math:`\theta_{t+1} = \theta_t + v_{t+1}`, with one learning rate
# :math:`\eta`; a second one, :math:`\gamma`, is not needed. In NumPy, with ``sign=-1`` as printed:


def momentum(eta, beta, steps=60, theta=(10.0, 1.0), sign=1):
    path, v = [np.array(theta)], 0.0
    for _ in range(steps):
        v = beta * v - eta * gradient(path[-1])
        path.append(path[-1] + sign * v)
    return np.array(path)


print("10 steps as printed:", momentum(1.5, 0.65, steps=10, sign=-1)[-1].round())
print("60 steps corrected: ", momentum(1.5, 0.65)[-1].round(3))

# %%
# The library
# -----------
#
# ``optim.SGD`` with ``momentum`` is this formula. Both must agree:

theta = nn.Parameter(np.array([10.0, 1.0]))
optimizer = optim.SGD(theta, lr=1.5, momentum=0.65)
for _ in range(60):
    optimizer.zero_grad()
    loss = (STEEPNESS * theta * theta).sum() * 0.5
    loss.backward()
    optimizer.step()

np.testing.assert_allclose(theta.data, momentum(1.5, 0.65)[-1], rtol=1e-12, atol=1e-15)

# %%
# The picture
# -----------
#
# On a parabola of steepness :math:`\lambda` one step multiplies :math:`(\theta, v)` by a matrix,
# so all depends on two numbers, :math:`\eta\lambda` and :math:`\beta`. Small steps creep
# (*monotone*), larger ones swing to and fro but still arrive (*oscillating*), and beyond
# :math:`\eta\lambda = 2 + 2\beta` nothing arrives (*diverging*). So momentum allows larger steps
# too.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained",
    num="Left: map of ηλ and β with the regions monotone, oscillating and diverging. "
    "Right: the loss by step; with β = 0.65 it falls fastest.",
)  # fmt: skip
beta = np.linspace(0, 1, 200)
creeps, arrives = (1 - beta**0.5) ** 2, 2 + 2 * beta  # the largest ηλ that does
left.fill_betweenx(beta, 0, creeps, color="#56B4E9", label="monotone")
left.fill_betweenx(beta, creeps, arrives, color="#F0E442", label="oscillating")
left.fill_betweenx(beta, arrives, 4, color="#999999", label="diverging")
left.plot(1.5 * STEEPNESS, [0.65, 0.65], "ko", label="λ = 0.04 and λ = 1, η = 1.5")
left.set(xlabel="ηλ", ylabel="β", xlim=(0, 4), ylim=(0, 1))
left.legend(loc="lower right")
for beta, colour in ((0.0, "#0072B2"), (0.65, "#D55E00"), (0.95, "#009E73")):
    losses = 0.5 * (STEEPNESS * momentum(1.5, beta) ** 2).sum(axis=1)
    right.semilogy(losses, color=colour, label=f"β = {beta}")
right.set(xlabel="step t", ylabel="J(θ)")
right.legend()
plt.show()

# %%
# Move both numbers yourself:
#
# .. interactive:: descent
#
# Proof
# -----
#
# The same for any numbers, checked against minigrad by Hypothesis on every change:
#
# .. property-test:: tests/documents/test_d2.py::test_f3_momentum
#
# Three misconceptions
# --------------------
#
# * *"Momentum is a larger learning rate."* Along a gradient that stays the same it is: steps grow
#   to :math:`\eta/(1-\beta)` times it. Across a valley, where signs alternate, they cancel.
# * *"More momentum is better."* With β = 0.95 the ball overshoots and comes back, for long.
# * *"β means the same everywhere."* Some libraries put η outside of v. That is the same while η is
#   constant, and not when a schedule changes it: ``optim.compare_conventions("momentum")``.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/04.py``; ``minigrad check 4`` looks at them.
#
# 1. ``momentum_step``: one step of the corrected formula.
# 2. ``largest_rate``: the η above which a parabola of steepness λ diverges, for a given β.
# 3. ``nesterov_step``: the gradient is taken where the velocity is about to lead.
#
# Words: :term:`momentum` · :term:`velocity` · :term:`learning rate` · :term:`condition number`
