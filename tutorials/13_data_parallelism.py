r"""
13. Data parallelism
====================

Articles: A3, A4, E11, E17

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * how N processes train exactly what one process trains
      * what is added up, and what it is divided by
      * why sending can hide behind computing

   .. grid-item-card:: You need

      * :doc:`tutorial 3 <03_mini_batches>`, and Adam from :doc:`tutorial 5 <05_adam>`
      * no GPU, and no second machine

The problem
-----------

A :term:`rank` is one of several processes of a job. The ranks share the rows of a batch; each finds
the mean :term:`gradient` of its own rows, and the mean of these means should be that of all rows:
"""

import time
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

from minigrad import distributed as dist
from minigrad import nn, ops, optim
from minigrad.data import DataLoader, load
from minigrad.testing import run_ranks

comm = dist.world()  # of the ranks that mpirun has started; without it there is one


def on_ranks(f, ranks=2):
    """f(comm) on all ranks, those of mpirun or else threads; what it gives on rank 0."""
    return f(comm) if comm.size > 1 else run_ranks(ranks, f)[0]


def say(*words):
    if comm.rank == 0:
        print(*words)


data = load("digits", dtype="float64")
X, labels = data.x_train, data.y_train
Y, W = np.eye(10)[labels], np.random.default_rng(0).normal(size=(64, 10))


def errors(rows):
    """The gradient of the squared errors of XW, added up over these rows."""
    return 2 * X[rows].T @ (X[rows] @ W - Y[rows])


def mean_of_means(comm, n=5):
    rows = np.array_split(np.arange(n), comm.size)[comm.rank]
    g = errors(rows) / len(rows)
    comm.all_reduce(g)  # in place: now every rank has the sum over the ranks
    return g / comm.size


true = errors(np.arange(5)) / 5
off = np.linalg.norm(on_ranks(mean_of_means) - true) / np.linalg.norm(true)
say(f"the mean of means over 5 rows is off by {off:.0%}")

# %%
# Five rows cannot be shared equally. A row on a rank with fewer rows counts more.
#
# The formula
# -----------
#
# .. article:: A4
#
#    它将大模型的输入数据拆分为多个部分，然后在多个计算节点上并行处理。
#
# **Erratum E11.** D3 §3.1.1 says that distributed training splits the model. Data parallelism does
# not: each rank has a copy, a :term:`replica`. **Erratum E17.** D0 promises a program and has none;
# here it is. Each of :math:`N` ranks adds up the gradients of the losses :math:`\ell_i` of its
# rows :math:`R_r`, an :term:`all-reduce` adds up over the ranks, and the division comes once, by
# the number :math:`n` of all rows:
#
# .. math::
#
#    \nabla J = \frac{1}{n} \sum_{r=1}^{N} \; \sum_{i \in R_r} \nabla \ell_i


def shared_gradient(comm, n=5):
    rows = np.array_split(np.arange(n), comm.size)[comm.rank]
    g = errors(rows)
    comm.all_reduce(g)
    return g / n


np.testing.assert_allclose(on_ranks(shared_gradient), true, rtol=1e-12)

# %%
# The library
# -----------
#
# ``DataParallel`` does so for a whole model, with any optimizer. The loader deals each batch out,
# ``run`` adds up the losses of this rank's part, from its outputs ``y``, and goes back with
# ``1 / part.total``, which divides by the rows of all ranks. ``how`` takes other ways to send.


def train(comm, sizes=(64, 32, 10), batch_size=50, steps=20, **how):
    rng = np.random.default_rng(0)
    layers = [nn.Dense(i, o, rng=rng, dtype="float64") for i, o in pairwise(sizes)]
    model = nn.Sequential(layers[0], nn.Tanh(), layers[1])
    parallel = dist.DataParallel(model, optim.Adam(model, lr=0.01), comm, **how)
    rows, ends = np.arange(steps * batch_size) % len(X), []
    for part in DataLoader(X[rows], labels[rows], batch_size=batch_size,
                           rank=comm.rank, size=comm.size).epoch(0):  # fmt: skip
        parallel.run([part], lambda y, p: ops.cross_entropy(y, p.y, reduction="sum"),
                     1 / part.total)  # fmt: skip
        parallel.step()
        ends.append(time.perf_counter())
    return layers[0].weight.data, min(np.diff(ends))


alone = train(dist.SerialCommunicator())[0]
np.testing.assert_allclose(on_ranks(train)[0], alone, rtol=1e-9, atol=1e-12)
say(f"20 steps of Adam: sum of the weights {alone.sum():.6f}, the same on all numbers of ranks")

