"""``minigrad ask``: the list of questions, and how one is answered."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from minigrad.ask.answer import Answer
from minigrad.ask.questions import QUESTIONS, Question, find
from minigrad.distributed.host import launched_rank, launched_ranks
from minigrad.errors import InputError, require
from minigrad.figure import save_figure
from minigrad.files import make_folder
from minigrad.language import language
from minigrad.parser import Parser, spoken

__all__ = ["main"]

_SAY = {
    "en": {
        "list": "questions, each answered by 'minigrad ask ID' (or by its short name):",
        "picture": "picture: {}",
        "help": "Answer a question of the articles by an experiment, run now on this machine; "
        "without an id, list the questions.",
        "example": "for example: minigrad ask gradients-vanish",
        "id": "D1-2, or a short name: see the list",
        "all": "answer every question",
        "out": "where pictures go (default: %(default)s)",
        "both": "--all answers every question; leave out '{}', or --all",
        "ranks": "minigrad ask was started on several ranks, but each would do the same; start it "
        "once, without mpirun: where an experiment needs ranks, it starts them",
    },
    "zh": {
        "list": "问题列表；运行 'minigrad ask ID'（ID 也可用简称代替），即以实验作答：",
        "picture": "图：{}",
        "help": "用一个实验回答文章提出的问题，实验就在这台机器上运行；不给出 ID 则列出全部问题。",
        "example": "例如：minigrad ask gradients-vanish",
        "id": "D1-2 或简称，见问题列表",
        "all": "回答所有问题",
        "out": "图片保存到哪个文件夹（默认：%(default)s）",
        "both": "--all 回答所有问题；请去掉 '{}' 或 --all",
        "ranks": "minigrad ask 在多个进程上启动，每个进程都会做同样的事；"
        "请不用 mpirun，只启动一次：实验若需要多个进程，会自行启动",
    },
}


def main(words: Sequence[str] | None = None) -> int:
    """List the questions, or answer one, or all; the result is the exit code."""
    say = _SAY[lang := spoken(words)]
    parser = Parser(prog="minigrad ask", description=say["help"], epilog=say["example"], lang=lang)
    parser.add_argument("id", nargs="?", metavar="ID", help=say["id"])
    parser.add_argument("--all", action="store_true", help=say["all"])
    parser.add_language()
    folder = str(Path("runs", "ask"))
    parser.add_argument("--out", default=folder, metavar="FOLDER", help=say["out"])
    given = parser.parse_args(words)
    lang = language(given.lang)
    if given.all and given.id is not None:
        raise InputError(say["both"].format(given.id))
    asked = list(QUESTIONS.values()) if given.all else [find(given.id)] if given.id else []
    if not asked:
        if launched_rank(os.environ) == 0:
            print(_listing(lang))
        return 0
    if launched_ranks(os.environ) != 1:
        raise InputError(say["ranks"])
    require("matplotlib", "viz")
    make_folder(given.out, "picture")
    for number, question in enumerate(asked):
        if number:
            print()
        _answer(question, lang, Path(given.out))
    return 0


def _answer(question: Question, lang: str, folder: Path) -> None:
    print(
        f"{question.id}  {question.name}  ({question.where})\n{question.text(lang)}\n", flush=True
    )
    module = importlib.import_module(f"minigrad.ask.{question.module}")
    answer: Answer = module.answer()
    path = folder / f"{question.id}.png"
    save_figure(answer.figure, path)
    for sentence in answer.zh if lang == "zh" else answer.en:
        print(sentence)
    print(f"\n{_SAY[lang]['picture'].format(path)}", flush=True)


def _listing(lang: str) -> str:
    wide = max(len(question.name) for question in QUESTIONS.values())
    rows = [f"  {q.id}  {q.name:<{wide}}  {q.text(lang)}" for q in QUESTIONS.values()]
    return "\n".join([_SAY[lang]["list"], *rows])
