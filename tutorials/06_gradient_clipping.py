r"""
6. Gradient clipping
====================

Articles: F4, E2

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * how one step can destroy a training, and how to bound it
      * why the printed formula turns the gradient, and what does not
      * where to clip when several processes share the work

   .. grid-item-card:: You need

      * tutorials :doc:`2 <02_backpropagation>` and :doc:`3 <03_mini_batches>`
      * the length of a vector

The problem
-----------

This network reads an image of a digit from top to bottom. At each of its eight rows it makes new
numbers ``h`` from the row and the old ``h``, always by the same weights ``U`` and ``W``, and puts 0
in place of those below 0 (``relu``). At the end ``V`` makes a score for each digit:
"""

import matplotlib.pyplot as plt
import numpy as np

from minigrad import nn, ops, optim
from minigrad.data import load
from minigrad.distributed import world

np.seterr(over="ignore", invalid="ignore")  # NaN is what we show
comm = world()  # the processes that mpirun started, or this one alone
digits = load("digits", dtype="float64")
x, y = digits.x_train, digits.y_train


def say(*words):
    if comm.rank == 0:
        print(*words)


def new_weights():
    rng = np.random.default_rng(0)
    U = rng.normal(0, 0.3, (8, 64))
    W = np.linalg.qr(rng.normal(size=(64, 64)))[0]  # h @ W is as long as h
    V = rng.normal(0, 0.1, (64, 10))
    return {n: nn.Parameter(a) for n, a in zip("UWV", (U, W, V))}


def mean_loss(theta, x, y):
    h = np.zeros((len(x), 64))
    for row in range(0, 64, 8):
        h = ops.relu(x[:, row : row + 8] @ theta["U"] + h @ theta["W"])
    return ops.cross_entropy(h @ theta["V"], y)


def train(look, steps=160):
    rng, theta, seen = np.random.default_rng(0), new_weights(), []
    optimizer = optim.SGD(theta, lr=1.0)
    for _ in range(steps):
        rows = rng.integers(0, len(x), 64)
        optimizer.zero_grad()
        mean_loss(theta, x[rows], y[rows]).backward()
        seen.append(look([p.grad for p in theta.values()]))
        optimizer.step()
    loss = mean_loss(theta, digits.x_test, digits.y_test)
    return np.array(seen), loss.item()


plain, loss = train(optim.global_norm)
say("norms, steps 38 to 45:", *(f"{n:.2g}" for n in plain[38:46]))
say("test loss at the end:", loss)

# %%
# For forty steps all is well, then five lose everything. The :term:`norm` of a gradient is its
# length. On its way back through the rows, :term:`backpropagation` multiplies by ``W`` each time.
# Once a step has made ``W`` stretch what it multiplies, the next gradient is longer, so is its
# step, and so on: an :term:`exploding gradient`.
#
# The formula
# -----------
#
# :term:`Gradient clipping <gradient clipping>` bounds the gradient before the step. Article D2
# §3.3 does it *by value*, bounding each number by itself:
#
# .. article:: F4
#
#    \nabla J(\theta_t) = \text{clip}(\nabla J(\theta_t), -\epsilon, \epsilon)
#
# Large numbers become :math:`\pm\epsilon`, small ones stay, so the arrow points elsewhere. To keep
# its direction, multiply all by one factor, :math:`\min(1, c/\|g\|)`. That is clipping *by norm*,
# and :math:`\|g\|` the :term:`global norm`: of the gradients of all weights, as one long vector.


def clip_by_value(g, epsilon):
    return np.clip(g, -epsilon, epsilon)  # as printed


def clip_by_norm(g, c):
    return g * np.minimum(1, c / np.linalg.norm(g))


def turned(g, by):  # how far clipping turns it, in degrees
    cosine = g @ by / np.linalg.norm(g) / np.linalg.norm(by)
    return np.degrees(np.arccos(min(cosine, 1)))


g, tiny = np.array([10.0, 1.0]), np.array([1e-8, 1e-9])
for by in (clip_by_value(g, 1), clip_by_norm(g, 1), clip_by_norm(tiny, 1)):
    say(by.round(12), f"turned by {turned(g, by):.0f} degrees")

# %%
# **Erratum E2.** The article says that clipping also avoids :term:`vanishing gradients <vanishing
# gradient>`. It bounds from above only: the last one is as small as before.
#
# The library
# -----------
#
# It clips in place, and divides by ‖g‖ + 10⁻⁶, as PyTorch does:


def gradient(rows, share=1.0):
    theta = new_weights()
    mean_loss(theta, x[rows], y[rows]).backward(share)
    return np.concatenate([p.grad.ravel() for p in theta.values()])