# %%
# D4 §3.3 has another way, with parameters in place of gradients:
#
# .. article:: A3
#
#    初始化模型参数
#
#    将数据分布到多个设备上
#
#    在每个设备上进行模型训练
#
#    将模型参数聚合到主设备上
#
#    更新模型参数
#
#    重复上述步骤，直到收敛
#
# For SGD the mean of the ranks' steps is the step of the mean gradient. For Adam, which divides, it
# is not:

averaged = on_ranks(lambda comm: train(comm, reducer=dist.ParameterServer()))[0]
say(f"weights averaged by a main device: up to {np.abs(averaged - alone).max():.3f} off")

# %%
# The picture
# -----------
#
# Left, three ways to the same sums: one all-reduce for each parameter, one for all, and in
# :term:`buckets <gradient bucket>` that are sent while backward is still busy. Orange is waiting.
# Right, the time of the quickest step on one rank over that on N, in buckets. Here ranks are
# threads, which send so quickly that buckets gain little or nothing.


def timeline(comm, reducer):
    trace = dist.Trace(comm)
    train(trace.wrap(comm), (64, 1024, 10), 256, 40, reducer=reducer(), trace=trace)
    return trace.events


if comm.size == 1:
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=(3, 2),
        num="Left: what a rank does in one step, for three ways to send: naive and flat "
        "wait while they send, buckets are sent while backward computes. Right: the "
        "speed-up by the number of ranks; the measured one is below the ideal one.",
    )  # fmt: skip
    fill = {"forward": "#56B4E9", "backward": "#0072B2", "update": "#009E73",
            "waiting": "#D55E00", "communication": "#F0E442"}  # fmt: skip
    ways = {"naive": dist.Naive, "flat": dist.Flat, "buckets": lambda: dist.Bucketed(1 << 18)}
    with threadpool_limits(1):
        seconds = [run_ranks(n, lambda comm: train(comm, (64, 1024, 10), 256, 40)[1])[0]
                   for n in (4, 1, 2, 4)][1:]  # the first warms up  # fmt: skip
        for place, reducer in enumerate(ways.values()):
            events = on_ranks(lambda comm, reducer=reducer: timeline(comm, reducer))
            starts = [event.began for event in events if event.name == "forward"]
            quickest = np.argmin(np.diff(starts))
            begin, end = starts[quickest], starts[quickest + 1]
            for event in sorted(events, key=lambda e: e.track != "compute"):  # waits on top
                if begin <= event.began < end:
                    what = event.name if event.track == "compute" else event.track
                    left.barh(place + 0.4 * (what == "communication"), color=fill[what],
                              width=(event.ended - event.began) / 1e6, height=0.35,
                              left=(event.began - begin) / 1e6)  # fmt: skip
    left.set(xlabel="time (ms)", yticks=[0.2, 1.2, 2.2], yticklabels=ways)
    left.invert_yaxis()
    patches = [plt.Rectangle((0, 0), 1, 1, color=c) for c in fill.values()]
    figure.legend(patches, fill, loc="outside upper left", ncols=5, frameon=False)
    right.plot((1, 2, 4), (1, 2, 4), ":", color="#666666", label="ideal")
    right.plot((1, 2, 4), seconds[0] / np.array(seconds), "o-", color="#0072B2", label="measured")
    right.set(xlabel="ranks", ylabel="speed-up", xticks=(1, 2, 4), ylim=(0, None))
    right.legend()
    plt.show()

# %%
# Proof
# -----
#
# Any number of ranks and rows, against the formula of the gradient:
#
# .. property-test:: tests/documents/test_d3.py::test_a4_data_parallelism
#
# On many ranks
# -------------
#
# The same file on two processes; only rank 0 prints:
#
# .. recorded:: tutorials/recorded/13.txt
#
# The weights are those of one process, to the last digit shown.
#
# Three misconceptions
# --------------------
#
# * *"N ranks are N times as fast."* Each computes an N-th, but all send the whole gradient. The
#   picture says what is left.
# * *"With N ranks η must be N times as large."* Not here: the batch is the same 50 rows, shared. It
#   is a larger batch that may bear a larger step.
# * *"Each rank may draw its own weights."* Then the sum is of gradients at different places.
#   Copies must begin equal: ``DataParallel`` sends those of rank 0 to all.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/13.py``; ``minigrad check 13`` looks at them.
#
# 1. ``rows_of``: which rows a rank has.
# 2. ``mean_of_all``: the mean over all rows, from the ranks' means.
# 3. ``ring_seconds``: how long an all-reduce along a ring takes.
#
# Words: :term:`data parallelism` · :term:`rank` · :term:`replica` · :term:`all-reduce` ·
# :term:`gradient bucket` · :term:`parameter server`
