r"""
3. SGD and mini-batches
=======================

Articles: F2, E4, E10

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * why a few rows can stand for all of them
      * how far their gradient is off, and how that depends on their number
      * what an epoch is, and why rows are shuffled

   .. grid-item-card:: You need

      * :doc:`tutorial 1 <01_gradient_descent>`
      * mean and standard deviation

The problem
-----------

The :term:`loss` is a mean over all rows of the data. Its :term:`gradient` is one, too; so each step
of gradient descent reads every row, here 1,437 pictures of digits of 8 × 8 pixels.
"""

import matplotlib.pyplot as plt
import numpy as np

from minigrad import nn, ops, optim
from minigrad.data import DataLoader, load

data = load("digits")
X, labels = data.x_train.astype("float64"), data.y_train
Y = np.eye(10)[labels]  # row i has its 1 at label i


def gradient(W, rows):
    """Of the mean squared error of XW, averaged over these rows."""
    return 2 / len(rows) * X[rows].T @ (X[rows] @ W - Y[rows])


def right(W):
    return (np.argmax(data.x_test @ W, axis=1) == data.y_test).mean()


W, everything = np.zeros((64, 10)), np.arange(len(X))
for _ in range(10):
    W = W - 0.01 * gradient(W, everything)
print(f"10 steps read {10 * len(X):,} rows, and {right(W):.0%} of the test part are right")

# %%
# The formula
# -----------
#
# D2 §3.1 has the formula of gradient descent once more, and calls it stochastic:
#
# .. article:: F2
#
#    \theta_{t+1} = \theta_t - \eta \nabla J(\theta_t)
#
# **Errata E4 and E10.** What makes it stochastic (random) is not in the formula, and the program
# in D2 §4 leaves it out: :math:`\nabla J` must be taken over a few rows drawn at random, a
# :term:`mini-batch`. It is not "a random gradient", as D3 §3.1.5 has it, but one whose mean over
# all draws is the true gradient.


def sgd(W, eta, batch_size, steps, rng):
    for _ in range(steps):
        rows = rng.choice(len(X), batch_size, replace=False)
        W = W - eta * gradient(W, rows)
    return W


W = sgd(np.zeros((64, 10)), 0.01, 32, 449, np.random.default_rng(0))
print(f"449 steps of 32 rows read as many, and {right(W):.0%} are right")

# %%
# The library
# -----------
#
# Drawing anew each time leaves some rows out for long. A ``DataLoader`` shuffles the rows and
# deals them out until none is left; that is an :term:`epoch`. Then it shuffles again.

model = nn.Dense(64, 10, rng=np.random.default_rng(0), bias=False, dtype="float64")
optimizer = optim.SGD(model, lr=0.01)
W = model.weight.data.copy()
for batch in DataLoader(X, Y, batch_size=32).epoch(0):
    optimizer.zero_grad()
    ops.mse(model(batch.x), batch.y).backward()
    optimizer.step()
    W = W - 0.01 * gradient(W, batch.rows) / 10  # ops.mse is a mean over the 10 columns, too

np.testing.assert_allclose(model.weight.data, W, rtol=1e-9, atol=1e-12)

# %%
# The picture
# -----------
#
# How far is a batch's gradient from the true one? By chance alone it is off like any mean of B
# numbers: in proportion to :math:`1/\sqrt B`. Four times the rows, half the noise.

rng, sizes = np.random.default_rng(0), 2 ** np.arange(11)
W = np.zeros((64, 10))
true = gradient(W, everything)
far = [
    np.mean([np.sum((gradient(W, rng.choice(len(X), B)) - true) ** 2) for _ in range(50)]) ** 0.5
    for B in sizes
]
figure, (left, right_) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained",
    num="Left: the error of a batch's gradient against the batch size, both axes "
    "logarithmic; it falls along a line of slope minus one half. Right: the loss against "
    "the rows read; small batches fall much faster than the whole data.",
)  # fmt: skip
left.loglog(sizes, far, "o", color="#0072B2", label="measured, 50 batches each")
left.loglog(sizes, far[0] / sizes**0.5, color="#D55E00", label="$B^{-1/2}$")
left.set(xlabel="batch size B", ylabel="distance from the true gradient", ylim=(0.1, 10))
left.legend()
for B, colour in ((32, "#0072B2"), (256, "#009E73"), (len(X), "#D55E00")):
    rng, W, losses = np.random.default_rng(0), np.zeros((64, 10)), []
    for _ in range(10 * len(X) // B):
        losses.append(np.mean(np.sum((X @ W - Y) ** 2, axis=1)))
        W = sgd(W, 0.01, B, 1, rng)
    right_.plot(B * np.arange(len(losses)), losses, color=colour, label=f"B = {B:,}")
right_.set(xlabel="rows read", ylabel="loss over all rows", xticks=[0, 5000, 10000])
right_.legend()
plt.show()

# %%
# Ten epochs of small batches have come further than ten of large ones, for the same work: they made
# more steps.
#
# Proof
# -----
#
# The mean over all batches of a size is the true gradient:
#
# .. property-test:: tests/documents/test_d2.py::test_f2_mini_batches_have_the_full_gradient_as_mean
#
# Three misconceptions
# --------------------
#
# * *"A gradient from 32 rows is wrong."* It is right on average. Its error, with 32
#   rows less than a fifth of one row's, averages out over the steps.
# * *"Larger batches are better."* Per row read they gain less and less: 100 times the rows for a
#   tenth of the noise. They pay where many processors share a batch: :doc:`13_data_parallelism`.
# * *"One step of 64 rows is two steps of 32."* Both read as much, but the second of two steps has a
#   gradient from a better place.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/03.py``; ``minigrad check 3`` looks at them.
#
# 1. ``epoch``: deal shuffled rows into batches; the last may be smaller.
# 2. ``batch_gradient``: the mean squared error's gradient over a batch.
# 3. ``rows_needed``: how large a batch must be for a given error.
#
# Words: :term:`mini-batch` · :term:`batch size` · :term:`epoch` · :term:`gradient noise` ·
# :term:`shuffling` · :term:`stochastic gradient descent`