g = gradient(np.arange(64))  # of all 5,248 weights
by_value, by_norm = g.copy(), g.copy()
optim.clip_by_value(by_value, 0.005)
norm = optim.clip_by_global_norm(by_norm, 0.5)
np.testing.assert_array_equal(by_value, clip_by_value(g, 0.005))
np.testing.assert_allclose(by_norm, clip_by_norm(g, 0.5), rtol=2e-6)
say(f"by value: turned by {turned(g, by_value):.0f} degrees")
say(f"by norm: by {turned(g, by_norm):.0f}, and {norm:.2f} became 0.50")

broken = np.array([3.0, np.nan, 4.0])
say("the formula:", clip_by_norm(broken, 1))
say("the library:", optim.clip_by_global_norm(broken, 1.0), "and", broken)

# %%
# By the formula one NaN ("not a number") makes all of them NaN. The library leaves the gradient as
# it is and returns the norm, NaN: look at it, and leave out the step.
#
# The picture
# -----------
#
# The same training, clipped to :math:`c = 2`:


def clip(gradients):
    before = optim.clip_by_global_norm(gradients, 2.0)
    return before, optim.global_norm(gradients)


norms, loss = train(clip)
say(f"{(norms[:, 0] > 2).sum()} of 160 steps clipped; test loss {loss:.2f}")

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=(1.6, 1),
    num="Left: the norm by step. Without clipping it leaves the picture at step 42; "
    "with it, the norm is up to 11 before and at most 2 after. Right: by value, "
    "gradients end in a square and turn; by norm, on a circle, not turned.",
)  # fmt: skip
left.semilogy(plain, color="#999999", label="without clipping")
left.semilogy(norms[:, 0], ".", color="#D55E00", label="before clipping")
left.semilogy(norms[:, 1], lw=1, color="#0072B2", label="after clipping")
left.set(xlabel="step t", ylabel="‖g‖", ylim=(0.2, 1e3))
left.legend(loc="upper right")
right.add_patch(plt.Rectangle((-1, -1), 2, 2, fill=False, ls=":", ec="#D55E00"))
right.add_patch(plt.Circle((0, 0), 1, fill=False, ls=":", ec="#0072B2"))
g = np.array([[2.4, 0.5], [1.9, 1.4], [0.7, 2.3]])
zeros = np.zeros((2, 3))
right.quiver(*zeros, *g.T, color="#BBBBBB", angles="xy", scale_units="xy", scale=1)
right.plot(*clip_by_value(g, 1).T, "s", color="#D55E00", label="by value, ε = 1")
by_norm = np.transpose([clip_by_norm(h, 1) for h in g])
right.plot(*by_norm, "o", color="#0072B2", label="by norm, c = 1")
right.set(xlabel="g₁", ylabel="g₂", xlim=(0, 2.6), ylim=(0, 2.6), aspect="equal")
right.legend(loc="upper right")
if comm.rank == 0:
    plt.show()

# %%
# Proof
# -----
#
# For any gradients and any :math:`c`: never longer than :math:`c`, never turned.
#
# .. property-test:: tests/documents/test_d2.py::test_f4_clipping_by_global_norm
#
# On many ranks
# -------------
#
# Here each process (a :term:`rank`) takes some of 16 rows, and an :term:`all-reduce` adds up
# their gradients. Should each clip its own before, or all clip the sum?

rows = np.arange(comm.rank, 16, comm.size)
g = gradient(rows, share=len(rows) / 16)
early = g.copy()
norm = optim.clip_by_global_norm(early, 0.5)
say(*comm.all_gather_text(f"rank {comm.rank}: norm {norm:.3f};"))
comm.all_reduce(early)
comm.all_reduce(g)
optim.clip_by_global_norm(g, 0.5)
say(f"clipped before the sum: norm {np.linalg.norm(early):.3f}")
say(f"clipped after the sum:  norm {np.linalg.norm(g):.3f}")

# %%
# Alone, both are the same. On two ranks:
#
# .. recorded:: tutorials/recorded/06.txt
#
# Clipped before the sum, the step is longer than allowed, and depends on how many ranks there are.
# So sum first, then clip: all ranks find the same norm, that of the whole gradient.
#
# Three misconceptions
# --------------------
#
# * *"Clipping is a smaller learning rate."* A smaller rate shortens every step. Clipping shortened
#   29 of 160 and left the others alone.
# * *"The smaller c, the safer."* With c = 0.01 the same 160 steps end at a loss of 1.89, where
#   guessing has 2.30: every step is too short.
# * *"Clipping repairs a NaN."* No factor makes a number of it. The step has to be left out.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/06.py``; ``minigrad check 6`` looks at them.
#
# 1. ``clip_by_norm``: the formula, for a gradient of zeros too.
# 2. ``clip_all``: several arrays with one norm, and nothing changed where that is not finite.
# 3. ``clip_my_part``: each rank holds a part of one long gradient. What has to be added up?
#
# Words: :term:`gradient clipping` · :term:`global norm` · :term:`exploding gradient` ·
# :term:`vanishing gradient` · :term:`all-reduce`
