"""Exercises of tutorial 9, L1 and L2 (A8)."""

from __future__ import annotations

import numpy as np

from minigrad.exercises.check import Answer, agree, exercise, refuse

__all__ = ["l1_step", "penalised_gradient", "smallest_lambda"]


@exercise(
    hints_en=(
        "A sum's gradient is the sum of the gradients: three terms.",
        "The derivative of λ|θ| is λ with the sign of θ; that of λ/2·θ² is λθ.",
        "return g + l1 * np.sign(theta) + l2 * theta",
    ),
    hints_zh=(
        "和的梯度等于梯度的和：共有三项。",
        "λ|θ| 的导数是 λ 乘以 θ 的符号；λ/2·θ² 的导数是 λθ。",
        "return g + l1 * np.sign(theta) + l2 * theta",
    ),
)
def penalised_gradient(answer: Answer, rng: np.random.Generator) -> None:
    for l1, l2 in ((0.3, 0.0), (0.0, 0.3), *rng.uniform(0.1, 1, size=(3, 2))):
        theta, g = rng.normal(size=(2, 5))
        theta[0] = 0.0
        found = answer(theta.copy(), g.copy(), l1, l2)
        if l2 and not l1:
            refuse(
                found,
                g + 2 * l2 * theta,
                "L2 is twice too strong: the penalty here is l2/2·θ², whose derivative is l2·θ",
                "L2 强了一倍：这里的惩罚项是 l2/2·θ²，它的导数是 l2·θ",
            )
        agree(
            found,
            g + np.where(theta > 0, l1, np.where(theta < 0, -l1, 0.0)) + l2 * theta,
            f"the gradient for l1 = {l1:.3g}, l2 = {l2:.3g}, and a first weight of 0,",
            f"l1 = {l1:.3g}、l2 = {l2:.3g}、第一个权重为 0 时的梯度",
        )


@exercise(
    hints_en=(
        "First the step without any penalty. Its result is what the threshold acts on.",
        "L1 moves a weight by its gradient λ times the rate: by ηλ, and not beyond 0.",
        "moved = theta - eta * g; return np.sign(moved) * np.maximum(abs(moved) - eta * lam, 0)",
    ),
    hints_zh=(
        "先走不含惩罚项的一步。软阈值作用于这一步的结果。",
        "L1 使权重移动的距离是它的梯度 λ 乘以学习率，即 ηλ，并且不越过 0。",
        "moved = theta - eta * g；return np.sign(moved) * np.maximum(abs(moved) - eta * lam, 0)",
    ),
)
def l1_step(answer: Answer, rng: np.random.Generator) -> None:
    for eta, lam in ((0.1, 1.0), *rng.uniform(0.1, 0.9, size=(3, 2))):
        tau = eta * lam
        moved = np.concatenate([rng.uniform(-1, 1, size=4), [tau / 2, -tau / 2, tau + 1]])
        g = rng.normal(size=7)
        theta = moved + eta * g
        found = answer(theta.copy(), g.copy(), eta, lam)
        refuse(
            found,
            moved - np.clip(moved, -lam, lam),
            "the threshold is too large: a step of rate η moves a weight by ηλ, not by λ",
            "阈值太大：学习率为 η 的一步使权重移动 ηλ，而不是 λ",
        )
        for x in (theta, moved):
            refuse(
                found,
                moved - tau * np.sign(x),
                "weights jump across 0: use the soft threshold, which stops there",
                "权重跳过了 0：应使用软阈值，它停在 0 处",
            )
        agree(
            found,
            moved - np.clip(moved, -tau, tau),
            f"θ after a step with η = {eta:.3g}, λ = {lam:.3g}",
            f"η = {eta:.3g}、λ = {lam:.3g} 的一步之后的 θ",
        )


@exercise(
    hints_en=(
        "Stand at θ = 0. Which way does the loss alone pull each weight, and how strongly?",
        "L1 holds a weight at 0 while λ is at least the size of that pull.",
        "The pull is the gradient at 0, −2/n·Xᵀy; the strongest of all decides.",
        "return np.max(np.abs(2 / len(X) * X.T @ y))",
    ),
    hints_zh=(
        "站在 θ = 0 处：仅凭损失，每个权重被拉向哪边，力有多大？",
        "只要 λ 不小于这个力，L1 就能把权重留在 0 处。",
        "这个力就是 0 处的梯度 −2/n·Xᵀy；其中最强的一个起决定作用。",
        "return np.max(np.abs(2 / len(X) * X.T @ y))",
    ),
)
def smallest_lambda(answer: Answer, rng: np.random.Generator) -> None:
    for n, k in ((5, 1), (6, 3), (9, 4), (4, 6)):
        X, y = rng.normal(size=(n, k)), rng.normal(size=(n, 1))
        strongest = int(np.abs(X.T @ y).argmax())
        X[:, strongest] *= -np.sign(X[:, strongest] @ y)  # so that the sign matters
        pulls = [2 * float(np.mean(column * y[:, 0])) for column in X.T]
        found = answer(X.copy(), y.copy())
        for wrong, en, zh in (
            (max(pulls), "a weight can be pulled to either side", "权重可能被拉向任意一侧"),
            (max(map(abs, pulls)) / 2, "the loss has no ½, so its gradient has a 2",
             "损失中没有 ½，所以它的梯度含有因子 2"),
            (max(map(abs, pulls)) * n, "the loss is a mean over the rows, not a sum",
             "损失是各行的平均值，而不是和"),
        ):  # fmt: skip
            refuse(found, wrong, en, zh)
        agree(
            found,
            max(map(abs, pulls)),
            f"the smallest λ for {n} rows and {k} weights",
            f"{n} 行数据、{k} 个权重时最小的 λ",
        )
