"""Exercises of tutorial 5, Adam (A2)."""

from __future__ import annotations

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, returned

__all__ = ["first_step", "keras_step", "moments"]


@exercise(
    hints_en=(
        "Each average keeps a share β of itself and takes 1 − β of what is new.",
        "What is new is g for m, and the square of g for v.",
        "return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2",
    ),
    hints_zh=(
        "每个平均值保留自身的 β 倍，再加上新值的 1 − β 倍。",
        "对 m 来说新值是 g，对 v 来说新值是 g 的平方。",
        "return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2",
    ),
)
def moments(answer: Answer, rng: np.random.Generator) -> None:
    m, v, g = rng.normal(size=(3, 4))
    new = returned(answer(m.copy(), v.copy() ** 2, g.copy(), 0.9, 0.99), "m, v")
    agree(new[0], 0.9 * m + 0.1 * g, "m after a gradient, β₁ = 0.9", "β₁ = 0.9 时新的 m")
    agree(new[1], 0.99 * v**2 + 0.01 * g**2, "v after a gradient, β₂ = 0.99", "β₂ = 0.99 时新的 v")


@exercise(
    hints_en=(
        "At t = 1 the averages are (1 − β₁)g and (1 − β₂)g². Write the quotient.",
        "With the hats both factors go: what is left of g/√(g²)?",
        "Without them (1 − β₁)/√(1 − β₂) stays; the sign of g stays in both.",
    ),
    hints_zh=(
        "t = 1 时两个平均值是 (1 − β₁)g 与 (1 − β₂)g²。写出它们的商。",
        "戴上“帽子”时两个因子都被约去：g/√(g²) 还剩下什么？",
        "不戴时留下 (1 − β₁)/√(1 − β₂)；两种情形都保留 g 的符号。",
    ),
)
def first_step(answer: Answer, rng: np.random.Generator) -> None:
    for g in (3.0, -3.0, 1e-3, *rng.normal(size=3)):
        sign = g / abs(g)
        agree(
            answer(g, 0.1, 0.9, 0.999, True),
            -0.1 * sign,
            f"the corrected first step for g = {g:.3g}, η = 0.1",
            f"g = {g:.3g}、η = 0.1 时修正后的第一步",
        )
        agree(
            answer(g, 0.1, 0.9, 0.999, False),
            -0.1 * sign * 0.1 / 0.001**0.5,
            f"the first step without correction for g = {g:.3g}, η = 0.1",
            f"g = {g:.3g}、η = 0.1 时未修正的第一步",
        )


@exercise(
    hints_en=(
        "The averages are those of the first exercise. Only the place of ε is new.",
        "Put both corrections into one factor α = η√(1 − β₂ᵗ)/(1 − β₁ᵗ).",
        "return theta - alpha * m / (v**0.5 + epsilon), m, v",
    ),
    hints_zh=(
        "两个平均值与第一题相同，不同的只是 ε 的位置。",
        "把两个修正合并成一个因子 α = η√(1 − β₂ᵗ)/(1 − β₁ᵗ)。",
        "return theta - alpha * m / (v**0.5 + epsilon), m, v",
    ),
)
def keras_step(answer: Answer, rng: np.random.Generator) -> None:
    for t, size in ((1, 1.0), (1, 1e-6), (7, 1e-6)):
        theta, m, v, g = rng.normal(size=(4, 3)) * [[1], [size], [size], [size]]
        m, v = (0 * m, 0 * v) if t == 1 else (m, v**2)
        new = returned(
            answer(theta.copy(), m.copy(), v.copy(), g.copy(), t, 0.1, 0.9, 0.999, 1e-7),
            "theta, m, v",
        )
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        alpha = 0.1 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        agree(
            new[0],
            theta - alpha * m / (np.sqrt(v) + 1e-7),
            f"θ at t = {t} for gradients of about {size:g}, ε = 1e-7",
            f"t = {t}、梯度约为 {size:g}、ε = 1e-7 时的 θ",
        )
        agree(new[1], m, "the new m", "新的 m")
        agree(new[2], v, "the new v", "新的 v")
