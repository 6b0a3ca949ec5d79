"""Exercises of tutorial 2, backpropagation (A1)."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np

from minigrad.exercises.check import Answer, Wrong, agree, exercise, refuse, require_that, returned

__all__ = ["dense_rules", "tanh_rule", "topological_order"]


@exercise(
    hints_en=(
        "The chain rule: g times the slope of tanh. The slope can be written with u alone.",
        "The derivative of tanh(v) is 1 - tanh(v)², and tanh(v) is u.",
        "return g * (1 - u * u)",
    ),
    hints_zh=(
        "链式法则：g 乘以 tanh 的斜率。这个斜率只用 u 就能写出。",
        "tanh(v) 的导数是 1 - tanh(v)²，而 tanh(v) 就是 u。",
        "return g * (1 - u * u)",
    ),
)
def tanh_rule(answer: Answer, rng: np.random.Generator) -> None:
    for shape in ((4,), (2, 3)):
        v, g = rng.normal(size=(2, *shape))
        u, found = np.tanh(v), answer(np.tanh(v), g.copy())
        expected = g / np.cosh(v) ** 2
        refuse(
            found,
            expected / g,
            "this is the slope of tanh alone: multiply it by g, which has arrived",
            "这只是 tanh 的斜率：还要乘以传来的 g",
        )
        refuse(
            found,
            g / np.cosh(u) ** 2,
            "tanh is taken twice: u is its output already, so the slope is 1 - u²",
            "tanh 用了两次：u 已经是它的输出，所以斜率是 1 - u²",
        )
        agree(found, expected, "what tanh hands back", "tanh 传回的梯度")


@exercise(
    hints_en=(
        "Begin with the shapes: which products of g, X and W are (m, n) and (n, k)?",
        "dJ/dX is g with W turned over, g @ W.T; dJ/dW has X turned over.",
        "b was used in every row, and what is used often gets a sum: g.sum(axis=0).",
        "return g @ W.T, X.T @ g, g.sum(axis=0)",
    ),
    hints_zh=(
        "先看形状：g、X、W 的哪些乘积是 (m, n) 和 (n, k)？",
        "dJ/dX 是 g 乘以 W 的转置，即 g @ W.T；dJ/dW 用到 X 的转置。",
        "b 在每一行都用到，多次使用的值得到各份梯度之和：g.sum(axis=0)。",
        "return g @ W.T, X.T @ g, g.sum(axis=0)",
    ),
)
def dense_rules(answer: Answer, rng: np.random.Generator) -> None:
    for m, n, k in ((4, 3, 2), (3, 3, 3), (1, 2, 5)):
        X, W, b = rng.normal(size=(m, n)), rng.normal(size=(n, k)), rng.normal(size=k)
        g = rng.normal(size=(m, k))
        found = returned(answer(X.copy(), W.copy(), b.copy(), g.copy()), "dX, dW, db")
        require_that(
            np.shape(found[2]) != g.shape,
            f"dJ/db has the shape {g.shape} of the result, and b has {b.shape}: it was used in "
            "every row, so its gradient is the sum over rows",
            f"dJ/db 的形状是结果的形状 {g.shape}，而 b 的形状是 {b.shape}：它在每一行都用到，"
            "所以梯度是各行之和",
        )
        if m > 1:
            refuse(
                found[2],
                g.mean(axis=0),
                "dJ/db is a mean over rows: the chain rule has a sum; a mean, if any, is in g",
                "dJ/db 取成了各行的平均：链式法则里是求和；若损失取平均，已包含在 g 中",
            )
        wanted = (
            np.einsum("mk,nk->mn", g, W),
            np.einsum("mn,mk->nk", X, g),
            np.einsum("mk->k", g),
        )
        for name, mine, expected in zip(("dJ/dX", "dJ/dW", "dJ/db"), found, wanted):
            agree(mine, expected, name, f"{name} ")


@exercise(
    hints_en=(
        "Recursion is short, and ends at depth 1,000. Keep a list of your own: what to visit.",
        "Each name is taken from the list twice: first push it back and after it what it was "
        "made from; the second time all that is done, so append it.",
        "Keep pairs on the list, (name, ready), and a set of the names already visited.",
        "todo = [(last, False)]; while todo: name, ready = todo.pop(); if ready: append it; "
        "elif new: todo.append((name, True)), then (other, False) for each it was made from",
    ),
    hints_zh=(
        "递归写起来短，但到 1,000 层就会出错。请自己维护一个待访问的列表。",
        "每个名字从列表中取出两次：第一次把它放回去，再放入它的来源；第二次时来源都已完成，"
        "就把它加入结果。",
        "列表中存放 (name, ready) 这样的二元组，另用一个集合记录访问过的名字。",
        "todo = [(last, False)]；while todo: name, ready = todo.pop()；若 ready 就加入结果；"
        "否则若未访问过：todo.append((name, True))，再对每个来源加入 (other, False)",
    ),
)
def topological_order(answer: Answer, rng: np.random.Generator) -> None:
    graphs = [
        {"h": ["w", "x"], "J": ["h", "w"]},
        {"d": ["p", "y"], "J": ["d", "d"], "unused": ["J"]},
        {"a": ["x"], "b": ["a"], "J": ["a", "b"]},
    ]
    for _ in range(5):
        names = [f"v{i}" for i in rng.permutation(12)]
        graph = {
            name: [names[j] for j in rng.integers(0, i, size=2)]
            for i, name in enumerate(names)
            if i > 2
        }
        graphs.append({**graph, "J": names[-2:]})
    for graph in graphs:
        _right_order(answer({name: list(made) for name, made in graph.items()}, "J"), graph)
    chain = {i: [i - 1] for i in range(1, 10_000)} | {"J": [9_999]}
    try:
        found = answer(chain, "J")
    except RecursionError:
        raise Wrong(
            "a chain of 10,000 values is too deep for recursion: keep a list of what to visit",
            "10,000 个值连成的链对递归来说太深：请自己维护一个待访问的列表",
        ) from None
    _right_order(found, chain)


def _right_order(found: object, graph: dict[Any, list[Any]]) -> None:
    """``found`` has all that J depends on, once, each after what it was made from."""
    show = repr if len(graph) < 9 else reprlib.repr
    needed, todo = set(), ["J"]
    while todo:
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo.extend(graph.get(name, []))
    if not isinstance(found, list) or len(found) != len(needed) or set(found) != needed:
        raise Wrong(
            "the answer should be a list of what J depends on, each once and nothing else: for "
            f"{show(graph)} it is {show(found)}",
            f"应返回一个列表，恰好包含 J 所依赖的值，每个一次：对 {show(graph)} 得到 {show(found)}",
        )
    at = {name: i for i, name in enumerate(found)}
    for name in found:
        for other in graph.get(name, []):
            if at[other] > at[name]:
                raise Wrong(
                    f"{name} was made from {other} and stands before it: for {show(graph)} the "
                    f"list is {show(found)}",
                    f"{name} 由 {other} 算出，却排在它前面：对 {show(graph)} 得到 {show(found)}",
                )
