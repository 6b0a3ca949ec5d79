"""Exercises of tutorial 12, data preparation and metrics (A11, F8)."""

from __future__ import annotations

import numpy as np

from minigrad.distributed import Communicator
from minigrad.exercises.check import Answer, agree, exercise, refuse, require_that, returned
from minigrad.testing import run_ranks

__all__ = ["f1_of_all", "standardise", "threshold_for"]


@exercise(
    hints_en=(
        "What would you know of the test part on the day of training?",
        "Mean and deviation are those of train, axis=0, and both parts are scaled by them. What "
        "is the deviation of a constant column, and what may you divide by instead?",
        "sigma = train.std(axis=0); sigma[sigma == 0] = 1; mean = train.mean(axis=0); "
        "return (train - mean) / sigma, (test - mean) / sigma",
    ),
    hints_zh=(
        "训练的那一天，你对测试集知道些什么？",
        "均值和标准差都取自 train（axis=0），两部分都用它们缩放。"
        "常数列的标准差是多少？可以改用什么作除数？",
        "sigma = train.std(axis=0)；sigma[sigma == 0] = 1；mean = train.mean(axis=0)；"
        "return (train - mean) / sigma, (test - mean) / sigma",
    ),
)
def standardise(answer: Answer, rng: np.random.Generator) -> None:
    for rows in (5, 40):
        train, test = rng.normal(3, 2, size=(rows, 3)), rng.normal(1, 5, size=(4, 3))
        train[:, 2] = 5.0
        given = train.copy(), test.copy()
        with np.errstate(all="ignore"):
            found = returned(answer(*given), "train, test")
        require_that(
            np.array_equal(given[0], train) and np.array_equal(given[1], test),
            "the arrays that were given have changed: return new ones",
            "传入的数组被修改了：应返回新的数组",
        )
        mean, sigma = train.mean(axis=0), np.append(train[:, :2].std(axis=0), 1.0)
        both = np.concatenate([train, test])
        for part, got, name in zip((train, test), found, ("train", "test")):
            refuse(
                got,
                (part - both.mean(axis=0)) / both.std(axis=0),
                "mean and deviation were taken over both parts, so the test part leaks into "
                "training: take those of train",
                "均值和标准差取自两部分的全部数据，测试集因此泄漏到了训练中：应取 train 的",
            )
            refuse(
                got,
                (test - test.mean(axis=0)) / test.std(axis=0),
                "test was scaled by its own mean and deviation, so that equal rows of both parts "
                "become different: take those of train",
                "test 是用它自己的均值和标准差缩放的，两部分中相同的行会变得不同：应取 train 的",
            )
            agree(
                got,
                (part - mean) / sigma,
                f"{name} after scaling (its last column is constant in train, with deviation 0)",
                f"缩放后的 {name}（最后一列在 train 中是常数，标准差为 0）",
            )


@exercise(
    hints_en=(
        "Recall looks only at the rows with y = 1. How many of them have to be found?",
        "Of n positives at least wanted · n, rounded up. The threshold is the score of the last "
        "of these, the highest score first.",
        "s = np.sort(scores[y == 1])[::-1]; return s[int(np.ceil(wanted * len(s))) - 1]",
    ),
    hints_zh=(
        "召回率只看 y = 1 的行。其中需要找到多少行？",
        "n 个正例中至少要找到 wanted · n 个（向上取整）。"
        "把正例的分数从高到低排列，要找到的最后一个的分数就是阈值。",
        "s = np.sort(scores[y == 1])[::-1]；return s[int(np.ceil(wanted * len(s))) - 1]",
    ),
)
def threshold_for(answer: Answer, rng: np.random.Generator) -> None:
    cases = [
        (0.5, np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.6, 0.1])),
        (1.0, np.array([0, 1, 1, 0]), np.array([0.9, 0.7, 0.4, 0.2])),
    ]
    for wanted in (0.3, 0.61, 0.75, 0.95):
        y = np.append(rng.integers(0, 2, size=20), 1)
        cases.append((wanted, y, rng.uniform(size=21).round(2)))  # some scores are tied
    for wanted, y, scores in cases:
        at = answer(wanted, y.copy(), scores.copy())
        reached = [t for t in scores if np.mean(scores[y == 1] >= t) >= wanted]
        setting = f"wanted = {wanted} and {int(y.sum())} positives"
        setting_zh = f"wanted = {wanted}、有 {int(y.sum())} 个正例"
        if isinstance(at, float | np.floating):
            recall = float(np.mean(scores[y == 1] >= at))
            require_that(
                recall >= wanted,
                f"for {setting}: at the threshold {at:.3g} the recall is {recall:.3g}, too low",
                f"{setting_zh}时：在阈值 {at:.3g} 处召回率为 {recall:.3g}，太低",
            )
            require_that(
                at >= max(reached),
                f"for {setting}: the recall is {recall:.3g} at your threshold, {at:.3g}, but a "
                "higher one reaches what is wanted, too",
                f"{setting_zh}时：你的阈值 {at:.3g} 的召回率为 {recall:.3g}，"
                "但还有更高的阈值也能达到要求",
            )
        agree(at, max(reached), f"the threshold for {setting}", f"{setting_zh}时的阈值")


