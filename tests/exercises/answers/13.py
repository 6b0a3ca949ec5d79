"""Right answers to tutorial 13, and below each a wrong one that a learner may well write."""


def rows_of(n, rank, size):
    each, more = divmod(n, size)
    first = rank * each + min(rank, more)
    return first, first + each + (rank < more)


def rows_of_wrong(n, rank, size):
    each = n // size
    return rank * each, (rank + 1) * each


def mean_of_all(means, counts):
    return sum(m * c for m, c in zip(means, counts) if c) / sum(counts)


def mean_of_all_wrong(means, counts):
    return sum(m for m, c in zip(means, counts) if c) / sum(c > 0 for c in counts)


def ring_seconds(nbytes, ranks, latency, bandwidth):
    return 2 * (ranks - 1) * (latency + nbytes / ranks / bandwidth)


def ring_seconds_wrong(nbytes, ranks, latency, bandwidth):
    return 2 * (ranks - 1) * (latency + nbytes / bandwidth)
