"""Exercises of tutorial 7, learning-rate decay (F5, F7)."""

from __future__ import annotations

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, refuse

__all__ = ["best_rate", "next_rate", "polynomial"]


@exercise(
    hints_en=(
        "Up to T it is the formula. What does it give at t = 2T for α = 1, and for α = 2?",
        "Take T in place of every step that is larger: np.minimum.",
        "return eta_0 * (1 - np.minimum(t, T) / T) ** alpha",
    ),
    hints_zh=(
        "在 T 之前就是公式本身。t = 2T 时，α = 1 与 α = 2 各得到什么？",
        "凡是大于 T 的步，都用 T 代替：np.minimum。",
        "return eta_0 * (1 - np.minimum(t, T) / T) ** alpha",
    ),
)
def polynomial(answer: Answer, rng: np.random.Generator) -> None:
    for alpha in (1.0, 2.0, 0.5, *rng.uniform(0.3, 3, size=3)):
        agree(
            answer(25, 0.1, 100, alpha),
            0.1 * 0.75**alpha,
            f"the rate at t = 25 for η₀ = 0.1, T = 100, α = {alpha:.3g}",
            f"η₀ = 0.1、T = 100、α = {alpha:.3g} 时，t = 25 处的学习率",
        )
        for t in (100, 150):
            agree(
                answer(t, 0.1, 100, alpha),
                0.0,
                f"the rate at t = {t} for T = 100, α = {alpha:.3g} (from T on it stays at 0)",
                f"T = 100、α = {alpha:.3g} 时，t = {t} 处的学习率（从 T 起保持为 0）",
            )
    agree(
        answer(np.array([0, 25, 50, 100, 150]), 0.1, 100, 2.0),
        [0.1, 0.05625, 0.025, 0, 0],
        "the rates for an array of steps",
        "以数组给出各步时的学习率",
    )


@exercise(
    hints_en=(
        "Write F7 for t and for t + 1. What do both have in common?",
        "η₀ is the rate of step t times (1 + decay · t).",
        "return rate * (1 + decay * t) / (1 + decay * (t + 1))",
    ),
    hints_zh=(
        "分别写出 F7 在 t 与 t + 1 处的式子。两者有什么共同之处？",
        "η₀ 等于第 t 步的学习率乘以 (1 + decay · t)。",
        "return rate * (1 + decay * t) / (1 + decay * (t + 1))",
    ),
)
def next_rate(answer: Answer, rng: np.random.Generator) -> None:
    for decay in (1.0, *rng.uniform(0.01, 2, size=3)):
        rate = 1.0
        for t in range(4):
            expected, found = 1 / (1 + decay * (t + 1)), answer(rate, t, decay)
            if t:
                refuse(
                    found,
                    rate / (1 + decay * (t + 1)),
                    "it compounds: the given rate was divided by 1 + decay · t already, so it is "
                    "not η₀",
                    "学习率被重复衰减：给定的学习率已经除过 1 + decay · t，它不是 η₀",
                )
            agree(
                found,
                expected,
                f"the rate of step {t + 1} for decay = {decay:.3g}, after {rate:.3g} at step {t}",
                f"decay = {decay:.3g}、第 {t} 步为 {rate:.3g} 时，第 {t + 1} 步的学习率",
            )
            rate = expected


@exercise(
    hints_en=(
        "Put the step into θ² and take the mean; the mixed term has mean 0, since ξ has.",
        "The mean after the step is (1 − ηλ)²·square + η²σ², with λ the steepness.",
        "Its derivative by η is 0 at the least value: −λ(1 − ηλ)·square + ησ² = 0.",
        "return steepness * square / (steepness**2 * square + sigma**2)",
    ),
    hints_zh=(
        "把这一步代入 θ²，再取平均；ξ 的均值为 0，所以交叉项的均值也为 0。",
        "这一步之后的平均值是 (1 − ηλ)²·square + η²σ²，其中 λ 即 steepness。",
        "最小值处对 η 的导数为 0：−λ(1 − ηλ)·square + ησ² = 0。",
        "return steepness * square / (steepness**2 * square + sigma**2)",
    ),
)
def best_rate(answer: Answer, rng: np.random.Generator) -> None:
    for square, steepness, sigma in rng.uniform(0.2, 3, size=(6, 3)):
        found = answer(square, steepness, sigma)
        refuse(
            found,
            1 / steepness,
            "1/steepness is the best rate without noise; with noise σ it has to be smaller",
            "1/steepness 是没有噪声时最好的学习率；有噪声 σ 时它应当更小",
        )
        of = f"square = {square:.3g}, steepness = {steepness:.3g}, sigma = {sigma:.3g}"
        agree(
            found,
            1 / (steepness + sigma**2 / (steepness * square)),
            f"the best rate for {of}",
            f"{of} 时最好的学习率",
        )
