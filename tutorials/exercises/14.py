"""Exercises of tutorial 14, model parallelism.

Replace each NotImplementedError, then: minigrad check 14
"""


def by_columns_then_rows(W1, W2, rank, size):
    """The parts of two weight matrices that a rank holds in tensor parallelism.

    W1: (inputs, hidden); W2: (hidden, outputs); size divides hidden; rank 0 has the first units.
    Returns the two parts.
    """
    raise NotImplementedError


def micro_batches_needed(stages, share):
    """The fewest micro-batches for which a pipeline of so many stages is idle for at most share.

    stages: 1 or more; share: above 0, below 1. Returns a whole number, 1 or more.
    """
    raise NotImplementedError


def order_of_stage(stage, stages, micro_batches):
    """What a stage does in 1F1B, in order: "F0" is the forward of micro-batch 0, "B0" its backward.

    The last stage goes back at once after each forward. Each stage before it sends one forward
    more ahead; then forward and backward alternate; then come the backwards that are left.
    Returns a list of words, for example ["F0", "F1", "B0", "F2", "B1", "B2"].
    """
    raise NotImplementedError
