"""summary(): what a model is made of, as a table."""

from __future__ import annotations

import numpy as np

from minigrad.autograd import Tensor, no_grad
from minigrad.nn.module import Module, Parameter

__all__ = ["summary", "watch"]


class watch:  # noqa: N801 - used like no_grad: `with watch(model) as outputs: model(x)`
    """Collect (path, module, output) of every layer that is called, in the order of the calls.

    >>> model = nn.Sequential(nn.ReLU(), nn.Tanh())
    >>> with nn.watch(model) as outputs:
    ...     y = model([-1.0, 0.0])
    >>> [(path, layer) for path, layer, _ in outputs]
    [('layers.0', ReLU()), ('layers.1', Tanh()), ('', Sequential(ReLU(), Tanh()))]
    """

    def __init__(self, model: Module) -> None:
        self.model = model
        self.outputs: list[tuple[str, Module, Tensor]] = []

    def __enter__(self) -> list[tuple[str, Module, Tensor]]:
        self._before = [(module, module.on_forward) for module in self.model.modules()]
        for path, module in self.model.named_modules():
            module.on_forward = lambda m, y, path=path: self.outputs.append((path, m, y))
        return self.outputs

    def __exit__(self, *exception: object) -> None:
        for module, observer in self._before:
            module.on_forward = observer


def summary(model: Module, input_shape: tuple[int, ...]) -> str:
    """A table of layers, output shapes, parameter counts and bytes.

    ``input_shape`` is one sample's, without the batch; a zero sample is run through the model to
    see the shapes.

    >>> print(nn.summary(nn.Dense(4, 3, rng=np.random.default_rng(0)), (4,)))
    layer               output      parameters  bytes
    -------------------------------------------------
    model: Dense(4, 3)  (batch, 3)          15     60
    -------------------------------------------------
    total                                   15     60
    """
    parameters = model.parameters()
    dtype = parameters[0].dtype if parameters else np.float32
    modes = [(module, module.training) for module in model.modules()]
    try:
        with no_grad(), watch(model.eval()) as outputs:
            model(Tensor(np.zeros((1, *input_shape), dtype)))
    finally:
        for module, training in modes:
            module.training = training
    rows = [("layer", "output", "parameters", "bytes")]
    for path, module, y in outputs:
        members = [value for _, value in module._members()]
        own = [value for value in members if isinstance(value, Parameter)]
        if not own and any(isinstance(value, Module) for value in members):
            continue  # a container: its layers have their own rows
        count, size = sum(p.size for p in own), sum(p._data.nbytes for p in own)
        shape = f"({', '.join(['batch', *map(str, y.shape[1:])])})"
        rows.append((f"{path or 'model'}: {module!r}", shape, f"{count:,}", f"{size:,}"))
    total, size = sum(p.size for p in parameters), sum(p._data.nbytes for p in parameters)
    frozen = sum(p.size for p in parameters if not p.requires_grad)
    rows.append(("total", "", f"{total:,}", f"{size:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
        for a, b, c, d in rows
    ]
    rule = "-" * len(lines[0])
    lines = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    if frozen:
        lines.append(f"of these frozen: {frozen:,} parameters")
    return "\n".join(line.rstrip() for line in lines)