@exercise(
    hints_en=(
        "F1 is a fraction: 2/(1/P + 1/R) = 2·right / (predicted + actual). What of it adds up?",
        "Each rank counts: positives predicted rightly, those predicted, those that are. "
        "All-reduce an array of these counts, then divide once. Then comes 0/0.",
        "n = np.array([(y * predicted).sum(), y.sum() + predicted.sum()]); comm.all_reduce(n); "
        "return 2 * n[0] / n[1] if n[1] else 0.0",
    ),
    hints_zh=(
        "F1 是一个分数：2/(1/P + 1/R) = 2·正确数 / (预测数 + 实际数)。其中哪些数可以相加？",
        "每个进程计数：预测正确的正例、预测为正的行、实际为正的行。"
        "把这些计数放进数组做全归约，然后只除一次。最后考虑 0/0。",
        "n = np.array([(y * predicted).sum(), y.sum() + predicted.sum()])；comm.all_reduce(n)；"
        "return 2 * n[0] / n[1] if n[1] else 0.0",
    ),
)
def f1_of_all(answer: Answer, rng: np.random.Generator) -> None:
    for counts in ((8,), (3, 9), (7, 0, 12)):
        y = [rng.integers(0, 2, size=n) for n in counts]
        predicted = [
            np.where(rng.uniform(size=n) < 0.7, part, 1 - part) for n, part in zip(counts, y)
        ]
        found = _on_ranks(answer, y, predicted)
        own = np.array([_f1(*pair) for pair in zip(y, predicted)])
        right = _f1(np.concatenate(y), np.concatenate(predicted))
        shares = ", ".join(map(str, counts))
        for mean, en, zh in (
            (float(own.mean()), "the mean of the ranks' F1", "各进程 F1 的平均"),
            (float(own @ counts) / sum(counts), "a weighted mean of F1", "F1 的加权平均"),
        ):
            if abs(mean - right) < 1e-9:
                continue
            refuse(
                found[0],
                mean,
                f"with {shares} rows on the ranks: this is {en}, and F1 cannot be averaged; "
                "add up counts",
                f"各进程有 {shares} 行时：这是{zh}，而 F1 不能平均；应把计数相加",
            )
        for rank, got in enumerate(found):
            agree(
                got,
                right,
                f"F1 on rank {rank}, with {shares} rows on the ranks,",
                f"各进程有 {shares} 行时，进程 {rank} 上的 F1 ",
            )
    zeros = [np.zeros(3, int), np.zeros(2, int)]
    for got in _on_ranks(answer, zeros, zeros):
        agree(
            got,
            0.0,
            "F1 where nothing is positive or predicted so",
            "没有正例也没有预测为正时的 F1",
        )


def _f1(y: np.ndarray, predicted: np.ndarray) -> float:
    whole = int(y.sum() + predicted.sum())
    return 2 * int((y * predicted).sum()) / whole if whole else 0.0


def _on_ranks(answer: Answer, y: list[np.ndarray], predicted: list[np.ndarray]) -> list[float]:
    def work(comm: Communicator) -> float:
        with np.errstate(all="ignore"):
            found: float = answer(y[comm.rank].copy(), predicted[comm.rank].copy(), comm)
            return found

    return run_ranks(len(y), work)
