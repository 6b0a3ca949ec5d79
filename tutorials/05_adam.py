r"""
5. Adam
=======

Articles: A2, A6, E16

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * why one rate for all parameters is not enough
      * what the two moments of a gradient measure
      * what the correction of their bias repairs

   .. grid-item-card:: You need

      * :doc:`tutorial 4 <04_momentum>`
      * mean and variance

The problem
-----------

The :term:`gradient` of one :term:`parameter` may be ten thousand times another's. Then no
:term:`learning rate` suits both: what the first can bear does not move the second.
"""

import matplotlib.pyplot as plt
import numpy as np

from minigrad import nn, optim

STEEPNESS = np.array([100.0, 0.01])


def gradient(theta):
    return STEEPNESS * theta  # of J(θ) = ½ Σ λ θ²


theta = np.ones(2)
for _ in range(500):
    theta = theta - 0.019 * gradient(theta)  # with 0.0201 the first one diverges
print("500 steps of gradient descent, η = 0.019:", theta.round(3))

# %%
# The second number should be 0, and has moved by a tenth.
#
# The formula
# -----------
#
# The articles describe Adam in words; D3 §3.1.4 has the idea, D4 §3.2 the name:
#
# .. article:: A6
#
#    它将学习率设置为不同的值，以适应不同的参数。
#
# .. article:: A2
#
#    Adam是一种自适应梯度下降算法，它可以根据梯度的移动方向自动调整学习率。
#
# **Erratum E16.** It is not the direction that adjusts the rate but the size. Adam keeps two
# averages of each coordinate: :math:`m` of its gradients :math:`g` (:term:`first moment`), and
# :math:`v` of their squares (:term:`second moment`). It moves by the first over the root of the
# second:
#
# .. math::
#
#    m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t
#
#    v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2
#
#    \theta_t = \theta_{t-1} - \eta \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}, \quad
#    \hat m_t = \frac{m_t}{1 - \beta_1^t}, \quad \hat v_t = \frac{v_t}{1 - \beta_2^t}
#
# Both averages begin at 0 and are too small at first. The hats are the :term:`bias correction`:
# at step 1 they make :math:`\hat m = g` and :math:`\hat v = g^2`, so the first step is η, however
# large or small the gradient. Without them it would be 3.16 times that. :math:`\epsilon` keeps
# the quotient finite where gradients are 0.


def adam(steps, eta=0.05, beta1=0.9, beta2=0.999, epsilon=1e-8):
    theta, m, v, path, rates = np.ones(2), 0.0, 0.0, [], []
    for t in range(1, steps + 1):
        g = gradient(theta)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        rate = eta / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        theta = theta - rate * m / (1 - beta1**t)
        path.append(theta)
        rates.append(rate)
    return np.array(path), np.array(rates)


path, rates = adam(500)
print("500 steps of Adam, η = 0.05:", path[-1].round(3))
print("rates of the two after the first step:", rates[0])

# %%
# The library
# -----------

theta = nn.Parameter(np.ones(2))
optimizer = optim.Adam(theta, lr=0.05)
for _ in range(500):
    optimizer.zero_grad()
    loss = (STEEPNESS * theta * theta).sum() * 0.5
    loss.backward()
    optimizer.step()

np.testing.assert_allclose(theta.data, path[-1], rtol=1e-9, atol=1e-12)

# %%
# The picture
# -----------
#
# Each coordinate gets a rate of its own, :math:`\eta/(\sqrt{\hat v} + \epsilon)`, the flat one
# a larger one. So both take the same way, as if the valley were round.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained",
    num="Left: the rate of each coordinate by step; the flat one's is 10,000 times the "
    "steep one's, and a line between them is gradient descent's. Right: the distance of "
    "each coordinate from 0 by step, the same for both with Adam.",
)  # fmt: skip
for i, (colour, name) in enumerate((("#0072B2", "steep"), ("#D55E00", "flat"))):
    left.semilogy(rates[:, i], color=colour, label=f"Adam, λ = {STEEPNESS[i]:g} ({name})")
    style = "-" if i == 0 else "--"
    right.plot(path[:, i], style, color=colour, label=f"Adam, λ = {STEEPNESS[i]:g}")
left.axhline(0.019, color="#666666", linestyle=":", label="gradient descent, both")
right.plot((1 - 0.019 * 0.01) ** np.arange(500), ":", color="#666666", label="descent, flat")
left.set(xlabel="step t", ylabel="rate of a coordinate")
right.set(xlabel="step t", ylabel="θ")
left.legend(loc="center right")
right.legend()
plt.show()

# %%
# Proof
# -----
#
# minigrad's Adam and the formula agree for any gradients, in both places of ε:
#
# .. property-test:: tests/documents/test_d4.py::test_a2_adam
#
# Three misconceptions
# --------------------
#
# * *"With Adam the learning rate does not matter."* η is the length of a step. Where a gradient
#   keeps its sign, θ moves by about η each step: from 1 to 0 at η = 0.05 takes twenty.
# * *"ε is a detail."* Keras puts it beside :math:`\sqrt v` without the hat, PyTorch beside
#   :math:`\sqrt{\hat v}`. For :math:`g = \epsilon = 10^{-8}`, η = 0.001, the first steps are
#   3.1e-5 and 5.0e-4.
# * *"Adam is momentum with a better rate."* Momentum keeps one average, and one rate for
#   all. Tuned to this problem, at η = 0.036 and β = 0.97, it comes within 0.00014 of 0 in 500
#   steps; but to tune it so one must know both λ. Adam measures them.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/05.py``; ``minigrad check 5`` looks at them.
#
# 1. ``moments``: both averages after one more gradient.
# 2. ``first_step``: the first step for a gradient, with and without the correction.
# 3. ``keras_step``: a whole step with ε where Keras has it.
#
# Words: :term:`Adam` · :term:`first moment` · :term:`second moment` · :term:`bias correction` ·
# :term:`adaptive learning rate`
