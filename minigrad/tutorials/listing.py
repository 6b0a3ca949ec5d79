"""The fourteen tutorials by number, and where their files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import minigrad
from minigrad.errors import InputError

__all__ = ["TUTORIALS", "Tutorial", "find", "folder"]


@dataclass(frozen=True)
class Tutorial:
    """One tutorial: its number, the name of its file without the ending, and its two titles."""

    number: int
    name: str
    en: str
    zh: str

    @property
    def path(self) -> Path:
        """The literate Python file."""
        return folder() / f"{self.name}.py"

    @property
    def stub(self) -> Path:
        """The file of exercises that comes with it."""
        return folder() / "exercises" / f"{self.number:02}.py"

    def title(self, language: str) -> str:
        """The title in ``"en"`` or ``"zh"``."""
        return self.zh if language == "zh" else self.en


_ALL = (
    Tutorial(1, "01_gradient_descent", "Gradient descent", "梯度下降"),
    Tutorial(2, "02_backpropagation", "Backpropagation", "反向传播"),
    Tutorial(3, "03_mini_batches", "SGD and mini-batches", "随机梯度下降与小批量"),
    Tutorial(4, "04_momentum", "Momentum", "动量法"),
    Tutorial(5, "05_adam", "Adam", "Adam"),
    Tutorial(6, "06_gradient_clipping", "Gradient clipping", "梯度裁剪"),
    Tutorial(7, "07_learning_rate_decay", "Learning-rate decay", "学习率衰减"),
    Tutorial(8, "08_gradient_accumulation", "Gradient accumulation", "梯度累积"),
    Tutorial(9, "09_regularisation", "L1 and L2", "L1 与 L2 正则化"),
    Tutorial(10, "10_initialisation", "Initialisation", "参数初始化"),
    Tutorial(11, "11_relu_family", "The ReLU family", "ReLU 家族"),
    Tutorial(12, "12_data_and_metrics", "Data preparation and metrics", "数据准备与评估指标"),
    Tutorial(13, "13_data_parallelism", "Data parallelism", "数据并行"),
    Tutorial(14, "14_model_parallelism", "Model parallelism", "模型并行"),
)
TUTORIALS = {tutorial.number: tutorial for tutorial in _ALL}
"""By their numbers, 1 to 14."""


def folder() -> Path:
    """Where the tutorials are: beside minigrad/ in a clone, inside it in an installed wheel."""
    package = Path(minigrad.__file__).parent
    inside = package / "tutorials" / "source"  # first: site-packages may have another "tutorials"
    return inside if inside.is_dir() else package.parent / "tutorials"


def find(given: str) -> Tutorial:
    """The tutorial of a number, "4" or "04". Raises :class:`InputError` where there is none."""
    if not given.isdecimal() or int(given) not in TUTORIALS:
        raise InputError(
            f"there is no tutorial '{given}': give a number from 1 to {len(TUTORIALS)}; "
            "'minigrad tutorial' lists them"
        )
    return TUTORIALS[int(given)]
