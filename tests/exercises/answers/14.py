"""Right answers to tutorial 14, and below each a wrong one that a learner may well write."""

import math


def by_columns_then_rows(W1, W2, rank, size):
    each = W1.shape[1] // size
    mine = slice(rank * each, (rank + 1) * each)
    return W1[:, mine], W2[mine]


def by_columns_then_rows_wrong(W1, W2, rank, size):
    rows, columns = W1.shape[0] // size, W2.shape[1] // size
    return W1[rank * rows : (rank + 1) * rows], W2[:, rank * columns : (rank + 1) * columns]


def micro_batches_needed(stages, share):
    m = 1
    while (stages - 1) / (m + stages - 1) > share:
        m += 1
    return m


def micro_batches_needed_wrong(stages, share):
    return max(1, math.ceil((stages - 1) / share))


def order_of_stage(stage, stages, micro_batches):
    ahead = min(micro_batches, stages - 1 - stage)
    order = [f"F{m}" for m in range(ahead)]
    for m in range(micro_batches - ahead):
        order += [f"F{m + ahead}", f"B{m}"]
    return order + [f"B{m}" for m in range(micro_batches - ahead, micro_batches)]


def order_of_stage_wrong(stage, stages, micro_batches):
    forward = [f"F{m}" for m in range(micro_batches)]
    return forward + [f"B{m}" for m in range(micro_batches)]
