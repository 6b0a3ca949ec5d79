"""``minigrad explain``: step through a loss of one's own, or through a small network."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import nn, ops
from minigrad.autograd import Tensor
from minigrad.data import Dataset, load
from minigrad.distributed import world
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.host import launched_ranks
from minigrad.errors import InputError, SharedError, unknown
from minigrad.explanation.explanation import Explanation, explain
from minigrad.explanation.ranks import explain_ranks
from minigrad.explanation.terminal import on_terminal, step_through
from minigrad.explanation.text import step_text, verdict
from minigrad.language import language
from minigrad.optim import SGD
from minigrad.parser import Parser, spoken
from minigrad.shares import share
from minigrad.train.together import or_end_the_job

__all__ = ["main"]

DATA = ("digits", "breast_cancer", "wine", "iris")
_SAMPLES, _HIDDEN = 4, 16
_SAY = {
    "en": {
        "help": "Step through forward and backward of a computation: a step per key in a "
        "terminal, else as numbered text. On several ranks: how their gradients become one.",
        "example": "for example: minigrad explain digits; minigrad explain mine.py:loss, where the "
        "function loss takes no arguments and returns a scalar Tensor",
        "what": "FILE.py:function, or a data set for a small network: {}",
        "html": "write a page to step through instead",
        "draw": "draw the graph instead: .svg, .png or .pdf",
        "depth": "draw modules N levels down as one box each",
        "step": "print this step alone",
        "one": "--step prints one step, and --html and --draw show all: give one of them",
        "no depth": "--depth says how much --html and --draw show: give one of these too",
        "steps": "--step {}: the steps are 1 to {}",
    },
    "zh": {
        "help": "逐步查看一次计算的前向与反向传播：在终端里按键走一步，否则输出为编号的文字。"
        "在多个进程上：查看各进程的梯度如何合为一个。",
        "example": "例如：minigrad explain digits；minigrad explain mine.py:loss，"
        "其中函数 loss 不带参数，返回一个标量 Tensor",
        "what": "FILE.py:function，或小型网络的数据集：{}",
        "html": "改为写成可以逐步查看的网页",
        "draw": "改为画出计算图：.svg、.png 或 .pdf",
        "depth": "把第 N 层以下的模块各画成一个方框",
        "step": "只输出这一步",
        "one": "--step 只输出一步，--html 与 --draw 显示全部：请只给出其中一种",
        "no depth": "--depth 决定 --html 与 --draw 显示多少：请再给出二者之一",
        "steps": "--step {}：步的编号为 1 到 {}",
    },
}


def main(words: Sequence[str] | None = None) -> int:
    """Explain what was named; the result is the exit code."""
    say = _SAY[spoken(words)]
    given = _options(words)
    if given.step is not None and (given.html or given.draw):
        raise InputError(say["one"])
    if given.depth is not None and not (given.html or given.draw):
        raise InputError(say["no depth"])
    lang = language(given.lang)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a Σ where the encoding has none
    if launched_ranks(os.environ) > 1:
        _explain_ranks(given, lang)
        return 0
    explanation = explain(_loss(given.what), lang=lang)
    for write, path in ((explanation.to_html, given.html), (explanation.draw, given.draw)):
        if path:
            write(path, depth=given.depth)
            print(path)
    if given.step is not None:
        if not 1 <= given.step <= len(explanation):
            raise InputError(say["steps"].format(given.step, len(explanation)))
        print(step_text(explanation, explanation[given.step - 1]))
    elif not (given.html or given.draw):
        _show(explanation)
    elif explanation.wrong:
        print(verdict(explanation))
    return 0


def _options(words: Sequence[str] | None) -> Any:
    say = _SAY[lang := spoken(words)]
    parser = Parser(
        prog="minigrad explain", description=say["help"], epilog=say["example"], lang=lang
    )
    parser.add_argument("what", metavar="WHAT", help=say["what"].format(", ".join(DATA)))
    parser.add_language()
    parser.add_argument("--html", metavar="FILE", help=say["html"])
    parser.add_argument("--draw", metavar="FILE", help=say["draw"])
    parser.add_argument("--depth", type=int, metavar="N", help=say["depth"])
    parser.add_argument("--step", type=int, metavar="N", help=say["step"])
    return parser.parse_args(words)


def _show(explanation: Explanation) -> None:
    if on_terminal():
        step_through(explanation)
        return
    try:
        print(explanation)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _loss(what: str) -> Tensor:
    """The scalar that ``what`` names."""
    file, colon, name = what.rpartition(":")
    if colon:
        return _returned(Path(file), name)
    if what.endswith(".py"):
        raise InputError(
            f"'{what}' names a file: name the function too, as in '{what}:loss', which returns the "
            "scalar Tensor to explain"
        )
    if what not in DATA:
        raise unknown("data set or FILE.py:function", what, DATA)
    return _loss_on(what)


def _network(data: Dataset) -> nn.Sequential:
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Dense(data.features, _HIDDEN, rng=rng),
        nn.ReLU(),
        nn.Dense(_HIDDEN, data.classes, rng=rng),
    )


def _loss_on(name: str) -> Tensor:
    """The loss of a small network on a few samples."""
    data = load(name)
    x = Tensor(data.x_train[:_SAMPLES], name="x")
    labels = Tensor(data.y_train[:_SAMPLES], name="labels")
    loss = ops.cross_entropy(_network(data)(x), labels)
    loss.name = "loss"
    return loss


def _explain_ranks(given: Any, lang: str) -> None:
    """Rank 0 prints how the ranks' gradients of one step of that network became one."""
    if given.what not in DATA or given.html or given.draw or given.step is not None:
        raise SharedError(
            "several ranks explain a data-parallel step of a small network, as text: mpirun -n N "
            f"minigrad explain {DATA[0]}; all else is explained by one process"
        )
    comm = world()
    with or_end_the_job(comm):
        data = load(given.what)
        model = _network(data)
        parallel = DataParallel(model, SGD(model, 0.1), comm)
        rows = slice(*share(2 * comm.size + 1, comm.rank, comm.size))  # uneven, so weights differ
        losses = ops.cross_entropy(model(data.x_train[rows]), data.y_train[rows], reduction="none")
        explanation = explain_ranks(parallel, losses, lang=lang)
        if comm.rank == 0:
            print(explanation)


