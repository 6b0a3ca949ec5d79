r"""
2. Backpropagation
==================

Articles: A1, E15

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * how one pass backward gives every gradient at once
      * why the gradients of a value that is used twice add up
      * why the order of the way back matters

   .. grid-item-card:: You need

      * :doc:`tutorial 1 <01_gradient_descent>`
      * the chain rule

The problem
-----------

Gradient descent needs the slope of the loss for each :term:`parameter`. One can measure it: move
the parameter a little up, a little down, and look at the loss. This network has two
:term:`layers <layer>`, each a matrix and a :term:`bias` (numbers that are added), and guesses the
digit in a picture of 64 pixels:
"""

import matplotlib.pyplot as plt
import numpy as np

import minigrad as mg
from minigrad import nn, ops
from minigrad.data import load

digits = load("digits", dtype="float64")
images, labels = digits.x_train[:32], digits.y_train[:32]
rng = np.random.default_rng(0)
first, second = (nn.Dense(*n, rng=rng, dtype="float64") for n in ((64, 32), (32, 10)))
model = nn.Sequential(first, nn.Tanh(), second)


def loss():
    return ops.cross_entropy(model(images), labels)  # small when the guesses are right


def slope(numbers, i, h=1e-5):
    ends = []
    for move in (h, -2 * h):
        numbers[i] += move
        ends.append(loss().item())
    numbers[i] += h
    return (ends[0] - ends[1]) / (2 * h)


slopes = [slope(p.data.ravel(), i) for p in model.parameters() for i in range(p.size)]
print(f"{2 * len(slopes):,} times through the network for the slopes of one step")

# %%
# The formula
# -----------
#
# Two passes are enough. D1 §3.2:
#
# .. article:: A1
#
#    前向传播：将输入数据通过神经网络中的各个层进行传播，得到输出。
#
#    后向传播：从输出层向后传播错误信息，计算每个参数的梯度。
#
# **Erratum E15.** The sentence before it has the input go "from the output layer forward". It
# enters at the input layer; only the way back begins at the output.
#
# What travels back is the slope of the loss, :math:`\bar v = \partial J / \partial v`, for each
# value :math:`v` that the :term:`forward pass` has computed. If :math:`v` was used for the values
# :math:`u`, the :term:`chain rule` says
#
# .. math::
#
#    \bar v = \sum_u \bar u \, \frac{\partial u}{\partial v}, \qquad \bar J = 1.
#
# So each value remembers what it was made from, and the slope :math:`\partial u / \partial v`.


class Value:
    def __init__(self, data, made_from=()):
        self.data, self.made_from, self.grad = data, made_from, 0.0

    def __sub__(self, v):
        return Value(self.data - v.data, [(self, 1.0), (v, -1.0)])

    def __mul__(self, v):
        return Value(self.data * v.data, [(self, v.data), (v, self.data)])


def tanh(v):
    u = np.tanh(v.data)
    return Value(u, [(v, 1 - u * u)])


def order(u, found):
    for v, _ in u.made_from:
        if v not in found:
            order(v, found)
    found.append(u)  # after all that it was made from
    return found


def backward(J):
    J.grad = 1.0
    for u in reversed(order(J, [])):
        for v, slope in u.made_from:
            v.grad += u.grad * slope


def run(x, w, y, tanh):
    m = w * x
    h = tanh(m)
    p = w * h
    d = p - y  # how far p is from y
    return d * d


by_hand = Value(0.8)
backward(run(Value(1.5), by_hand, Value(1.0), tanh))
print(f"gradient of w: {by_hand.grad:.4f}")

# %%
# Here ``w`` is used twice, and so is ``d``: ``+=`` is the sum in the formula. ``order`` lists every
# value after those it was made from, which is called :term:`topological order`. Walked in
# reverse, it lets no value hand on its gradient before all parts of it have arrived.
#
# The library
# -----------
#
# minigrad does the same with arrays, where a value stands for many numbers:

x, y = mg.Tensor(1.5, dtype="float64"), mg.Tensor(1.0, dtype="float64")
w = mg.Tensor(0.8, dtype="float64", requires_grad=True)
J = run(x, w, y, ops.tanh)
story = mg.explain(J)  # keeps every number, for the picture
J.backward()
np.testing.assert_allclose(w.grad, by_hand.grad, rtol=1e-12)

