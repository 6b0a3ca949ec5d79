"""What the five articles D0 … D4 contain, item by item: the one place where titles stand."""

from __future__ import annotations

from dataclasses import dataclass

from minigrad.ask.questions import QUESTIONS

__all__ = ["ITEMS", "KINDS", "Item"]

KINDS = {
    "F": {"en": "formulas", "zh": "公式"},
    "A": {"en": "algorithms", "zh": "算法"},
    "C": {"en": "programs", "zh": "程序"},
    "Q": {"en": "questions", "zh": "问题"},
    "E": {"en": "errata", "zh": "勘误"},
}
"""The kinds of items, by the letter that ids begin with, in both languages."""


@dataclass(frozen=True)
class Item:
    """One thing that an article says, shows or asks.

    ``where`` is article and section, "D2 §3.3"; ``en`` and ``zh`` are the title, and of an item
    that is not built yet ``open_en`` and ``open_zh`` say why it is open.
    """

    id: str
    where: str
    en: str
    zh: str
    open_en: str = ""
    open_zh: str = ""

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`."""
        return self.id[0]

    @property
    def is_open(self) -> bool:
        """Whether no code stands for this item yet."""
        return bool(self.open_en)

    def title(self, language: str) -> str:
        """What the item is, in English, or in Chinese for ``"zh"``."""
        return self.zh if language == "zh" else self.en

    def reason(self, language: str) -> str:
        """Why the item is open; "" where it is not."""
        return self.open_zh if language == "zh" else self.open_en


_ALL = (
    Item("F1", "D1 §3.1", "gradient descent", "梯度下降"),
    Item("F2", "D2 §3.1", "stochastic gradient descent", "随机梯度下降"),
    Item("F3", "D2 §3.2", "momentum", "动量法"),
    Item("F4", "D2 §3.3", "gradient clipping", "梯度裁剪"),
    Item("F5", "D2 §3.4", "polynomial learning-rate decay", "多项式学习率衰减"),
    Item("F6", "D3 §4", "linear learning-rate decay", "线性学习率衰减"),
    Item("F7", "D3 §4", "Adam(decay=…): inverse-time decay", "Adam(decay=…)：逆时间衰减"),
    Item("F8", "D3 §3.3", "accuracy, recall, F1, ROC and AUC", "准确率、召回率、F1、ROC 与 AUC"),
    Item("F9", "D2 §4", "gradient of the mean squared error", "均方误差的梯度"),
    Item("A1", "D1 §3.2", "backpropagation", "反向传播"),
    Item("A2", "D4 §3.2, D1 §3.3", "Adam, with both places of ε", "Adam：ε 的两种位置"),
    Item("A3", "D4 §3.3", "distributed training in six steps", "分布式训练的六个步骤"),
    Item("A4", "D3 §3.1.2", "data parallelism", "数据并行"),
    Item(
        "A5", "D3 §3.1.3",
        "model parallelism: tensor and pipeline", "模型并行：张量并行与流水线并行",
    ),
    Item("A6", "D3 §3.1.4", "a learning rate for each parameter", "每个参数各自的学习率"),
    Item("A7", "D3 §3.2.2", "gradient accumulation", "梯度累积"),
    Item("A8", "D3 §3.2.4, D4 §6.3", "L1 and L2 regularisation", "L1 与 L2 正则化"),
    Item("A9", "D4 §6.5", "Xavier initialisation", "Xavier 初始化"),
    Item("A10", "D1 §6.2", "leaky ReLU and parametric ReLU", "Leaky ReLU 与 Parametric ReLU"),
    Item("A11", "D1 §2.3", "data: cleaning, conversion, splitting", "数据清洗、转换与分割"),
    Item(
        "A12", "D4 §2.2", "CNN, RNN, Transformer", "CNN、RNN、Transformer",
        "convolution, recurrence and attention are not built yet",
        "卷积、循环与注意力层尚未实现",
    ),
    Item("A13", "D2 §2.5", "parallel computing: MPI, OpenMP, CUDA", "并行计算：MPI、OpenMP、CUDA"),
    Item(
        "A14", "D2 §2.4",
        "efficient storage: HDFS, GlusterFS, Ceph", "高效存储：HDFS、GlusterFS、Ceph",
        "data and checkpoints are files of one machine; distributed storage is not built yet",
        "数据与检查点都是单机上的文件，分布式存储尚未实现",
    ),
    Item("C1", "D1 §4", "Keras Sequential, 100 inputs", "Keras Sequential，100 个输入"),
    Item("C2", "D2 §4.1", "sgd in NumPy", "NumPy 版 sgd"),
    Item("C3", "D3 §4", "BigModel with a sigmoid", "以 sigmoid 结尾的 BigModel"),
    Item("C4", "D4 §4", "softmax and a gradient tape", "softmax 与 GradientTape"),
    *(Item(f"Q-{q.id}", q.where, q.en, q.zh) for q in QUESTIONS.values()),
    Item("E1", "D2 §3.2", "momentum with the wrong sign climbs", "动量公式符号有误，损失上升"),
    Item(
        "E2", "D2 §3.3, D3 §3.2.1", "clipping does not stop vanishing", "梯度裁剪不能防止梯度消失",
    ),
    Item("E3", "D2 §3.4", "decay does not stop vanishing", "学习率衰减不能防止梯度消失"),
    Item("E4", "D2 §4", "the code is not stochastic", "代码并非随机梯度下降"),
    Item("E5", "D2 §4", "the data have rank 1", "数据的秩为 1，解不唯一"),
    Item("E6", "D3 §4", "from_logits=True after a sigmoid", "sigmoid 之后又用 from_logits=True"),
    Item("E7", "D3 §4", "images go into Dense unflattened", "图像未展平就送入 Dense"),
    Item("E8", "D3 §4", "global_step is not defined", "global_step 未定义"),
    Item("E9", "D3 §4", "the decayed rate turns negative", "衰减后的学习率变为负数"),
    Item(
        "E10", "D3 §3.1.5",
        "SGD's gradient is not a random one", "SGD 的梯度来自小批量，并非随机值",
    ),
    Item("E11", "D3 §3.1.1", "distributed need not mean a split model", "分布式训练不等于拆分模型"),
    Item(
        "E12", "D3 §3.1.4, §3.2.1, §3.2.3",
        "rates, clipping, decay do not regularise", "学习率、裁剪与衰减不是正则化",
    ),
    Item("E13", "D3 §3.2.2", "accumulation saves memory, not time", "梯度累积省内存，不省时间"),
    Item("E14", "D4 §4", "from_logits=True after a softmax", "softmax 之后又用 from_logits=True"),
    Item("E15", "D1 §3.2", "forward begins at the input layer", "前向传播从输入层开始"),
    Item("E16", "D4 §3.2", "Adam has two moments, not one", "Adam 有两个矩，而非只有一个动量"),
    Item("E17", "D0 §4", "the promised code is missing", "承诺的代码并未给出"),
)  # fmt: skip

ITEMS = {item.id: item for item in _ALL}
"""All items, by id, in the order in which they are listed."""
