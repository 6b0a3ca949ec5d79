r"""
8. Gradient accumulation
========================

Articles: A7, E13

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * how to take the step of a batch that does not fit into memory
      * why the mean of means is wrong, and what to divide by
      * what this saves, and what it does not

   .. grid-item-card:: You need

      * tutorials :doc:`2 <02_backpropagation>` and :doc:`3 <03_mini_batches>`
      * mean and sum

The problem
-----------

To go backward, :term:`backpropagation` needs what each layer gave on the way forward, for each
row. These :term:`activations <activation>` stay in memory until then. Suppose 4 MiB are free:
"""

import timeit
import tracemalloc
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from minigrad import nn, ops, optim
from minigrad.data import DataLoader, load
from minigrad.distributed import DataParallel, world

comm = world()  # the processes that mpirun started, or this one alone
digits = load("digits", dtype="float64")
x, y = digits.x_train, digits.y_train
N, rng = len(x), np.random.default_rng(0)
model = nn.Sequential(
    nn.Dense(64, 256, rng=rng, activation="relu", dtype="float64"),
    nn.Dense(256, 256, rng=rng, activation="relu", dtype="float64"),
    nn.Dense(256, 10, rng=rng, dtype="float64"),
)
optimizer = optim.SGD(model, lr=0.1)


def say(*words):  # once, not on each process
    if comm.rank == 0:
        print(*words)


def whole_batch():
    optimizer.zero_grad()
    ops.cross_entropy(model(x), y).backward()


def peak(work, *arguments):  # the most memory it holds, in MiB
    tracemalloc.start()
    work(*arguments)
    most = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return most


say(f"a step on {N:,} rows needs {peak(whole_batch):.0f} MiB")

# %%
# It does not fit. Fewer rows would, but their gradient is another, and a noisier one.
#
# The formula
# -----------
#
# Article D3 §3.2.2 has the way out, in words:
#
# .. article:: A7
#
#    它将梯度累积到一个缓冲区中，以减少计算资源的消耗。
#
# This is :term:`gradient accumulation`. The :term:`gradient` of a mean over :math:`N` rows is the
# sum of the rows' gradients, divided by :math:`N`. A sum can be taken piece by piece, over
# :term:`micro-batches <micro-batch>` :math:`B_1, B_2, \dots` that fit:
#
# .. math::
#
#    \nabla J = \frac{1}{N} \sum_k \sum_{i \in B_k} \nabla J_i
#
# Here for one layer and the squared error, as in tutorial 3:

Y = np.eye(10)[y]  # row i has its 1 at the digit of row i


def summed_gradient(W, rows):
    return 2 * x[rows].T @ (x[rows] @ W - Y[rows])


def accumulate(W, micro_batches):
    buffer = np.zeros_like(W)
    for rows in micro_batches:
        buffer += summed_gradient(W, rows)
    return buffer / sum(len(rows) for rows in micro_batches)


W, rows = rng.normal(0, 0.1, (64, 10)), np.arange(100)
micro_batches = np.split(rows, [33, 66, 99])  # of 33, 33, 33 rows, and 1
whole = accumulate(W, [rows])
means = np.mean([accumulate(W, [part]) for part in micro_batches], axis=0)
found = {"sums": accumulate(W, micro_batches), "means": means}
for way, g in found.items():
    error = np.linalg.norm(g - whole) / np.linalg.norm(whole)
    say(f"from {way}: {error:.0%} off")

# %%
# The mean of the micro-batches' means is wrong: there the last row, alone in its micro-batch,
# counts as much as 33 others together. So add up sums, and divide once, by the whole count.
#
# **Erratum E13.** The article goes on that this speeds training up and uses fewer computing
# resources. It saves memory. The arithmetic is the same, row by row, and so is the step.
#
# The library
# -----------
#
# The buffer is there already: ``backward`` adds to a parameter's ``grad``, until ``zero_grad``
# clears it. The argument of ``backward`` is a factor of the gradient, here :math:`1/N`:

layer = nn.Dense(64, 10, rng=rng, bias=False, dtype="float64")
layer.weight.data = W
for part in micro_batches:
    loss = ops.mse(layer(x[part]), Y[part], reduction="sum")
    loss.backward(1 / len(rows))
np.testing.assert_allclose(layer.weight.grad, whole, rtol=1e-12)


