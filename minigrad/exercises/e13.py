"""Exercises of tutorial 13, data parallelism (A4)."""

from __future__ import annotations

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, returned

__all__ = ["mean_of_all", "ring_seconds", "rows_of"]


@exercise(
    hints_en=(
        "divmod(n, size): what each rank has, and how many ranks have one more.",
        "Before rank r stand r shares, and min(r, more) rows that are more.",
        "first = rank * each + min(rank, more); stop = first + each + (rank < more)",
    ),
    hints_zh=(
        "divmod(n, size)：每个进程的行数，以及有多少个进程多一行。",
        "进程 r 之前有 r 份，外加 min(r, more) 行。",
        "first = rank * each + min(rank, more)；stop = first + each + (rank < more)",
    ),
)
def rows_of(answer: Answer, rng: np.random.Generator) -> None:
    for n, size in ((8, 4), (10, 4), (3, 4), (11, 3)):
        shares = np.array_split(np.arange(n), size)
        for rank, rows in enumerate(shares):
            found = returned(answer(n, rank, size), "first, stop")
            agree(
                list(range(*map(int, found))),
                rows,
                f"of {n} rows on {size} ranks, those of rank {rank}",
                f"{n} 行分给 {size} 个进程时，进程 {rank} 的行",
            )


@exercise(
    hints_en=(
        "A mean times its count is a sum. Sums may be added up.",
        "Add up means[r] * counts[r], then divide once, by the number of all rows.",
        "Leave out ranks whose count is 0: not a number times 0 is not a number.",
    ),
    hints_zh=(
        "平均值乘以个数就是总和，而总和可以相加。",
        "把 means[r] * counts[r] 加起来，最后只除一次，除以总行数。",
        "跳过 counts 为 0 的进程：NaN 乘以 0 仍是 NaN。",
    ),
)
def mean_of_all(answer: Answer, rng: np.random.Generator) -> None:
    for counts in ([2, 2], [3, 1], [1, 4, 2], [2, 0, 1]):
        parts = [rng.normal(size=(count, 3)) for count in counts]
        means = [part.mean(axis=0) if len(part) else np.full(3, np.nan) for part in parts]
        agree(
            answer(means, list(counts)),
            np.concatenate(parts).mean(axis=0),
            f"the mean over ranks of {counts} rows",
            f"各进程有 {counts} 行时的平均值",
        )


@exercise(
    hints_en=(
        "How many rounds are there, and how many bytes has a piece?",
        "There are 2(N − 1) rounds; a piece has nbytes / N.",
        "2 * (ranks - 1) * (latency + nbytes / ranks / bandwidth)",
    ),
    hints_zh=(
        "一共有多少轮？每段有多少字节？",
        "共 2(N − 1) 轮，每段有 nbytes / N 字节。",
        "2 * (ranks - 1) * (latency + nbytes / ranks / bandwidth)",
    ),
)
def ring_seconds(answer: Answer, rng: np.random.Generator) -> None:
    for nbytes, ranks in ((1e6, 2), (1e6, 8), (64, 8), (4e9, 1)):
        rounds, piece = 2 * (ranks - 1), nbytes / ranks
        agree(
            answer(nbytes, ranks, 1e-5, 1e9),
            rounds * 1e-5 + rounds * piece * 1e-9,
            f"the time of {nbytes:g} bytes on {ranks} ranks, at 10 µs and 1 GB/s",
            f"{ranks} 个进程、{nbytes:g} 字节、10 µs 与 1 GB/s 时的时间",
        )