loss().backward()  # one pass forward, one backward
gradients = np.concatenate([p.grad.ravel() for p in model.parameters()])
np.testing.assert_allclose(gradients, slopes, rtol=1e-5, atol=1e-9)

# %%
# The picture
# -----------
#
# The :term:`computational graph` of ``run``. Black: the way forward and the values. Orange: what is
# handed back, and beside each value the sum of what it got.

nodes = [
    ("w", 2, 1.2), ("x", 0, 0), ("m = w·x", 1, 0), ("h = tanh m", 2, 0),
    ("p = w·h", 3, 0), ("y", 4, 1.2), ("d = p − y", 4, 0), ("J = d·d", 5, 0),
]  # fmt: skip
figure, axis = plt.subplots(
    figsize=(9, 3.8), layout="constrained",
    num="The graph from x to J, with value and gradient at each node. J hands −0.33 to "
    "d twice, which makes −0.67; w gets −0.24 from m and −0.56 from p, together −0.80.",
)  # fmt: skip
place = {v: np.array(node[1:]) for v, node in zip(story.vertices, nodes)}
arrow = {"arrowstyle": "-|>", "shrinkA": 27, "shrinkB": 27, "color": "black"}
orange = {"color": "#D55E00", "ha": "center", "va": "center"}
for u, (name, across, up) in zip(story.vertices, nodes):
    axis.plot(across, up, "o", markersize=50, markerfacecolor="none", color="#666666")
    axis.text(across, up + 0.3 if up else -0.44, name, ha="center", weight="bold")
    axis.text(across, up, f"{u.value:.2f}", ha="center")
    if u.gradient is not None:
        axis.text(across, up - 0.1, f"{u.gradient:.2f}", **orange)
    for argument in u.arguments:
        axis.annotate("", place[u], place[argument.vertex], arrowprops=arrow)
    for i, sent in enumerate(u.sent):
        bend = 0.9 if i and sent.target is u.sent[0].target else 0.4  # both are seen
        way = place[sent.target] - place[u]
        curve = arrow | {"connectionstyle": f"arc3,rad={-bend}", "color": "#D55E00"}
        axis.annotate("", place[sent.target], place[u], arrowprops=curve)
        middle = place[u] + way / 2 + bend / 2 * np.array([-way[1], way[0]])
        axis.text(*middle, f"{sent.value:.2f}", backgroundcolor="white", **orange)
axis.set(xlim=(-0.4, 5.4), ylim=(-0.65, 1.7), aspect="equal")
axis.axis("off")
plt.show()

# %%
# Proof
# -----
#
# In a network of any depth, one way back gives what moving each parameter shows:
#
# .. property-test:: tests/documents/test_d1.py::test_a1_every_parameter_gets_its_slope
#
# Three misconceptions
# --------------------
#
# * *"backward computes the gradient."* It adds to the one that is there, since parts add up. After
#   a second forward pass and a second ``backward``, ``w.grad`` is −1.60. Hence ``zero_grad``.
#   ``backward`` alone, a second time, raises an error: what it needs has been freed.
# * *"The order does not matter, as sums commute."* If each part were handed on as it arrives,
#   every path would be walked: after 20 times ``v = v + v`` there are 1,048,576 paths through 21
#   values.
# * *"A gradient has the shape of the result."* It has the parameter's. One bias of 10 numbers is
#   added to 32 rows (:term:`broadcasting`), so it was used 32 times: its gradient is the sum of 32
#   rows.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/02.py``; ``minigrad check 2`` looks at them.
#
# 1. ``tanh_rule``: what tanh hands back, from its output alone.
# 2. ``dense_rules``: what :math:`XW + b` hands back to :math:`X`, :math:`W` and :math:`b`.
# 3. ``topological_order``: an order for graphs deeper than Python's recursion goes.
#
# Words: :term:`backpropagation` · :term:`forward pass` · :term:`chain rule` ·
# :term:`computational graph` · :term:`topological order` · :term:`broadcasting`
