"""What explanations say, in English and Chinese: one table."""

from __future__ import annotations

from minigrad.language import LANGUAGES

__all__ = ["TEXTS", "say"]

TEXTS = {
    "forward": ("forward", "前向传播"),
    "backward": ("backward", "反向传播"),
    "step": ("step {number} of {count}", "第 {number} 步，共 {count} 步"),
    "leaf": ("a leaf: it wants a gradient", "叶子节点：需要梯度"),
    "constant": ("a constant: it wants no gradient", "常量：不需要梯度"),
    "in module": ("computed in {module}", "所在模块：{module}"),
    "of module": ("belongs to {module}", "属于模块：{module}"),
    "formula": ("formula", "公式"),
    "input": ("input {argument}", "输入 {argument}"),
    "value": ("value", "值"),
    "starts": (
        "backward starts here: dL/dL = 1 (in formulas x̄ stands for dL/dx, y for the op's result)",
        "反向传播从这里开始：dL/dL = 1（公式中 x̄ 表示 dL/dx，y 表示运算的结果）",
    ),
    "arrives": ("the gradient that arrives", "传到这里的梯度"),
    "from": ("(from {source}, its {argument})", "（来自 {source} 的 {argument}）"),
    "paths meet": (
        "{count} paths meet here, and their gradients are added up",
        "有 {count} 条路径在此汇合，梯度相加",
    ),
    "sum": ("their sum", "它们的和"),
    "hook": ("after the hooks of this Tensor", "经过该张量的钩子之后"),
    "rule": ("rule for {argument}", "对 {argument} 的求导规则"),
    "source": ("the rule's code", "规则的源代码"),
    "to": ("to {target}", "传给 {target}"),
    "summed": (
        "{argument} was broadcast, so axes {axes} are summed",
        "{argument} 在前向传播时被广播，因此梯度沿轴 {axes} 求和",
    ),
    "check": ("check", "验证"),
    "ok": (
        "✓ along a random direction the rule gives {rule}, a central difference {difference}; "
        "their distance is {error} of the terms' size",
        "✓ 沿一个随机方向，规则给出 {rule}，中心差分给出 {difference}，"
        "两者之差是各项大小的 {error}",
    ),
    "corner": (
        "⌐ a corner: the slope differs on its two sides (the rule gives {rule}, a central "
        "difference {difference}), and the rule chooses",
        "⌐ 此处不可导：两侧斜率不同（规则给出 {rule}，中心差分给出 {difference}），取值由规则决定",
    ),
    "wrong": (
        "✗ THE RULE IS WRONG HERE: along a random direction it gives {rule}, a central difference "
        "{difference}; their distance is {error} of the terms' size, and {tolerance} is allowed",
        "✗ 此处规则有误：沿一个随机方向，规则给出 {rule}，中心差分给出 {difference}，"
        "两者之差是各项大小的 {error}，容许 {tolerance}",
    ),
    "wrong rules": (
        "✗ a wrong rule in step {steps}: {names}",
        "✗ 第 {steps} 步的规则有误：{names}",
    ),
    "not finite": (
        "not checked: the numbers here are infinite or NaN",
        "未验证：此处的数值为无穷大或 NaN",
    ),
    "unchecked": (
        "not checked: the op communicates with other ranks",
        "未验证：该运算要与其他进程通信",
    ),
    "done": (
        "complete: this is what backward adds to {name}.grad",
        "完成：反向传播会把它加到 {name}.grad 上",
    ),
    "large": (
        "shape {shape}, mean {mean}, norm {norm}, from {low} to {high}",
        "形状 {shape}，均值 {mean}，范数 {norm}，范围 {low} 到 {high}",
    ),
    "empty": ("shape {shape}, no elements", "形状 {shape}，没有元素"),
    "keys": (
        "n next · p previous · g go to a node · f first · b backward · l last · q quit",
        "n 下一步 · p 上一步 · g 跳到节点 · f 第一步 · b 反向传播 · l 最后一步 · q 退出",
    ),
    "ask": ("name of a node, or number of a step:", "节点的名字，或步骤的编号："),
    "not found": (
        "there is no node '{name}' (names are those in the headlines)",
        "没有名为 “{name}” 的节点（名字见各步标题）",
    ),
    "cut": (
        "… {lines} more lines: ↓ shows them",
        "…… 还有 {lines} 行：按 ↓ 查看",
    ),
    "title": ("Backpropagation, step by step", "逐步理解反向传播"),
    "layer": ("layer", "层"),
    "values": ("values", "值的个数"),
    "norm": ("norm of the output", "输出的范数"),
    "gradient norm": ("norm of its gradient", "输出梯度的范数"),
    "ranks": (
        "{ranks} ranks, {samples} samples: the gradient is the sum over all samples, divided by "
        "their number, so each rank's mean counts by its share",
        "{ranks} 个进程，{samples} 个样本：梯度是全部样本的梯度之和除以样本总数，"
        "因此每个进程的均值按其样本占比加权",
    ),
    "of rank": (
        "rank {rank}, {samples} samples, weight {weight}",
        "进程 {rank}，{samples} 个样本，权重 {weight}",
    ),
    "reduced": (
        "summed over the ranks (relative distance from Σ weight · gradient: {distance})",
        "跨进程求和后（与 Σ 权重 · 梯度 的相对差：{distance}）",
    ),
    "mean of means": (
        "the mean of the ranks' means, which would be wrong",
        "各进程均值的均值（这样计算并不正确）",
    ),
    "summary": (
        "{forward} steps forward, {backward} steps backward · {label} = {value}",
        "前向 {forward} 步，反向 {backward} 步 · {label} = {value}",
    ),
    "drawing": ("graph of the computation", "计算图"),
    "gradient": ("gradient", "梯度"),
    "output": ("output", "输出"),
    "length": ("norm {norm}", "范数 {norm}"),
    "slider": ("step", "步骤"),
    "first": ("first step", "第一步"),
    "previous": ("previous step", "上一步"),
    "next": ("next step", "下一步"),
    "last": ("last step", "最后一步"),
    "closer": ("larger", "放大"),
    "farther": ("smaller", "缩小"),
    "fit": ("fit", "适应窗口"),
    "later": ("not yet computed", "尚未计算"),
    "seen": ("computed", "已计算"),
    "gradient done": ("gradient complete", "梯度已求出"),
    "help": (
        "Keys: ← → or p n, Home, End. A click on a node shows its forward step, another its "
        "backward step.",
        "按键：← →（或 p、n）、Home、End。单击节点显示其前向步骤，再次单击显示反向步骤。",
    ),
    "script": (
        "The steps of this page need JavaScript, which is switched off here.",
        "本页的逐步演示需要 JavaScript，而它在此处已被关闭。",
    ),
    "outside": ("(outside of all layers)", "（不属于任何层）"),
}
"""(English, Chinese) by key; what stands in braces is filled in, and never translated."""


def say(key: str, lang: str, **facts: object) -> str:
    """The text for ``key`` in ``lang``, with ``facts`` filled in."""
    return TEXTS[key][LANGUAGES.index(lang)].format(**facts)