def accumulated(pieces):  # the same for all rows and layers
    optimizer.zero_grad()
    for part in np.array_split(np.arange(N), pieces):
        loss = ops.cross_entropy(model(x[part]), y[part], reduction="sum")
        loss.backward(1 / N)


say(f"in 4 micro-batches it needs {peak(accumulated, 4):.0f} MiB")
g = optimizer.arenas[0].grad.copy()  # of all weights, as one long array
whole_batch()
np.testing.assert_allclose(g, optimizer.arenas[0].grad, rtol=1e-9, atol=1e-12)

# %%
# The picture
# -----------
#
# Memory falls as the micro-batches shrink. Time may fall a little, too, where their arrays fit into
# the processor's fast memory (its cache). Then it rises: each piece has its own overhead.

pieces = [1, 2, 4, 8, 16, 32, 64, 128]
memory = [peak(accumulated, k) for k in pieces]
times = [min(timeit.repeat(partial(accumulated, k), number=1)) for k in pieces]
figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained",
    num="Left: the memory of a step falls from 12 MiB for the whole batch to below "
    "1 MiB for 128 micro-batches. Right: its time, longest where they are many.",
)  # fmt: skip
left.loglog(pieces, memory, "o-", color="#0072B2", base=2)
left.axhline(4, color="#D55E00", ls="--", label="4 MiB")
left.set(ylabel="memory of a step (MiB)")
left.set_yticks([0.5, 1, 2, 4, 8], [0.5, 1, 2, 4, 8])
left.legend()
right.semilogx(pieces, 1e3 * np.array(times), "o-", color="#009E73", base=2)
right.set(ylabel="time of a step (ms)", ylim=(0, None))
for axes in (left, right):
    axes.set(xlabel="micro-batches")
    axes.set_xticks(pieces, pieces)
if comm.rank == 0:
    plt.show()

# %%
# Proof
# -----
#
# Any number of rows, in any number of micro-batches, gives the gradient of the whole batch:
#
# .. property-test:: tests/documents/test_d3.py::test_a7_gradient_accumulation
#
# On many ranks
# -------------
#
# Processes (:term:`ranks <rank>`) that share a batch divide the same sum once more. ``split`` cuts
# 101 rows into micro-batches, and of each a rank takes its share. ``run`` is the loop above:

loader = DataLoader(x, y, batch_size=101, rank=comm.rank, size=comm.size)
batch = next(loader.epoch(0))
optimizer.zero_grad()
ops.cross_entropy(model(x[batch.rows]), y[batch.rows]).backward()
alone = optim.global_norm(optimizer.arenas)


def summed_loss(outputs, part):
    return ops.cross_entropy(outputs, part.y, reduction="sum")


parallel, parts = DataParallel(model, optimizer, comm), batch.split(4)
parallel.run(parts, summed_loss, 1 / batch.total)
counts = [part.count for part in parts]
say(*comm.all_gather_text(f"rank {comm.rank}: {counts} rows;"))
together = optim.global_norm(optimizer.arenas)
say(f"norm of the gradient: {together:.6f}, in one piece: {alone:.6f}")

# %%
# On two ranks:
#
# .. recorded:: tutorials/recorded/08.txt
#
# The shares are uneven, and the gradient is that of one piece, since all divide by 101. It is sent
# once, after the last micro-batch, not four times.
#
# Three misconceptions
# --------------------
#
# * *"Clip in the loop, to be safe."* Then what came first is shortened again and again. With all
#   rows in 8 micro-batches and :doc:`clipping <06_gradient_clipping>` to 0.1 after each, the
#   gradient is turned by 15 degrees. Clip once, after the last.
# * *"A larger batch trains faster."* Ten passes over the rows, at the same rate of 0.1, in batches
#   of 32, are 450 steps, and 96% of the test digits are right. In batches of all 1,437 they are 10
#   steps: 61%.
# * *"It is the same for any model."* Only where rows do not meet. :term:`Batch normalisation
#   <batch normalisation>` takes the mean of those it sees: in both hidden layers, it makes the
#   gradient of 128 rows in 8 micro-batches differ by 39%.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/08.py``; ``minigrad check 8`` looks at them.
#
# 1. ``from_means``: the whole batch's gradient, where each micro-batch has given a mean.
# 2. ``accumulate``: the loop, for any gradient and any batch.
# 3. ``fewest_pieces``: how many micro-batches does a batch need to fit into the memory?
#
# Words: :term:`gradient accumulation` · :term:`micro-batch` · :term:`activation` · :term:`batch`
