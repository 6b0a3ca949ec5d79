"""Exercises of tutorial 10, initialisation (A9)."""

from __future__ import annotations

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, refuse

__all__ = ["he_uniform", "leaky_sigma", "mean_square_ratio"]


@exercise(
    hints_en=(
        "First one layer: the page has a factor for the sum, and one for what ReLU drops.",
        "One layer multiplies by n σ² / 2.",
        "return (n * sigma**2 / 2) ** depth",
    ),
    hints_zh=(
        "先看一层：页面上有求和带来的因子，也有 ReLU 丢掉一部分带来的因子。",
        "一层乘以 n σ² / 2。",
        "return (n * sigma**2 / 2) ** depth",
    ),
)
def mean_square_ratio(answer: Answer, rng: np.random.Generator) -> None:
    for n, sigma, depth in ((64, 1 / 8, 1), (50, 0.2, 3), (200, rng.uniform(0.05, 0.15), 20)):
        found, one = answer(n, sigma, depth), n * sigma**2
        refuse(
            found,
            one**depth,
            "this is right without ReLU, which drops half of the mean square in each layer",
            "没有 ReLU 时这是对的；但 ReLU 在每一层都丢掉一半的均方",
        )
        if depth > 1:
            refuse(
                found,
                one**depth / 2,
                "the half is lost in each of the layers, not once",
                "每一层都会丢掉一半，而不是总共只丢一次",
            )
        agree(
            found,
            (one / 2) ** depth,
            f"the ratio for n = {n}, σ = {sigma:.3g}, {depth} layers",
            f"n = {n}、σ = {sigma:.3g}、{depth} 层时的倍数",
        )


@exercise(
    hints_en=(
        "The variance of uniform numbers from −b to b is not b²: integrate x² over them.",
        "That variance is b²/3. Which b makes it 2 / n_in?",
        "b = (6 / n_in) ** 0.5; return rng.uniform(-b, b, (n_in, n_out))",
    ),
    hints_zh=(
        "从 −b 到 b 的均匀分布，方差不是 b²：对 x² 求平均（积分）。",
        "这个方差是 b²/3。b 取多少时它等于 2 / n_in？",
        "b = (6 / n_in) ** 0.5；return rng.uniform(-b, b, (n_in, n_out))",
    ),
)
def he_uniform(answer: Answer, rng: np.random.Generator) -> None:
    for n_in, n_out in ((300, 20), (40, 500)):
        seed = int(rng.integers(1000))
        found = answer(np.random.default_rng(seed), n_in, n_out)
        unit = np.random.default_rng(seed).uniform(-1, 1, (n_in, n_out))
        refuse(
            found,
            unit * (2 / n_in) ** 0.5,
            "√(2 / n_in) is the standard deviation; the ends of the interval lie further out",
            "√(2 / n_in) 是标准差；区间的端点还要更远",
        )
        refuse(
            found,
            unit * (6 / (n_in + n_out)) ** 0.5,
            "this is Xavier's variance; He's depends on n_in alone",
            "这是 Xavier 的方差；He 的方差只取决于 n_in",
        )
        agree(
            found,
            unit * (6 / n_in) ** 0.5,
            f"the weights of shape ({n_in}, {n_out})",
            f"形状为 ({n_in}, {n_out}) 的权重",
        )


@exercise(
    hints_en=(
        "Split the mean of f(z)² into the half with z > 0 and the half with z ≤ 0.",
        "A negative z keeps slope² of its square, so together (1 + slope²) / 2 of E[z²] is kept.",
        "For slope 0 the answer is He's, for slope 1 there is nothing to make up for: √(1 / n_in).",
        "return (2 / ((1 + slope**2) * n_in)) ** 0.5",
    ),
    hints_zh=(
        "把 f(z)² 的平均值分成两半：z > 0 的一半与 z ≤ 0 的一半。",
        "负的 z 的平方变为原来的 slope² 倍，所以合起来保留了 E[z²] 的 (1 + slope²) / 2。",
        "slope 为 0 时就是 He 的结果；slope 为 1 时无须补偿：√(1 / n_in)。",
        "return (2 / ((1 + slope**2) * n_in)) ** 0.5",
    ),
)
def leaky_sigma(answer: Answer, rng: np.random.Generator) -> None:
    for n_in, slope in ((64, 0.0), (64, 1.0), (100, 0.5), (784, rng.uniform(0.1, 0.4))):
        found = answer(n_in, slope)
        right = (2 / ((1 + slope**2) * n_in)) ** 0.5
        refuse(
            found,
            right**2,
            "this is the variance σ²; σ is its root",
            "这是方差 σ²；σ 是它的平方根",
        )
        if slope not in (0, 1):
            refuse(
                found,
                (2 / ((1 + slope) * n_in)) ** 0.5,
                "z is multiplied by the slope, so its square by slope²",
                "z 乘以 slope，所以它的平方乘以 slope²",
            )
        agree(
            found,
            right,
            f"σ for n_in = {n_in}, slope = {slope:.3g}",
            f"n_in = {n_in}、slope = {slope:.3g} 时的 σ",
        )
