"""Exercises of tutorial 8, gradient accumulation (A7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, refuse, require_that

__all__ = ["accumulate", "fewest_pieces", "from_means"]


@exercise(
    hints_en=(
        "A mean over 33 rows should count 33 times as much as a mean over one.",
        "A mean times its count is a sum again. Sums can be added.",
        "sum(n * g for n, g in zip(counts, means)) / sum(counts)",
    ),
    hints_zh=(
        "33 行的平均值，分量应是一行的 33 倍。",
        "平均值乘以行数又变回总和，总和可以相加。",
        "sum(n * g for n, g in zip(counts, means)) / sum(counts)",
    ),
)
def from_means(answer: Answer, rng: np.random.Generator) -> None:
    for counts in ([2, 2], [33, 33, 33, 1], [int(n) for n in rng.integers(1, 9, size=5)]):
        rows = rng.normal(size=(sum(counts), 3))
        means = [part.mean(axis=0) for part in np.split(rows, np.cumsum(counts)[:-1])]
        found = answer([mean.copy() for mean in means], list(counts))
        _not_a_mean_of_means(found, means, rows.mean(axis=0))
        agree(
            found,
            rows.mean(axis=0),
            f"the gradient from micro-batches of {counts} rows",
            f"由行数为 {counts} 的微批次得到的梯度",
        )


def _not_a_mean_of_means(found: Any, means: list[np.ndarray], right: np.ndarray) -> None:
    wrong = np.mean(means, axis=0)
    if not np.allclose(wrong, right):
        refuse(
            found,
            wrong,
            "this is the mean of the micro-batches' means, where a row in a small one counts more",
            "这是各微批次平均值的平均值，其中小的微批次里的每一行分量偏大",
        )


@exercise(
    hints_en=(
        "Walk through the rows in strides of `most`. The last slice may be shorter.",
        "gradient gives means: multiply each by its rows, add up, divide once by N.",
        "for i in range(0, len(x), most): part = x[i : i + most]; "
        "total += len(part) * gradient(theta, part, y[i : i + most])",
    ),
    hints_zh=(
        "以 most 为步长遍历各行，最后一段可能更短。",
        "gradient 给出的是平均值：分别乘以行数，相加，最后只除一次 N。",
        "for i in range(0, len(x), most): part = x[i : i + most]；"
        "total += len(part) * gradient(theta, part, y[i : i + most])",
    ),
)
def accumulate(answer: Answer, rng: np.random.Generator) -> None:
    for rows, most in ((6, 3), (7, 3), (5, 1), (4, 9)):
        x, y, theta = rng.normal(size=(rows, 2)), rng.normal(size=rows), rng.normal(size=2)
        found = answer(_squared_error(most), theta.copy(), x.copy(), y.copy(), most)
        exact = _squared_error(rows)
        starts = range(0, rows, most)
        means = [exact(theta, x[i : i + most], y[i : i + most]) for i in starts]
        right = exact(theta, x, y)
        _not_a_mean_of_means(found, means, right)
        agree(
            found,
            right,
            f"the gradient of {rows} rows, at most {most} at a time,",
            f"{rows} 行、每次最多 {most} 行时的梯度",
        )


def _squared_error(most: int) -> Callable[..., np.ndarray]:
    def gradient(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        require_that(
            len(x) == len(y),
            f"gradient was given {len(x)} rows of x and {len(y)} of y",
            f"传给 gradient 的 x 有 {len(x)} 行，而 y 有 {len(y)} 行",
        )
        require_that(
            1 <= len(x) <= most,
            f"gradient was given {len(x)} rows: at least one, and at most {most} fit",
            f"传给 gradient 的有 {len(x)} 行：至少应有一行，最多只放得下 {most} 行",
        )
        return np.asarray(2 / len(x) * x.T @ (x @ theta - y))

    return gradient


@exercise(
    hints_en=(
        "First: how many rows fit at once? A row cannot be cut.",
        "That is (memory - fixed) // per_row. Then divide the rows by it, and round up.",
        "most = (memory - fixed) // per_row; return -(-rows // most)",
    ),
    hints_zh=(
        "先想：一次放得下多少行？一行不能再切开。",
        "放得下 (memory - fixed) // per_row 行。再用总行数除以它，向上取整。",
        "most = (memory - fixed) // per_row；return -(-rows // most)",
    ),
)
def fewest_pieces(answer: Answer, rng: np.random.Generator) -> None:
    cases = [(8, 2, 4, 12), (10, 3, 0, 8), (5, 1, 2, 100)]
    for per_row, fixed, room in rng.integers(1, 50, size=(20, 3)).tolist():
        cases.append((int(rng.integers(1, 99)), per_row, fixed, fixed + per_row + room))
    for rows, per_row, fixed, memory in cases:
        found = answer(rows, per_row, fixed, memory)
        fits = (k for k in range(1, rows + 1) if fixed + -(-rows // k) * per_row <= memory)
        setting = f"rows={rows}, per_row={per_row}, fixed={fixed}, memory={memory}"
        if isinstance(found, int | np.integer) and 1 <= found <= rows:
            largest = -(-rows // int(found))
            needs = fixed + largest * per_row
            require_that(
                needs <= memory,
                f"for {setting}: of {found} micro-batches the largest has {largest} rows, and "
                f"takes {needs} bytes",
                f"{setting} 时：分成 {found} 个微批次，最大的有 {largest} 行，占 {needs} 字节",
            )
        agree(found, next(fits), f"the answer for {setting}", f"{setting} 时的答案")
