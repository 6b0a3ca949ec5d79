"""The command ``minigrad`` and the parts that it hands over to.

A person's mistake ends with one sentence on stderr and exit code 2, without a traceback
(``--debug`` shows it), on one rank or many.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from minigrad import __version__
from minigrad.distributed.host import launched_rank
from minigrad.errors import InputError, MissingExtra, unknown
from minigrad.language import LANGUAGES
from minigrad.parser import Parser, spoken

__all__ = ["main"]

_COMMANDS = {
    "train": (
        "train a classifier on digits, breast_cancer, wine, iris or a CSV file",
        "训练分类器：digits、breast_cancer、wine、iris 或一个 CSV 文件",
    ),
    "explain": (
        "step through forward and backward of a computation: minigrad explain digits",
        "逐步查看一次计算的前向与反向传播：minigrad explain digits",
    ),
    "ask": (
        "answer a question of the articles by an experiment; without one, list them",
        "用实验回答文章提出的问题；不给出问题则列出全部",
    ),
    "tutorial": (
        "run one of the fourteen tutorials; without a number, list them",
        "运行十四篇教程之一；不给出编号则列出全部",
    ),
    "check": (
        "check your answers to a tutorial's exercises: minigrad check 4",
        "检查你对教程练习的解答：minigrad check 4",
    ),
    "articles": (
        "list every formula, claim and erratum of the articles with its test",
        "列出文章的每条公式、论断与勘误及其测试",
    ),
    "demo": (
        "show one idea of distributed training; without a name, list the demos",
        "演示分布式训练的一个想法；不给出名称则列出全部",
    ),
    "launch": (
        "start N ranks with the right mpiexec: minigrad launch -n N train digits",
        "用正确的 mpiexec 启动 N 个进程：minigrad launch -n N train digits",
    ),
    "plan": (
        "predict which computers a training needs: memory and time of each layout of ranks",
        "预测训练需要怎样的计算机：每种进程布局的内存与时间",
    ),
    "doctor": (
        "show what is installed, and what to do about what is missing",
        "显示安装了什么，缺少的该怎么办",
    ),
}
"""What each does, in English and in Chinese."""
_SAY = {
    "en": {
        "help": "A deep-learning framework small enough to read.",
        "usage": "minigrad [--version] COMMAND …",
        "commands": "commands:",
        "more": "'minigrad COMMAND --help' shows what a command takes.",
        "version": "show program's version number and exit",
        "debug": "show the tracebacks of errors",
    },
    "zh": {
        "help": "一个小到可以通读的深度学习框架。",
        "usage": "minigrad [--version] 命令 …",
        "commands": "命令：",
        "more": "'minigrad 命令 --help' 显示该命令的用法。",
        "version": "显示版本号",
        "debug": "出错时显示完整的调用栈",
    },
}
_PARTS = {
    "check": "exercises",
    "demo": "demos",
    "explain": "explanation",
    "tutorial": "tutorials",
}
"""The part of minigrad whose ``main`` is a command, where the two have different names."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # one that lacks a letter shows another, and goes on
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if argv is None else argv)
    # what follows "launch" and its own --debug is the job's
    end = words.index("launch") + 2 if "launch" in words[:2] else len(words)
    debug = "--debug" in words[:end]
    words = [word for word in words[:end] if word != "--debug"] + words[end:]
    try:
        command, rest = _command(words)
        if command == "train":
            return _train(rest)
        part = importlib.import_module(f"minigrad.{_PARTS.get(command, command)}")
        return int(part.main(rest))
    except KeyboardInterrupt:
        print("minigrad: interrupted", file=sys.stderr)
        return 130
    except (InputError, MissingExtra) as error:
        if debug:
            raise
        if launched_rank(os.environ) == 0:  # all ranks raise it; one tells
            print(f"minigrad: {error}", file=sys.stderr)
        return 2


def _command(words: Sequence[str]) -> tuple[str, list[str]]:
    say = _SAY[lang := spoken(words)]
    column = LANGUAGES.index(lang)
    listing = "\n".join(f"  {name:<8} {texts[column]}" for name, texts in _COMMANDS.items())
    parser = Parser(
        prog="minigrad",
        description=say["help"],
        usage=say["usage"],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"{say['commands']}\n{listing}\n\n{say['more']}",
        lang=lang,
    )
    version = f"minigrad {__version__}"
    parser.add_argument("--version", action="version", version=version, help=say["version"])
    parser.add_argument("--debug", action="store_true", help=say["debug"])
    parser.add_argument("command", help=argparse.SUPPRESS)
    command = parser.parse_args(words[:1] or ["--help"]).command
    if command not in _COMMANDS:
        raise unknown("command", command, _COMMANDS)
    return command, list(words[1:])


def _train(words: Sequence[str]) -> int:
    from minigrad.distributed import elastic_world, world
    from minigrad.distributed.mpi import TIMEOUT
    from minigrad.recipe import resumed, train
    from minigrad.settings import Settings, add_options
    from minigrad.train.together import or_end_the_job, together

    parser = Parser(
        prog="minigrad train",
        description="Train a classifier; results go to runs/NAME. Alone, or under mpirun -n N.",
    )
    add_options(parser)
    given = vars(parser.parse_args(words))
    resume = given.pop("resume", False)
    first = None if resume else Settings(**given)
    elastic, timeout = given.get("elastic", False), given.get("timeout", TIMEOUT)
    comm = elastic_world() if elastic else world(timeout)
    with or_end_the_job(comm):
        with together(comm):  # a folder may be there for one rank and not for another
            settings = first or resumed(given)
        return train(settings, comm, resume=resume)
