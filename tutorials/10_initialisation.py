r"""
10. Initialisation
==================

Articles: A9

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * why a deep network may not learn at all
      * how to choose the size of the first weights
      * why they must be random, and the same on all processes

   .. grid-item-card:: You need

      * tutorials :doc:`2 <02_backpropagation>` and :doc:`5 <05_adam>`
      * variance

The problem
-----------

Before the first step the weights of a network need numbers: the :term:`initialisation`. Small
random ones seem safe. Here are 20 layers of 64 units, each the tanh of a weighted sum of the layer
before. The weights have mean 0 and :term:`standard deviation` :math:`\sigma = 0.01`:
"""

import matplotlib.pyplot as plt
import numpy as np

from minigrad import nn, ops, optim
from minigrad.data import DataLoader, load
from minigrad.distributed import world

comm = world()  # the processes that mpirun started, or this one alone
digits = load("digits", dtype="float64")
x, y = digits.x_train, digits.y_train


def say(*words):
    if comm.rank == 0:
        print(*words)


def normal(sigma):
    return lambda rng, shape, dtype: rng.normal(0, sigma, shape)


def network(init, activation, depth=20, seed=0):
    rng, layers = np.random.default_rng(seed), []
    for _ in range(depth):
        layers += [nn.Dense(64, 64, rng=rng, init=init, dtype="float64"), activation()]
    return nn.Sequential(*layers, nn.Dense(64, 10, rng=rng, init=init, dtype="float64"))


def right(model):
    found = model(digits.x_test).data.argmax(axis=1)
    return f"{(found == digits.y_test).mean():.0%} right"


def train(model, epochs=5):
    optimizer = optim.Adam(model, lr=0.001)
    for epoch in range(epochs):
        for batch in DataLoader(x, y, batch_size=32).epoch(epoch):
            optimizer.zero_grad()
            ops.cross_entropy(model(batch.x), batch.y).backward()
            optimizer.step()
    return right(model)


say("tanh, σ = 0.01:", train(network(normal(0.01), nn.Tanh)))

# %%
# With ten digits, this is guessing.
#
# The formula
# -----------
#
# Where training fails, article D4 §6.5 advises:
#
# .. article:: A9
#
#    可以尝试使用更好的初始化策略，如Xavier等，以提高训练成功率。
#
# Why does it help? A unit adds up :math:`n_{\text{in}}` products (its :term:`fan-in`),
# :math:`z = \sum_i w_i x_i`. The weights are independent, with mean 0 and :term:`variance`
# :math:`\sigma^2`, so the mean squares of the products add up:
#
# .. math::
#
#    \mathrm{E}[z^2] = n_{\text{in}} \sigma^2 \, \mathrm{E}[x^2]
#
# With 64 inputs and σ = 0.01 each layer multiplies the mean square by 0.0064. On the way back a
# gradient adds up :math:`n_{\text{out}}` products; its factor is :math:`n_{\text{out}} \sigma^2`.
# Both should be 1, and :term:`Xavier initialisation` is between. :term:`ReLU`,
# :math:`\max(z, 0)`, drops half of the mean square; :term:`He initialisation` makes up for it:
#
# .. math::
#
#    \sigma^2_{\text{Xavier}} = \frac{2}{n_{\text{in}} + n_{\text{out}}}, \qquad
#    \sigma^2_{\text{He}} = \frac{2}{n_{\text{in}}}


def xavier(rng, n_in, n_out):
    return np.sqrt(2 / (n_in + n_out)) * rng.standard_normal((n_in, n_out))


def he(rng, n_in, n_out):
    return np.sqrt(2 / n_in) * rng.standard_normal((n_in, n_out))


# %%
# The library
# -----------
#
# Both agree, and training works:

for name, formula in (("xavier_normal", xavier), ("he_normal", he)):
    layer = nn.Dense(64, 32, rng=np.random.default_rng(0), init=name, dtype="float64")
    W = formula(np.random.default_rng(0), 64, 32)
    np.testing.assert_allclose(layer.weight.data, W, rtol=1e-12)

say("tanh, Xavier:", train(network("xavier_normal", nn.Tanh)))
say("ReLU, Xavier:", train(network("xavier_normal", nn.ReLU)))
say("ReLU, He:    ", train(network("he_normal", nn.ReLU)))

# %%
# Must they be random? Here is one layer, first with all weights 0.1:

model = network(lambda rng, shape, dtype: np.full(shape, 0.1), nn.ReLU, depth=1)
told, W = train(model), model[0].weight.data.round(9)
say("equal weights:", told, "and different units:", np.unique(W, axis=1).shape[1])
say("random ones:  ", train(network("he_normal", nn.ReLU, depth=1)))

# %%
# The picture
# -----------
#
# What a layer gives are its :term:`activations <activation>`. Before training, with tanh:


def activations(init, activation):
    layers = [x]
    for layer in network(init, activation).layers[:-1]:
        layers.append(layer(layers[-1]).data)
    return layers[2::2]  # after tanh or ReLU


