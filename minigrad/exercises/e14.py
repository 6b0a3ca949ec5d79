"""Exercises of tutorial 14, model parallelism (A5)."""

from __future__ import annotations

import numpy as np

from minigrad.distributed.pipeline import one_f_one_b
from minigrad.exercises.check import Answer, agree, exercise, require_that, returned

__all__ = ["by_columns_then_rows", "micro_batches_needed", "order_of_stage"]


@exercise(
    hints_en=(
        "A rank holds whole hidden units: what belongs to a unit in W1, and what in W2?",
        "Unit k is column k of W1 and row k of W2.",
        "mine = slice(rank * each, (rank + 1) * each); return W1[:, mine], W2[mine]",
    ),
    hints_zh=(
        "每个进程持有完整的隐藏单元：一个单元对应 W1 的哪部分、W2 的哪部分？",
        "单元 k 是 W1 的第 k 列与 W2 的第 k 行。",
        "mine = slice(rank * each, (rank + 1) * each)；return W1[:, mine], W2[mine]",
    ),
)
def by_columns_then_rows(answer: Answer, rng: np.random.Generator) -> None:
    W1, W2, X = rng.normal(size=(4, 8)), rng.normal(size=(8, 6)), rng.normal(size=(3, 4))
    for size in (1, 2, 4):
        total = np.zeros((3, 6))
        for rank in range(size):
            parts = returned(answer(W1.copy(), W2.copy(), rank, size), "first, second")
            first, second = map(np.asarray, parts)
            require_that(
                first.shape == (4, 8 // size) and second.shape == (8 // size, 6),
                f"on {size} ranks the parts of (4, 8) and (8, 6) should be {(4, 8 // size)} and "
                f"{(8 // size, 6)}, and are {first.shape} and {second.shape}",
                f"{size} 个进程时，(4, 8) 与 (8, 6) 的部分应为 {(4, 8 // size)} 与 "
                f"{(8 // size, 6)}，而答案是 {first.shape} 与 {second.shape}",
            )
            total += np.tanh(X @ first) @ second
        agree(
            total,
            np.tanh(X @ W1) @ W2,
            f"the sum over {size} ranks of tanh(X·first)·second",
            f"{size} 个进程上 tanh(X·first)·second 之和",
        )


@exercise(
    hints_en=(
        "The bubble is (p − 1)/(m + p − 1). Try m = 1, 2, … until it is small enough.",
        "Solved for m: m ≥ (p − 1)(1/share − 1). Take care with rounding.",
        "while (stages - 1) / (m + stages - 1) > share: m += 1",
    ),
    hints_zh=(
        "气泡占 (p − 1)/(m + p − 1)。依次试 m = 1、2、…，直到足够小。",
        "解出 m：m ≥ (p − 1)(1/share − 1)，注意舍入。",
        "while (stages - 1) / (m + stages - 1) > share: m += 1",
    ),
)
def micro_batches_needed(answer: Answer, rng: np.random.Generator) -> None:
    for stages, share, wanted in (
        (4, 0.5, 3),
        (4, 0.1, 27),
        (1, 0.1, 1),
        (8, 0.2, 28),
        (2, 0.9, 1),
    ):
        agree(
            answer(stages, share),
            wanted,
            f"the micro-batches that {stages} stages need for a bubble of {share:.0%}",
            f"{stages} 个阶段、气泡至多 {share:.0%} 时所需的微批数",
        )


@exercise(
    hints_en=(
        "How many forwards does a stage send ahead before its first backward can come?",
        "ahead = min(micro_batches, stages - 1 - stage): first these, then pairs F, B.",
        "Pairs F(m + ahead), B(m) for m in range(micro_batches - ahead); then the B that are left.",
    ),
    hints_zh=(
        "在第一个反向传播到来之前，这个阶段先做多少个前向传播？",
        "ahead = min(micro_batches, stages - 1 - stage)：先做这些，再成对做 F、B。",
        "成对：对 range(micro_batches - ahead) 中的 m 做 F(m + ahead)、B(m)；最后做剩下的 B。",
    ),
)
def order_of_stage(answer: Answer, rng: np.random.Generator) -> None:
    for stages, micro_batches in ((1, 3), (2, 3), (4, 8), (4, 2)):
        schedule = one_f_one_b(stages, micro_batches)
        for stage, instructions in enumerate(schedule):
            wanted = [str(do) for do in instructions]
            found = answer(stage, stages, micro_batches)
            require_that(
                list(found) == wanted,
                f"stage {stage} of {stages} with {micro_batches} micro-batches should do "
                f"{' '.join(wanted)}, and the answer is {' '.join(map(str, found))}",
                f"{stages} 个阶段、{micro_batches} 个微批时，阶段 {stage} 应依次做 "
                f"{' '.join(wanted)}，而答案是 {' '.join(map(str, found))}",
            )
