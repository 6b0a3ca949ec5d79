"""The 21 questions that the articles ask in their appendices."""

from __future__ import annotations

from typing import NamedTuple

from minigrad.errors import unknown

__all__ = ["QUESTIONS", "Question", "find"]


class Question(NamedTuple):
    """A question: id and short name, article and section, as the article asks it and in English;
    ``module`` of minigrad.ask has the experiment, ``answer(quick=False)``."""

    id: str
    name: str
    where: str
    zh: str
    en: str
    module: str

    def text(self, language: str) -> str:
        """The question in ``"en"`` or ``"zh"``."""
        return self.zh if language == "zh" else self.en


_ROWS = (
    ("D0-1", "D0 §6", "如何选择合适的计算资源？",
     "How do I choose computing resources?", "choosing_compute"),
    ("D0-2", "D0 §6", "如何选择合适的数据集？",
     "How do I choose a data set?", "choosing_data"),
    ("D0-3", "D0 §6", "如何选择合适的训练策略？",
     "How do I choose a training strategy?", "choosing_strategy"),
    ("D0-4", "D0 §6", "如何优化模型的性能？",
     "How do I improve a model's performance?", "improving_performance"),
    ("D1-1", "D1 §6.1", "模型训练过慢怎么办？",
     "What helps when training is too slow?", "training_is_slow"),
    ("D1-2", "D1 §6.2", "梯度消失怎么办？",
     "What helps when gradients vanish?", "gradients_vanish"),
    ("D2-1", "D2 §8.1", "为什么需要训练策略和优化方法？",
     "Why are training strategies and optimisation needed?", "why_optimise"),
    ("D2-2", "D2 §8.2", "什么是分布式计算？",
     "What is distributed computing?", "distributed_computing"),
    ("D2-3", "D2 §8.3", "什么是高效存储？",
     "What is efficient storage?", "efficient_storage"),
    ("D2-4", "D2 §8.4", "什么是并行计算？",
     "What is parallel computing?", "parallel_computing"),
    ("D2-5", "D2 §8.5", "如何选择合适的训练策略和优化方法？",
     "How do I choose a training strategy and an optimizer?", "how_to_choose"),
    ("D3-1", "D3 §6", "大模型与传统模型的区别在哪里？",
     "How do large models differ from ordinary ones?", "large_model"),
    ("D3-2", "D3 §6", "大模型的训练策略有哪些？",
     "Which training strategies are there for large models?", "training_strategies"),
    ("D3-3", "D3 §6", "大模型的优化策略有哪些？",
     "Which optimisation strategies are there for large models?", "optimisation_strategies"),
    ("D3-4", "D3 §6", "大模型的评估指标有哪些？",
     "Which metrics are there for large models?", "evaluation_metrics"),
    ("D3-5", "D3 §6", "未来大模型的发展趋势有哪些？",
     "Where are large models heading?", "trends"),
    ("D4-1", "D4 §6.1", "模型训练速度过慢怎么办？",
     "What helps when training a very large model is too slow?", "slow"),
    ("D4-2", "D4 §6.2", "模型准确度不足怎么办？",
     "What helps when the model is not accurate enough?", "inaccurate"),
    ("D4-3", "D4 §6.3", "模型过拟合怎么办？",
     "What helps when the model overfits?", "overfitting"),
    ("D4-4", "D4 §6.4", "模型训练不稳定怎么办？",
     "What helps when training is unstable?", "unstable"),
    ("D4-5", "D4 §6.5", "模型训练失败怎么办？",
     "What helps when training fails?", "initialisation"),
)  # fmt: skip

QUESTIONS = {
    id: Question(id, module.replace("_", "-"), where, zh, en, module)
    for id, where, zh, en, module in _ROWS
}
"""By id, in the order of the articles."""


def find(given: str) -> Question:
    """The question of an id (D1-2, Q-D1-2, in small letters too) or a short name.

    Raises :class:`InputError`, which suggests the nearest, for what is neither.
    """
    id = given.upper().removeprefix("Q-")
    names = {question.name: question for question in QUESTIONS.values()}
    found = QUESTIONS.get(id) or names.get(given.lower().replace("_", "-"))
    if found is None:
        raise unknown(
            "question", given, QUESTIONS if id[:1] == "D" and id[1:2].isdigit() else names
        )
    return found