choices = {"σ = 0.01": normal(0.01), "Xavier": "xavier_normal", "σ = 1": normal(1.0)}
figure, panels = plt.subplots(
    1, 3, figsize=(9, 3.8), layout="constrained", sharey=True,
    num="Three stacks of 20 histograms, of the activations of each tanh layer. With "
    "σ = 0.01 all but the first are one spike at 0; with Xavier they stay spread, "
    "a little narrower with depth; with σ = 1 most are near −1 or 1.",
)  # fmt: skip
for panel, (name, init) in zip(panels, choices.items()):
    for k, h in enumerate(activations(init, nn.Tanh), 1):
        counts, edges = np.histogram(h, 60, (-1, 1))
        top = k - 1.6 * counts / counts.max()
        panel.fill_between(edges[1:], k, top, fc="#56B4E9", ec="#004C7A", lw=0.6, zorder=k)
    panel.set(title=name, xlabel="activation", yticks=[1, 5, 10, 15, 20])
panels[0].set(ylabel="layer", ylim=(20.5, -1))
if comm.rank == 0:
    plt.show()

# %%
# Too small, and nothing is left after a few layers. Too large, and most units are at an end of
# tanh, where it is flat: whatever comes in, they say −1 or 1. ReLU has no ends; its factor is
# :math:`64 \sigma^2 / 2` a layer:

choices["He"] = "he_normal"
factors = 64 / 2 * np.array([0.01**2, 1 / 64, 1, 2 / 64])
figure, panel = plt.subplots(
    figsize=(9, 3.8), layout="constrained",
    num="The mean square of the activations by layer, logarithmic, with ReLU. It falls to "
    "about 1e-51 for σ = 0.01 and rises to about 1e29 for σ = 1; it falls slowly with "
    "Xavier and hardly changes with He. Dots lie near the lines of the formula.",
)  # fmt: skip
for (name, init), factor, colour in zip(
    choices.items(), factors, ("#56B4E9", "#D55E00", "#999999", "#0072B2")
):
    squares = [np.mean(h**2) for h in activations(init, nn.ReLU)]
    panel.semilogy(range(1, 21), squares, "o", color=colour, label=name)
    panel.semilogy(range(21), np.mean(x**2) * factor ** np.arange(21), color=colour)
panel.set(xlabel="layer", ylabel="mean square of activations", xticks=[0, 5, 10, 15, 20])
panel.legend()
if comm.rank == 0:
    plt.show()

# %%
# Proof
# -----
#
# Xavier's weights keep signals and gradients through ten layers, small ones do not:
#
# .. property-test:: tests/documents/test_d4.py::test_a9_xavier_lets_signals_through
#
# On many ranks
# -------------
#
# Where processes (:term:`ranks <rank>`) share the work, each has a copy of the model, a
# :term:`replica`, and all step by the sum of their gradients. May each draw its own first weights?


def shared(seed, epochs=2):
    model = network("he_normal", nn.ReLU, seed=seed)
    optimizer = optim.Adam(model, lr=0.001)
    (arena,) = optimizer.arenas  # all weights, and all gradients, as one long array each
    loader = DataLoader(x, y, batch_size=32, rank=comm.rank, size=comm.size)
    for epoch in range(epochs):
        for batch in loader.epoch(epoch):
            optimizer.zero_grad()
            loss = ops.cross_entropy(model(batch.x), batch.y, reduction="sum")
            loss.backward(1 / batch.total)
            comm.all_reduce(arena.grad)
            optimizer.step()
    return f"rank {comm.rank}: {right(model)}, ‖W‖ = {np.linalg.norm(arena.data):.3f};"


say("seed 0 on all:", *comm.all_gather_text(shared(0)))
say("a seed each:  ", *comm.all_gather_text(shared(comm.rank)))

# %%
# On two ranks:
#
# .. recorded:: tutorials/recorded/10.txt
#
# The same :term:`seed <random seed>` gives the same weights, and equal steps keep them so. With a
# seed each there are two models, each moved by the other's gradients too. They learn, but less.
# ``DataParallel`` sends rank 0's weights to all before it starts.
#
# Three misconceptions
# --------------------
#
# * *"Zeros are neutral."* With zeros each tanh or ReLU is 0, and only the last bias learns:
#   10% right. Other equal weights make all units one, as above: what starts equal gets equal
#   gradients. Random numbers do the :term:`symmetry breaking`. Biases may be 0.
# * *"Xavier suits every network."* It is made for tanh. Through 20 layers of ReLU it halves the
#   mean square 20 times; five epochs end at 61%, not 89%.
# * *"Weights must be normally distributed."* The formula uses the variance alone. With uniform
#   numbers of Xavier's variance tanh comes to 90%.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/10.py``; ``minigrad check 10`` looks at them.
#
# 1. ``mean_square_ratio``: what a number of ReLU layers does to the mean square.
# 2. ``he_uniform``: He's variance with uniform numbers.
# 3. ``leaky_sigma``: the σ that keeps the mean square where negative numbers are only shrunk.
#
# Words: :term:`initialisation` · :term:`Xavier initialisation` · :term:`He initialisation` ·
# :term:`fan-in` · :term:`symmetry breaking` · :term:`replica`