def _returned(file: Path, name: str) -> Tensor:
    """What the function ``name`` of ``file`` returns."""
    if not file.is_file():
        raise InputError(f"there is no file '{file}': give FILE.py:function")
    module_name = f"explained_{file.stem}"  # so that random.py is not taken for Python's own
    spec = importlib.util.spec_from_file_location(module_name, file.resolve())
    if spec is None or spec.loader is None:
        raise InputError(f"'{file}' is no Python file: give FILE.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
        function = getattr(module, name, None)
        if callable(function):
            found = function()
    except (Exception, SystemExit) as error:
        raise InputError(f"'{file}' raised {_where(error, file)}; mend that first") from error
    finally:
        sys.path.remove(str(file.resolve().parent))
    if not callable(function):
        own = [name for name, value in vars(module).items() if inspect.isfunction(value)]
        if own:
            raise unknown(f"function in {file}", name, own)
        raise InputError(f"{file} has no function, so no '{name}' that would return a Tensor")
    if not isinstance(found, Tensor):
        raise InputError(
            f"'{name}' of {file} returned {type(found).__name__}: it should return the scalar "
            "Tensor to explain, such as a loss"
        )
    return found


def _where(error: BaseException, file: Path) -> str:
    """The error, and the last line of ``file`` that led to it."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == file.resolve():
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    line = lines[-1] if lines else getattr(error, "lineno", None)
    at = f" in line {line}" if line else ""
    return f"{type(error).__name__}{at}: {error}"
