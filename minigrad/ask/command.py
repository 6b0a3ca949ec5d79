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
from minigrad.language import LANGUAGES, language
from minigrad.launch import Parser

__all__ = ["main"]

_SAY = {
    "en": ("questions, each answered by 'minigrad ask ID' (or by its short name):", "picture: {}"),
    "zh": ("问题列表；运行 'minigrad ask ID'（ID 也可用简称代替），即以实验作答：", "图：{}"),
}


def main(words: Sequence[str] | None = None) -> int:
    """List the questions, or answer one, or all; the result is the exit code."""
    parser = Parser(
        prog="minigrad ask",
        description="Answer a question of the articles by an experiment, run now on this machine; "
        "without an id, list the questions.",
        epilog="for example: minigrad ask gradients-vanish",
    )
    parser.add_argument("id", nargs="?", metavar="ID", help="D1-2, or a short name: see the list")
    parser.add_argument("--all", action="store_true", help="answer every question")
    parser.add_argument("--lang", metavar="LANG", help=" or ".join(LANGUAGES))
    parser.add_argument(
        "--out",
        default=str(Path("runs", "ask")),
        metavar="FOLDER",
        help="where pictures go (default: %(default)s)",
    )
    given = parser.parse_args(words)
    lang = language(given.lang)
    if given.all and given.id is not None:
        raise InputError(f"--all answers every question; leave out '{given.id}', or --all")
    asked = list(QUESTIONS.values()) if given.all else [find(given.id)] if given.id else []
    if not asked:
        if launched_rank(os.environ) == 0:
            print(_listing(lang))
        return 0
    if launched_ranks(os.environ) != 1:
        raise InputError(
            "minigrad ask was started on several ranks, but each would do the same; start it "
            "once, without mpirun: where an experiment needs ranks, it starts them"
        )
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
    print(f"\n{_SAY[lang][1].format(path)}", flush=True)


def _listing(lang: str) -> str:
    wide = max(len(question.name) for question in QUESTIONS.values())
    rows = [f"  {q.id}  {q.name:<{wide}}  {q.text(lang)}" for q in QUESTIONS.values()]
    return "\n".join([_SAY[lang][0], *rows])
