"""Exercises of tutorial 4, momentum (F3)."""

from __future__ import annotations

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, refuse, returned

__all__ = ["largest_rate", "momentum_step", "nesterov_step"]


@exercise(
    hints_en=(
        "First the velocity, then the parameters.",
        "The velocity is β times the old one, minus η times the gradient; it is then added.",
        "v = beta * v - eta * g; return theta + v, v",
    ),
    hints_zh=(
        "先更新速度，再更新参数。",
        "新速度是旧速度的 β 倍，减去 η 乘以梯度；然后把它加到参数上。",
        "v = beta * v - eta * g；return theta + v, v",
    ),
)
def momentum_step(answer: Answer, rng: np.random.Generator) -> None:
    theta, v, g = rng.normal(size=(3, 4))
    new = returned(answer(theta.copy(), v.copy(), g.copy(), 0.1, 0.9), "theta, v")
    expected = 0.9 * v - 0.1 * g
    agree(new[1], expected, "the velocity after a step", "一步之后的速度")
    refuse(
        new[0],
        theta - expected,
        "θ goes uphill: the velocity points downhill already, so it is added (erratum E1)",
        "θ 在上升：速度已经指向下坡方向，所以应当相加（勘误 E1）",
    )
    agree(new[0], theta + expected, "θ after a step", "一步之后的 θ")


@exercise(
    hints_en=(
        "On ½λθ² the gradient is λθ. Write the step for θ = 1, v = 0 and see what η does.",
        "The map on the page shows where the third region begins.",
        "ηλ may be 2 + 2β at most: divide by λ.",
    ),
    hints_zh=(
        "在 ½λθ² 上梯度为 λθ。从 θ = 1、v = 0 出发写出一步，观察 η 的影响。",
        "页面上的图标出了第三个区域从哪里开始。",
        "ηλ 最大为 2 + 2β：再除以 λ。",
    ),
)
def largest_rate(answer: Answer, rng: np.random.Generator) -> None:
    for steepness, beta in ((1.0, 0.0), (1.0, 0.5), *rng.uniform(0.1, 0.9, size=(4, 2))):
        agree(
            answer(steepness, beta),
            (2 + 2 * beta) / steepness,
            f"the largest η for λ = {steepness:.3g}, β = {beta:.3g}",
            f"λ = {steepness:.3g}、β = {beta:.3g} 时最大的 η",
        )


@exercise(
    hints_en=(
        "gradient is a function: ask it at another place than θ.",
        "The place is where the velocity alone would lead: θ + βv.",
        "v = beta * v - eta * gradient(theta + beta * v); return theta + v, v",
    ),
    hints_zh=(
        "gradient 是一个函数：不要在 θ 处求值，而是在另一处。",
        "这一处就是仅凭速度会到达的位置：θ + βv。",
        "v = beta * v - eta * gradient(theta + beta * v)；return theta + v, v",
    ),
)
def nesterov_step(answer: Answer, rng: np.random.Generator) -> None:
    theta, v = rng.normal(size=(2, 3))
    new = returned(answer(theta.copy(), v.copy(), lambda x: x**3, 0.1, 0.9), "theta, v")
    expected = 0.9 * v - 0.1 * (theta + 0.9 * v) ** 3
    agree(new[1], expected, "the velocity after a step on ¼θ⁴", "在 ¼θ⁴ 上一步之后的速度")
    agree(new[0], theta + expected, "θ after a step on ¼θ⁴", "在 ¼θ⁴ 上一步之后的 θ")
