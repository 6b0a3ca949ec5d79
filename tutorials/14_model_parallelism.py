r"""
14. Model parallelism
=====================

Articles: A5, E11

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * what to do with a model that does not fit on one device
      * how a layer is divided, and how layers are
      * how long a pipeline's stages wait, and what shortens it

   .. grid-item-card:: You need

      * :doc:`tutorial 13 <13_data_parallelism>`, and Adam from :doc:`tutorial 5 <05_adam>`
      * products of matrices

The problem
-----------

With Adam in float32 a :term:`parameter` takes 16 bytes: itself, its :term:`gradient`, two moments.
:term:`Data parallelism <data parallelism>` copies all of it to each device.
"""

import matplotlib.pyplot as plt
import numpy as np

from minigrad import distributed as dist
from minigrad import nn, ops
from minigrad.autograd import Tensor
from minigrad.distributed import pipeline
from minigrad.testing import run_ranks

comm = dist.world()  # of the ranks that mpirun has started; without it there is one


def on_ranks(f, ranks=2):
    """f(comm) on all ranks, those of mpirun or else threads; what it gives on rank 0."""
    return f(comm) if comm.size > 1 else run_ranks(ranks, f)[0]


def say(*words):
    if comm.rank == 0:
        print(*words)


for devices in (1, 2, 4):
    say(f"7e9 parameters on {devices} device(s): {7e9 * 16 / 1e9:.0f} GB on each if copied, "
        f"{7e9 * 16 / 1e9 / devices:.0f} GB if divided")  # fmt: skip

# %%
# A device of 80 GB holds no copy. It would hold a half.
#
# The formula
# -----------
#
# .. article:: A5
#
#    它将大模型的参数拆分为多个部分，然后在多个计算节点上并行更新。
#
# **Erratum E11.** D3 §3.1.1 calls this "distributed training" in general; it is only this kind.
# There are two ways to cut. :term:`Tensor parallelism <tensor parallelism>` cuts within a layer:
# the first matrix by columns, the second by rows. Each rank then has whole hidden units, for which
# any function :math:`f` can be computed without the others. With :math:`W^{(r)}` for the part of
# rank :math:`r`, one sum brings all together:
#
# .. math::
#
#    f(X W_1)\, W_2 = \sum_{r=1}^{N} f\left(X W_1^{(r)}\right) W_2^{(r)}

rng = np.random.default_rng(0)
X, W1, W2 = rng.normal(size=(8, 5)), rng.normal(size=(5, 8)), rng.normal(size=(8, 3))


def divided(comm):
    mine = np.array_split(np.arange(8), comm.size)[comm.rank]
    y = np.tanh(X @ W1[:, mine]) @ W2[mine]
    comm.all_reduce(y)
    return y


np.testing.assert_allclose(on_ranks(divided), np.tanh(X @ W1) @ W2, rtol=1e-12, atol=1e-12)

# %%
# The library
# -----------
#
# ``ParallelMLP`` is that, with its gradients:

up = nn.Dense(5, 8, rng=rng, activation="relu", dtype="float64")
down = nn.Dense(8, 3, rng=rng, dtype="float64")
(down(up(X)) ** 2).sum().backward()


def tensor_parallel(comm):
    part = dist.ParallelMLP.from_dense(up, down, comm)
    (part(Tensor(X)) ** 2).sum().backward()
    mine = np.array_split(np.arange(8), comm.size)[comm.rank]
    np.testing.assert_allclose(part.up.weight.grad, up.weight.grad[:, mine], rtol=1e-9)
    np.testing.assert_allclose(part.down.weight.grad, down.weight.grad[mine], rtol=1e-9)
    return part.up.weight.shape, comm.size


shape, ranks = on_ranks(tensor_parallel)
say(f"{ranks} ranks: rank 0 holds {shape} of the first weight (5, 8)")

# %%
# :term:`Pipeline parallelism <pipeline parallelism>` cuts between layers: rank 0 has the first
# ones and passes its outputs on. So that others have work meanwhile, the batch goes through in
# :math:`m` :term:`micro-batches <micro-batch>`. The share of time that :math:`p` stages still
# wait is the :term:`bubble <pipeline bubble>`:
#
# .. math::
#
#    \frac{p - 1}{m + p - 1}


def network():
    rng = np.random.default_rng(0)
    return nn.Sequential(*(nn.Dense(5, 5, rng=rng, activation="relu", dtype="float64")
                           for _ in range(4)))  # fmt: skip


