"""Exercises of tutorial 3, mini-batches (F2)."""

from __future__ import annotations

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, require_that

__all__ = ["batch_gradient", "epoch", "rows_needed"]


@exercise(
    hints_en=(
        "Shuffle all row numbers once, then cut them into pieces.",
        "rng.permutation(count) is a shuffled array of 0 … count − 1.",
        "return [rows[i : i + batch_size] for i in range(0, count, batch_size)]",
    ),
    hints_zh=(
        "先把所有行号打乱一次，再切成小段。",
        "rng.permutation(count) 返回打乱后的 0 … count − 1。",
        "return [rows[i : i + batch_size] for i in range(0, count, batch_size)]",
    ),
)
def epoch(answer: Answer, rng: np.random.Generator) -> None:
    for count, size in ((12, 4), (10, 4), (3, 8)):
        batches = [np.asarray(rows) for rows in answer(count, size, rng)]
        given = f"count = {count}, batch_size = {size}"
        sizes = [len(rows) for rows in batches]
        expected = [size] * (count // size) + [count % size] * (count % size > 0)
        require_that(
            sizes == expected,
            f"for {given} the batches should have {expected} rows, and have {sizes}",
            f"{given} 时各批应有 {expected} 行，而答案是 {sizes}",
        )
        require_that(
            sorted(np.concatenate(batches)) == list(range(count)),
            f"for {given} each row should come exactly once: some come twice, others never",
            f"{given} 时每一行应恰好出现一次：现在有的重复，有的缺失",
        )
    first, second = (np.concatenate(list(answer(100, 10, rng))) for _ in range(2))
    require_that(
        list(first) != list(range(100)) and list(first) != list(second),
        "each epoch should have another random order, drawn from rng",
        "每一轮的顺序都应由 rng 重新随机产生",
    )
    seeded = (list(answer(100, 10, np.random.default_rng(1))) for _ in range(2))
    first, second = map(np.concatenate, seeded)
    require_that(
        list(first) == list(second),
        "the order should come from rng alone: two of the same seed gave two orders",
        "顺序应只由 rng 产生：种子相同的两个 rng 给出了两种顺序",
    )


@exercise(
    hints_en=(
        "It is the gradient of tutorial 1, with only the batch's rows.",
        "X[rows] and y[rows] are the batch. The mean is over the rows of the batch.",
        "2 / len(rows) * X[rows].T @ (X[rows] @ theta - y[rows])",
    ),
    hints_zh=(
        "它就是教程 1 中的梯度，只是仅用这一批的行。",
        "X[rows] 与 y[rows] 就是这一批；平均值按这一批的行数计算。",
        "2 / len(rows) * X[rows].T @ (X[rows] @ theta - y[rows])",
    ),
)
def batch_gradient(answer: Answer, rng: np.random.Generator) -> None:
    X, y, theta = rng.normal(size=(6, 3)), rng.normal(size=6), rng.normal(size=3)
    for rows in (np.arange(6), np.array([4]), np.array([5, 0])):
        errors = [2 * X[i] * (X[i] @ theta - y[i]) for i in rows]
        found = answer(X.copy(), y.copy(), theta.copy(), rows.copy())
        agree(
            found,
            np.mean(errors, axis=0),
            f"the gradient over rows {rows.tolist()} of 6",
            f"6 行中第 {rows.tolist()} 行上的梯度",
        )


@exercise(
    hints_en=(
        "Look at the left picture: what do four times the rows do to the error?",
        "The error of B rows is error_of_one / √B. Solve for B.",
        "Round up: math.ceil((error_of_one / error) ** 2), and at least 1.",
    ),
    hints_zh=(
        "看左图：行数变为四倍时，误差怎样变化？",
        "B 行的误差是 error_of_one / √B，由此解出 B。",
        "向上取整：math.ceil((error_of_one / error) ** 2)，且至少为 1。",
    ),
)
def rows_needed(answer: Answer, rng: np.random.Generator) -> None:
    for one, error, rows in ((8.0, 1.0, 64), (8.0, 2.5, 11), (1.0, 2.0, 1), (6.0, 0.5, 144)):
        agree(
            answer(one, error),
            rows,
            f"the batch size for an error of {error:g}, where one row has {one:g}",
            f"单行误差为 {one:g} 时，使误差不超过 {error:g} 的批大小",
        )
