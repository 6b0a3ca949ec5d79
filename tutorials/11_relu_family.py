r"""
11. The ReLU family
===================

Articles: A10, E2

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * why gradients vanish behind many sigmoids, and not behind ReLU
      * how a ReLU unit dies, and which relatives cannot
      * how a slope is learned

   .. grid-item-card:: You need

      * tutorials :doc:`2 <02_backpropagation>`, :doc:`5 <05_adam>`
        and :doc:`10 <10_initialisation>`
      * the chain rule

The problem
-----------

An :term:`activation function` bends what a layer gives; without it, many layers would be one
straight map. The classic is the :term:`sigmoid`, :math:`1/(1 + e^{-x})`. Here are 20 layers of it,
to tell two half-moons of 200 points each apart. We look at each layer's :term:`gradient`:
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from minigrad import Tensor, nn, ops, optim

x, y = make_moons(400, noise=0.15, random_state=0)


def network(activation, depth, width=16):
    rng, layers, n_in = np.random.default_rng(0), [], 2
    for _ in range(depth):
        dense = nn.Dense(n_in, width, rng=rng, init="he_normal", dtype="float64")
        layers, n_in = [*layers, dense, activation()], width
    return nn.Sequential(*layers, nn.Dense(width, 2, rng=rng, dtype="float64"))


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        ops.cross_entropy(model(x), y).backward()
        optimizer.step()
    return f"{(model(x).data.argmax(axis=1) == y).mean():.1%} right"


def norms(activation):  # the length of each hidden layer's gradient
    model = network(activation, 20)
    ops.cross_entropy(model(x), y).backward()
    return [np.linalg.norm(layer.weight.grad) for layer in model.layers[:-1:2]]


first, *_, last = norms(nn.Sigmoid)
print(f"gradient of layer 1: {first:.0e}, of layer 20: {last:.0e}")
model = network(nn.Sigmoid, 20)
print("after 200 steps:", train(model, optim.Adam(model, lr=0.002), 200))

# %%
# Of two classes half are right: this is guessing. On its way back through each layer a gradient is
# multiplied by the slope of the sigmoid, which is at most ¼. Twenty times that is a
# :term:`vanishing gradient`.
#
# **Erratum E2.** D2 §3.3 and D3 §3.2.1 say that clipping avoids it. But clipping bounds from above
# only and leaves small gradients as they are.
#
# The formula
# -----------
#
# D1 §6.2 has what helps, another function:
#
# .. article:: A10
#
#    我们可以尝试使用ReLU激活函数的变体，如Leaky ReLU或Parametric ReLU，以减少梯度消失的影响。
#
# :term:`ReLU` gives x where x is positive. Its slope there is 1, so what passes is not shortened.
# Elsewhere it gives 0. :term:`Leaky ReLU <leaky ReLU>` gives :math:`a x` there, with a small slope
# :math:`a`, :term:`parametric ReLU` (PReLU) learns this slope, and ELU is curved:
#
# .. math::
#
#    \text{Leaky}(x) = \text{PReLU}(x) = a x \quad (x \le 0)
#
#    \text{ELU}(x) = \alpha (e^x - 1) \quad (x \le 0)
#
# GELU is a curve everywhere:
#
# .. math::
#
#    \text{GELU}(x) = \frac{x}{2} (1 + \tanh u)
#
#    u = \sqrt{\frac{2}{\pi}} (x + 0.044715 x^3)

family = {
    "ReLU": lambda x: np.maximum(x, 0),
    "Leaky ReLU": lambda x, a=0.1: np.where(x > 0, x, a * x),
    "ELU": lambda x, alpha=1.0: np.where(x > 0, x, alpha * (np.exp(x) - 1)),
    "GELU": lambda x: x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
}

# %%
# The library
# -----------
#
# It has them as layers. Values and slopes agree, these with
# :term:`central differences <central difference>`:

layers = {
    "ReLU": nn.ReLU,
    "Leaky ReLU": lambda: nn.LeakyReLU(0.1),
    "ELU": nn.ELU,
    "GELU": nn.GELU,
}
s, h = np.linspace(-4, 4, 400), 1e-5  # without 0, where some have no slope
for name, f in family.items():
    t = Tensor(s, requires_grad=True)
    out = layers[name]()(t)
    out.backward(np.ones(400))
    np.testing.assert_allclose(out.data, f(s), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(t.grad, (f(s + h) - f(s - h)) / (2 * h), rtol=1e-7, atol=1e-9)

for name, layer in layers.items():
    model = network(layer, 20)
    print(f"{name}: {train(model, optim.Adam(model, lr=0.002), 200)}")

# %%
# The slope of PReLU is a :term:`parameter` like any other. Here, with one layer of 16 units:

model = network(lambda: nn.PReLU(dtype="float64"), 1)
told = train(model, optim.SGD(model, lr=0.5), 500)
print(f"PReLU: {told}; the slope went from 0.25 to {model[1].slope.item():.2f}")

# %%
# It became negative: this PReLU bends up on both sides, like :math:`|x|`.
#
# The picture
# -----------

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained",
    num="Left: ReLU, leaky ReLU, ELU and GELU; all rise for positive numbers and differ for "
    "negative ones. Right: the norm of each layer's gradient before training, "
    "logarithmic. For the sigmoid it falls to 2e-11 at layer 1; for the others it stays.",
)  # fmt: skip
colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
for (name, f), colour in zip(family.items(), colours):
    left.plot(s, f(s), color=colour, label=name)
    right.semilogy(range(1, 21), norms(layers[name]), ".-", color=colour, label=name)
right.semilogy(range(1, 21), norms(nn.Sigmoid), "k.-", label="sigmoid")
left.set(xlabel="x", ylabel="f(x)", xlim=(-3, 2), ylim=(-1.2, 2))
right.set(xlabel="layer", ylabel="norm of the gradient", xticks=[1, 5, 10, 15, 20])
left.legend()
right.legend()
plt.show()

# %%
# But a slope of 0 has its price. One layer of 16 ReLU units is enough for the moons. Now let the
# first 20 steps be too large, η = 10 in place of 0.5. They push many units to where the sum is
# negative for every point. Such a unit is a :term:`dead ReLU`: its gradient is 0, and no later step
# brings it back. Below, the darker the grey, the more units are on:

grid = np.stack(np.meshgrid(np.linspace(-1.8, 2.8, 200), np.linspace(-1.3, 1.8, 200)), axis=-1)
figure, panels = plt.subplots(
    1, 3, figsize=(9, 3.3), layout="constrained", sharey=True,
    num="Two half-moons, how many units are on at each place, and the border between the "
    "classes. With small steps many units share the plane; after large ones 12 of 16 ReLU "
    "units are dead and the border cuts both moons; with leaky ReLU it goes between them.",
)  # fmt: skip
for panel, (name, eta) in zip(panels, (("ReLU", 0.5), ("ReLU", 10), ("Leaky ReLU", 10))):
    model = network(layers[name], 1)
    train(model, optim.SGD(model, lr=eta), 20)
    told = train(model, optim.SGD(model, lr=0.5), 500)
    dead = int((model[0].weight.grad == 0).all(axis=0).sum())
    print(f"{name}, first η = {eta}: {dead} dead, {told}")
    on = (model[0](grid).data > 0).sum(axis=-1)
    panel.pcolormesh(*np.moveaxis(grid, -1, 0), on, cmap="Greys", vmin=0, vmax=24)
    difference = model(grid).data @ [-1, 1]
    panel.contour(*np.moveaxis(grid, -1, 0), difference, [0], colors="#009E73", linewidths=2)
    for label, colour in enumerate(("#0072B2", "#D55E00")):
        panel.plot(*x[y == label].T, ".", ms=3, color=colour)
    panel.set_title(f"{name}, first η = {eta}: {dead} dead", fontsize=10)
    panel.set(xlabel="x₁")
panels[0].set(ylabel="x₂")
plt.show()

# %%
# Off at a point is not dead: off at some points and on at others is how a unit bends the border.
#
# Proof
# -----
#
# From a weight of −1 ReLU never finds :math:`y = x`, its relatives do:
#
# .. property-test:: tests/documents/test_d1.py::test_a10_a_dead_unit_learns_again
#
# Three misconceptions
# --------------------
#
# * *"Adam divides by the gradient's size, so it repairs vanishing."* The first cell used Adam. Its
#   ε = 1e-8 is far above 2e-11, so layer 1 hardly moves. With ε = 1e-30 the same 200 steps come to
#   88.5%, with ReLU to 99.0%.
# * *"A unit that gives 0 is dead."* In the left panel no unit is dead, and on average one is off at
#   52% of the points.
# * *"The relatives are always better."* With small steps leaky ReLU and GELU come to 98.2%, ReLU to
#   98.8%. With large first steps and seeds 0 to 4, leaky ReLU wins three times and loses two. And
#   ELU and GELU can die, too: far to the left their slopes round to 0.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/11.py``; ``minigrad check 11`` looks at them.
#
# 1. ``dead_units``: which units of a layer are dead, given the data?
# 2. ``prelu_backward``: the gradients for the input of PReLU and for its slope.
# 3. ``dead_in_box``: which units are off at every point of a box, also those not in the data?
#
# Words: :term:`activation function` · :term:`sigmoid` · :term:`vanishing gradient` · :term:`ReLU` ·
# :term:`leaky ReLU` · :term:`dead ReLU`
