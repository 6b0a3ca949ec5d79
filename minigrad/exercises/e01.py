"""Exercises of tutorial 1, gradient descent (F1, F9)."""

from __future__ import annotations

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, refuse, require_that

__all__ = ["descent_step", "numerical_gradient", "steps_needed"]


@exercise(
    hints_en=(
        "First the gradient at theta, then one step against it.",
        "The page quotes the gradient from D2 §4; m is the number of rows of X.",
        "return theta - alpha * 2 / len(y) * X.T @ (X @ theta - y)",
    ),
    hints_zh=(
        "先求 theta 处的梯度，再沿它的反方向走一步。",
        "页面上引用了 D2 §4 的梯度公式；m 是 X 的行数。",
        "return theta - alpha * 2 / len(y) * X.T @ (X @ theta - y)",
    ),
)
def descent_step(answer: Answer, rng: np.random.Generator) -> None:
    for m, n in ((5, 2), (3, 4), (8, 1)):
        X, y, theta = rng.normal(size=(m, n)), rng.normal(size=m), rng.normal(size=n)
        pulls = sum(((row @ theta - t) * row for row, t in zip(X, y)), np.zeros(n))
        new = answer(X.copy(), y.copy(), theta.copy(), 0.3)
        refuse(
            new,
            theta + 0.6 * pulls / m,
            "θ goes uphill: the gradient points to where the loss rises, so it is subtracted",
            "θ 在上升：梯度指向损失增大的方向，所以应当减去它",
        )
        refuse(
            new,
            theta - 0.6 * pulls,
            "the gradient is m times too large: the loss is a mean over m rows, not a sum",
            "梯度大了 m 倍：损失是 m 行的平均，而不是总和",
        )
        refuse(
            new,
            theta - 0.3 * pulls / m,
            "the gradient is half of what it should be: a square has the derivative 2(…)",
            "梯度只有应有的一半：平方的导数带有因子 2",
        )
        agree(new, theta - 0.6 * pulls / m, "θ after a step", "一步之后的 θ")


@exercise(
    hints_en=(
        "A loop over i: move entry i only, ask J twice, put it back.",
        "Work on a copy of theta: moved = theta.copy(); moved[i] = theta[i] + h.",
        "The two places are 2h apart, so the slope is (J(up) - J(down)) / (2 * h).",
    ),
    hints_zh=(
        "对 i 循环：只移动第 i 个分量，调用 J 两次，再恢复原值。",
        "在 theta 的副本上操作：moved = theta.copy()；moved[i] = theta[i] + h。",
        "两处相距 2h，所以斜率是 (J(up) - J(down)) / (2 * h)。",
    ),
)
def numerical_gradient(answer: Answer, rng: np.random.Generator) -> None:
    h = 0.1
    for n in (1, 3, 4):
        theta, c = rng.normal(size=n), rng.normal(size=n)
        given = theta.copy()
        # of J(θ) = Σ cθ³ + (Σθ)², for which central differences are exact but for ch²
        found = answer(lambda x, c=c: float(c @ x**3 + x.sum() ** 2), given, h)
        exact = 3 * c * theta**2 + 2 * theta.sum()
        ahead = exact + h * (3 * c * theta + 1) + c * h**2
        refuse(
            found,
            ahead,
            "this is the slope from θ to θ + h; take the one from θ - h to θ + h",
            "这是从 θ 到 θ + h 的斜率；应取从 θ - h 到 θ + h 的斜率",
        )
        refuse(
            found,
            2 * (exact + c * h**2),
            "the slopes are twice too large: from θ - h to θ + h it is 2h",
            "斜率大了一倍：从 θ - h 到 θ + h 的距离是 2h",
        )
        require_that(
            np.array_equal(given, theta),
            "theta is not what it was: move entries of a copy, theta.copy()",
            "theta 被改动了：应当在副本 theta.copy() 上移动分量",
        )
        agree(
            found,
            exact + c * h**2,
            f"the gradient for {n} parameters, h = {h}",
            f"{n} 个参数、h = {h} 时的梯度",
            tolerance=1e-8,
        )


@exercise(
    hints_en=(
        "The gradient is steepness * theta. Write down theta after one step, then after two.",
        "Each step multiplies theta by 1 - alpha * steepness; its size may grow, too.",
        "Return None if abs(1 - alpha * steepness) >= 1 and theta is not close enough yet.",
        "Otherwise: n = 0; while abs(theta) > close: theta *= 1 - alpha * steepness; n += 1",
    ),
    hints_zh=(
        "梯度是 steepness * theta。写出一步之后、两步之后的 theta。",
        "每一步把 theta 乘以 1 - alpha * steepness；它的绝对值也可能增大。",
        "若 abs(1 - alpha * steepness) >= 1，而 theta 还不够近，就返回 None。",
        "否则：n = 0；while abs(theta) > close: theta *= 1 - alpha * steepness；n += 1",
    ),
)
def steps_needed(answer: Answer, rng: np.random.Generator) -> None:
    for steepness, alpha in ((1.0, 2.5), (4.0, 0.5)):
        require_that(
            answer(3.0, steepness, alpha, 0.1) is None,
            f"from θ = 3 with λ = {steepness:g} and α = {alpha:g} it never comes close, "
            "so the answer should be None",
            f"从 θ = 3 出发，λ = {steepness:g}、α = {alpha:g} 时永远到不了附近，应返回 None",
        )
    cases = [(-3.0, 1.0, 0.1, 0.01), (2.0, 4.0, 0.25, 0.1), (0.05, 1.0, 1.0, 0.1)]
    for product in rng.uniform(0.05, 1.9, size=6):  # αλ, on both sides of 1
        steepness = rng.uniform(0.5, 5)
        cases.append((rng.normal() * 5, steepness, product / steepness, 0.013))
    for theta, steepness, alpha, close in cases:
        n, at = 0, theta
        while abs(at) > close:
            at -= alpha * steepness * at
            n += 1
        agree(
            answer(theta, steepness, alpha, close),
            n,
            f"the number of steps from θ = {theta:.3g} for λ = {steepness:.3g}, "
            f"α = {alpha:.3g}, close = {close} (steps shrink with the gradient)",
            f"从 θ = {theta:.3g} 出发，λ = {steepness:.3g}、α = {alpha:.3g}、close = {close} "
            "时的步数（步子随梯度缩小）",
        )