whole = network()
(whole(X) ** 2).sum().backward()


def in_a_pipeline(comm):
    part = dist.Pipeline(network(), comm)
    part.run(
        np.split(X, 4),
        lambda m, y: ops.sum(y * y),
        backward=lambda tensor, g, last: tensor.backward(g),
    )
    wanted = whole.named_parameters()
    for name, p in part.named_parameters().items():  # those of this rank's layers
        np.testing.assert_allclose(p.grad, wanted[name].grad, rtol=1e-9, atol=1e-12)


on_ranks(in_a_pipeline)
for m in (1, 4, 16):
    schedule = pipeline.one_f_one_b(4, m)
    idle = pipeline.bubble(pipeline.simulate(schedule))
    np.testing.assert_allclose(idle, (4 - 1) / (m + 4 - 1))
    alive, all_of_them = (max(pipeline.peak_activations(make(4, m)))
                          for make in (pipeline.one_f_one_b, pipeline.gpipe))  # fmt: skip
    say(f"4 stages, {m:2} micro-batches: {idle:.0%} idle; kept for backward: {alive} of "
        f"{all_of_them}")  # fmt: skip

# %%
# The picture
# -----------
#
# A row is a stage, a box a micro-batch, light forward and dark backward, which takes twice as long.
# Above all micro-batches go forward first; below (*1F1B*) each goes back as soon as it can. The
# bubble is the same, but fewer wait to go back, and what waits takes memory.

if comm.rank == 0:
    figure, panels = plt.subplots(
        2, 1, figsize=(9, 4.2), layout="constrained", sharex=True,
        num="Two Gantt charts of 4 stages and 8 micro-batches. Above, GPipe: all go forward, "
        "then all back. Below, 1F1B: forward and backward alternate. Both end at once, and "
        "both have idle corners at the start and the end.",
    )  # fmt: skip
    for axes, name, make in zip(panels, ("GPipe", "1F1B"), (pipeline.gpipe, pipeline.one_f_one_b)):
        boxes = pipeline.simulate(make(4, 8))
        for stage, do, begin, end in boxes:
            ahead = do.kind == "forward"
            axes.barh(stage, end - begin, 0.9, begin, edgecolor="black", linewidth=0.5,
                      color="#56B4E9" if ahead else "#0072B2")  # fmt: skip
            axes.text((begin + end) / 2, stage, do.micro_batch, ha="center", va="center",
                      color="black" if ahead else "white")  # fmt: skip
        axes.set(ylabel="stage", yticks=range(4), ylim=(3.6, -0.6))
        kept = max(pipeline.peak_activations(make(4, 8)))
        axes.set_title(f"{name}: {pipeline.bubble(boxes):.0%} idle, {kept} kept", loc="left")
    axes.set_xlabel("time, in forwards of a micro-batch")
    plt.show()

# %%
# Proof
# -----
#
# Both ways to cut, against the gradients of two layers in NumPy:
#
# .. property-test:: tests/documents/test_d3.py::test_a5_tensor_parallelism
#
# .. property-test:: tests/documents/test_d3.py::test_a5_pipeline_parallelism
#
# On many ranks
# -------------
#
# On four processes a rank holds a quarter, and a layer of the pipeline:
#
# .. recorded:: tutorials/recorded/14.txt
#
# Three misconceptions
# --------------------
#
# * *"Two devices are twice as fast."* A pipeline with one micro-batch is as slow as one device: of
#   two stages one waits. Micro-batches make it worth while.
# * *"Any cut of a layer will do."* By rows first, the sum would be needed before :math:`f`, since
#   :math:`f(a + b)` is not :math:`f(a) + f(b)`: two sums in place of one.
# * *"1F1B has a smaller bubble than GPipe."* The same; of 16 micro-batches it keeps 4,
#   and GPipe all.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/14.py``; ``minigrad check 14`` looks at them.
#
# 1. ``by_columns_then_rows``: the parts of two matrices that a rank holds.
# 2. ``micro_batches_needed``: how many keep the bubble below a share.
# 3. ``order_of_stage``: what a stage does, in which order, in 1F1B.
#
# Words: :term:`model parallelism` · :term:`tensor parallelism` · :term:`pipeline parallelism` ·
# :term:`micro-batch` · :term:`pipeline bubble`
