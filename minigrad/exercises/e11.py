"""Exercises of tutorial 11, the ReLU family (A10)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, refuse, require_that, returned

__all__ = ["dead_in_box", "dead_units", "prelu_backward"]


def _booleans(found: Any, units: int) -> np.ndarray[Any, Any]:
    """What a learner returned, where it is one boolean a unit."""
    array = np.asarray(found)
    require_that(
        array.dtype == bool and array.shape == (units,),
        f"the answer should be an array of {units} booleans, one for each unit",
        f"应返回由 {units} 个布尔值组成的数组，每个单元一个",
    )
    return array


@exercise(
    hints_en=(
        "What does each unit get before ReLU, for each row? That is an array (rows, units).",
        "A unit is dead if that is positive for none of the rows.",
        "return (x @ W + b <= 0).all(axis=0)",
    ),
    hints_zh=(
        "对每一行，每个单元在 ReLU 之前得到什么？这是形状为 (rows, units) 的数组。",
        "如果没有一行使它为正，这个单元就是死亡的。",
        "return (x @ W + b <= 0).all(axis=0)",
    ),
)
def dead_units(answer: Answer, rng: np.random.Generator) -> None:
    for _ in range(4):
        x, W = rng.normal(size=(30, 3)), rng.normal(size=(3, 6))
        b = np.array([-30.0, -0.5, 0.0, 0.5, 30.0, 0.0])
        W[:, 5] = 0.0  # exactly 0 everywhere: ReLU's slope there is 0
        found, z = _booleans(answer(x, W, b), 6), x @ W + b
        require_that(
            not (found == (z <= 0).any(axis=0)).all(),
            "a unit that is off at some of the rows only is not dead",
            "只在一部分行上为 0 的单元不是死亡的",
        )
        require_that(
            not (found == (z <= 0).all(axis=0))[:5].all() or bool(found[5]),
            "where the sum is exactly 0 the slope of ReLU is 0, too",
            "和恰好为 0 时，ReLU 的斜率也是 0",
        )
        agree(found, (z <= 0).all(axis=0), "dead or not, by unit", "各单元是否死亡")


@exercise(
    hints_en=(
        "Chain rule: g times the derivative of y, once for x and once for slope.",
        "By slope the derivative of y is 0 where x > 0, else x; one slope serves all: add up.",
        "return np.where(x > 0, g, slope * g), (g * x)[x <= 0].sum()",
    ),
    hints_zh=(
        "链式法则：g 乘以 y 的导数，一次对 x，一次对 slope。",
        "y 对 slope 的导数在 x > 0 处为 0，否则为 x；同一个 slope 用于所有元素，所以要相加。",
        "return np.where(x > 0, g, slope * g), (g * x)[x <= 0].sum()",
    ),
)
def prelu_backward(answer: Answer, rng: np.random.Generator) -> None:
    for slope in (0.25, -0.5, 0.0):
        x, g = rng.normal(size=(2, 4, 3))
        found = returned(answer(x.copy(), slope, g.copy()), "for_x, for_slope")
        expected = float(np.minimum(x, 0).ravel() @ g.ravel())
        agree(
            found[0],
            g * np.where(x > 0, 1.0, slope),
            f"the gradient for x, slope {slope}",
            f"slope 为 {slope} 时对 x 的梯度",
        )
        refuse(
            found[1],
            expected / x.size,
            "add up over all elements; this is their mean",
            "应对所有元素求和；这是平均值",
        )
        require_that(
            np.shape(found[1]) == () and not np.allclose(found[1], (g * x).sum()),
            "the slope acts where x ≤ 0 only, and all elements there share it: one number",
            "slope 只在 x ≤ 0 处起作用，而且那里的所有元素共用它：结果是一个数",
        )
        agree(found[1], expected, "the gradient for the slope", "对 slope 的梯度")


@exercise(
    hints_en=(
        "A unit is dead in the box if even its largest sum there is not positive.",
        "Each coordinate can be chosen by itself. Which end is better, where w > 0? Where w < 0?",
        "The largest product is np.maximum(low * w, high * w), with low and high as columns.",
        "ends = low[:, None] * W, high[:, None] * W; return np.maximum(*ends).sum(axis=0) + b <= 0",
    ),
    hints_zh=(
        "如果在盒子里连最大的和都不为正，这个单元就是死亡的。",
        "每个坐标可以单独选取。w > 0 时取哪一端更大？w < 0 时呢？",
        "最大的乘积是 np.maximum(low * w, high * w)，其中 low 与 high 写成列。",
        "ends = low[:, None] * W, high[:, None] * W；return np.maximum(*ends).sum(axis=0) + b <= 0",
    ),
)
def dead_in_box(answer: Answer, rng: np.random.Generator) -> None:
    for _ in range(4):
        low, W = rng.normal(size=3), rng.normal(size=(3, 8))
        high = low + rng.uniform(0.5, 2, size=3)
        corners = np.array(list(itertools.product(*zip(low, high)))) @ W
        b = -corners.max(axis=0) + np.array([-0.1, 0.1] * 4)
        found = _booleans(answer(low.copy(), high.copy(), W.copy(), b.copy()), 8)
        right, at_two = (corners + b <= 0).all(axis=0), np.maximum(low @ W, high @ W) + b <= 0
        require_that(
            (found == right).all() or not (found == at_two).all(),
            "low and high are two corners of the box; a unit may be on at another",
            "low 和 high 只是盒子的两个角；单元可能在别的角上为正",
        )
        agree(found, right, "dead or not, by unit", "各单元是否死亡")
