"""Exercises of tutorial 6, gradient clipping (F4)."""

from __future__ import annotations

import math

import numpy as np

from minigrad.distributed import Communicator
from minigrad.exercises.check import Answer, agree, exercise, require_that
from minigrad.testing import run_ranks

__all__ = ["clip_all", "clip_by_norm", "clip_my_part"]


def _scale(norm: float, c: float) -> float:
    return c / norm if norm > c else 1.0


@exercise(
    hints_en=(
        "All numbers are multiplied by one factor, which is never above 1.",
        "The factor is c/‖g‖ where ‖g‖ > c, else 1. What is c/‖g‖ for a gradient of zeros?",
        "norm = np.linalg.norm(g); return g * (c / norm if norm > c else 1)",
    ),
    hints_zh=(
        "所有数都乘以同一个因子，这个因子从不大于 1。",
        "‖g‖ > c 时因子为 c/‖g‖，否则为 1。梯度全为零时，c/‖g‖ 等于什么？",
        "norm = np.linalg.norm(g)；return g * (c / norm if norm > c else 1)",
    ),
)
def clip_by_norm(answer: Answer, rng: np.random.Generator) -> None:
    for g, c in ((np.array([3.0, 4.0]), 1.0), (rng.normal(size=(3, 2)), 0.5)):
        given = g.copy()
        found = answer(given, c)
        require_that(
            np.array_equal(given, g),
            "the array that was given has changed: return a new one",
            "传入的数组被修改了：应返回新的数组",
        )
        require_that(
            not np.array_equal(found, np.clip(g, -c, c)),
            "this is clipping by value, which turns the gradient: scale all numbers alike",
            "这是按值裁剪，它会改变梯度的方向：应把所有数按同一比例缩放",
        )
        norm = float(np.linalg.norm(g))
        agree(
            found,
            g * c / norm,
            f"a gradient of norm {norm:.3g}, clipped to {c:g},",
            f"范数为 {norm:.3g} 的梯度裁剪到 {c:g} 后",
        )
    short = rng.uniform(-0.1, 0.1, size=4)
    agree(
        answer(short.copy(), 1.0),
        short,
        "a gradient that is shorter than c = 1 (it must not grow)",
        "比 c = 1 短的梯度（不应被拉长）",
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        zeros = answer(np.zeros(3), 1.0)
    agree(zeros, np.zeros(3), "a gradient of zeros, clipped,", "全为零的梯度裁剪后")


@exercise(
    hints_en=(
        "There is one norm for all arrays, as if they were written one behind another.",
        "Add up the squares of all arrays, and take one root. math.isfinite knows NaN.",
        "norm = math.sqrt(sum((g**2).sum() for g in gradients)); one factor for each array",
    ),
    hints_zh=(
        "所有数组共用一个范数，就像把它们首尾相接写成一个向量。",
        "把所有数组的平方加起来，最后只开一次平方根。math.isfinite 能识别 NaN。",
        "norm = math.sqrt(sum((g**2).sum() for g in gradients))；每个数组乘以同一个因子",
    ),
)
def clip_all(answer: Answer, rng: np.random.Generator) -> None:
    for c in (0.5, 100.0):
        gradients = [rng.normal(size=(3, 2)), 10 * rng.normal(size=4), rng.normal(size=())]
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        found, measured = _pair(answer([g.copy() for g in gradients], c), 3)
        agree(measured, norm, "the norm of three arrays together", "三个数组合在一起的范数")
        alone = [g * _scale(float(np.linalg.norm(g)), c) for g in gradients]
        require_that(
            c > norm or not _all_close(found, alone),
            "each array was clipped by its own norm, which turns the gradient: one norm for all",
            "每个数组都按自己的范数裁剪了，这会改变梯度的方向：应共用一个范数",
        )
        for got, g in zip(found, gradients):
            agree(
                got,
                g * _scale(norm, c),
                f"an array, where the norm is {norm:.3g} and c = {c:g},",
                f"范数为 {norm:.3g}、c = {c:g} 时的一个数组",
            )
    for bad in (math.nan, math.inf):
        one, other = np.array([3.0, bad]), np.array([4.0])
        with np.errstate(all="ignore"):
            found, measured = _pair(answer([one.copy(), other.copy()], 1.0), 2)
        require_that(
            not math.isfinite(measured),
            f"with {bad} among the numbers, the norm should say so, and not be {measured}",
            f"数中有 {bad} 时，范数应反映出来，而不是 {measured}",
        )
        require_that(
            np.array_equal(found[0], one, equal_nan=True) and np.array_equal(found[1], other),
            f"with {bad} among the numbers, all arrays should be left as they were",
            f"数中有 {bad} 时，所有数组都应保持原样",
        )


def _all_close(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return all(a.shape == b.shape and np.allclose(a, b) for a, b in zip(found, expected))


def _pair(found: object, count: int) -> tuple[list[np.ndarray], float]:
    require_that(
        isinstance(found, tuple) and len(found) == 2 and len(found[0]) == count,
        "the answer should be a list of as many arrays as were given, and the norm",
        "应返回一个列表（数组个数与传入的相同）和范数",
    )
    assert isinstance(found, tuple)
    return [np.asarray(array) for array in found[0]], float(found[1])


@exercise(
    hints_en=(
        "The norm of the whole is not the sum of the parts' norms. Which numbers do add up?",
        "The sums of squares add up: all-reduce an array that holds this rank's, then take a root.",
        "square = np.array([(mine**2).sum()]); comm.all_reduce(square); norm = square[0] ** 0.5",
    ),
    hints_zh=(
        "整体的范数不等于各部分范数之和。哪些数可以相加？",
        "平方和可以相加：把本进程的平方和放进数组做 all-reduce，再开方。",
        "square = np.array([(mine**2).sum()])；comm.all_reduce(square)；norm = square[0] ** 0.5",
    ),
)
def clip_my_part(answer: Answer, rng: np.random.Generator) -> None:
    for ranks, c in ((1, 0.5), (3, 0.5), (3, 100.0)):
        parts = [rng.normal(size=2 + rank) for rank in range(ranks)]
        found = _on_ranks(answer, parts, c)
        norms = [float(np.linalg.norm(part)) for part in parts]
        for wrong, en, zh in (
            (norms, "its own norm", "自己的范数"),
            ([sum(norms)] * ranks, "the sum of the ranks' norms", "各进程范数之和"),
        ):
            clipped = [part * _scale(norm, c) for part, norm in zip(parts, wrong)]
            require_that(
                ranks == 1 or c > sum(norms) or not _all_close(found, clipped),
                f"each rank clipped by {en}, which is not the norm of the whole gradient",
                f"每个进程都按{zh}裁剪，而它不是整个梯度的范数",
            )
        norm = math.hypot(*norms)
        for got, mine in zip(found, parts):
            agree(
                got,
                mine * _scale(norm, c),
                f"a rank's part, of {ranks}, where the whole has norm {norm:.3g} and c = {c:g},",
                f"{ranks} 个进程、整体范数为 {norm:.3g}、c = {c:g} 时某进程的部分",
            )


def _on_ranks(answer: Answer, parts: list[np.ndarray], c: float) -> list[np.ndarray]:
    def work(comm: Communicator) -> np.ndarray:
        return np.asarray(answer(parts[comm.rank].copy(), c, comm))

    return run_ranks(len(parts), work)
