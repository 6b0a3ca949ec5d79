"""``minigrad check``: looks at the learner's answers to a tutorial's exercises."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from minigrad.distributed.host import for_child, launched_ranks
from minigrad.errors import InputError
from minigrad.exercises.check import Exercise, exercises
from minigrad.language import language
from minigrad.parser import Parser, spoken
from minigrad.tutorials.listing import Tutorial, find

__all__ = ["SECONDS", "check_file", "main"]

SECONDS = 20.0
"""How long one check may take."""

Verdict = dict[str, str | bool]

_SAY = {
    "en": {
        "checking": "checking {}",
        "all": "all {} are right; the next tutorial: minigrad tutorial {}",
        "last": "all {} are right, and this was the last tutorial",
        "ask": "for a hint on {}: minigrad check {}{} --hint 1",
        "hint": "hint {} of {} on {}: {}",
        "next": "the next one: minigrad check {}{} --hint {}",
        "done": "there is no further hint; the page has the formula: {}",
        "beyond": "{} has {} hints, so --hint is a number from 1 to {}, not {}",
        "help": "Check your answers to a tutorial's exercises, written in "
        "tutorials/exercises/NN.py or in FILE. Each may take 20 seconds.",
        "example": "for example: minigrad check 4",
        "number": "the tutorial, 1 to 14",
        "file": "your file, where it is another",
        "K": "the K-th hint on the first failure",
        "ranks": "minigrad check was started on several ranks; start it without mpirun",
        "no file": "there is no file {} to check; the stubs are in {}",
        "no stub": "there is no file {}: give yours, minigrad check N FILE",
    },
    "zh": {
        "checking": "检查 {}",
        "all": "{} 题全部正确；下一篇教程：minigrad tutorial {}",
        "last": "{} 题全部正确，这是最后一篇教程",
        "ask": "需要 {} 的提示：minigrad check {}{} --hint 1",
        "hint": "提示 {}/{}（{}）：{}",
        "next": "下一条提示：minigrad check {}{} --hint {}",
        "done": "没有更多提示；公式见 {}",
        "beyond": "{} 有 {} 条提示，--hint 应为 1 到 {}，而不是 {}",
        "help": "检查你对教程练习的解答；解答写在 tutorials/exercises/NN.py 或 FILE 中。"
        "每题限时 20 秒。",
        "example": "例如：minigrad check 4",
        "number": "教程编号，1 到 14",
        "file": "你的文件（默认为上述文件）",
        "K": "第一道未通过的题的第 K 条提示",
        "ranks": "minigrad check 在多个进程上启动；请不要用 mpirun 启动",
        "no file": "没有可检查的文件 {}；练习模板位于 {}",
        "no stub": "没有文件 {}：请给出你的文件，minigrad check N FILE",
    },
}


def main(words: Sequence[str] | None = None) -> int:
    """Check a learner's file; the result, 0 where all is right and else 1, is the exit code."""
    say = _SAY[lang := spoken(words)]
    parser = Parser(
        prog="minigrad check", description=say["help"], epilog=say["example"], lang=lang
    )
    parser.add_argument("number", metavar="N", help=say["number"])
    parser.add_argument("file", nargs="?", metavar="FILE", help=say["file"])
    parser.add_argument("--hint", type=int, metavar="K", help=say["K"])
    parser.add_language()
    given = parser.parse_args(words)
    if launched_ranks(os.environ) != 1:
        raise InputError(say["ranks"])
    lang, tutorial = language(given.lang), find(given.number)
    path = _answers(tutorial, given.file, say)
    asked = exercises(tutorial.number)
    print(say["checking"].format(path), flush=True)
    found = check_file(path, tutorial, asked, lang)
    failed = next((e for e, verdict in zip(asked, found) if not verdict["right"]), None)
    if failed is None:
        end = tutorial.number == 14
        print("\n" + say["last" if end else "all"].format(len(asked), tutorial.number + 1))
        return 0
    print("\n" + _hint(failed, given.hint, tutorial, given.file, lang))
    return 1


def check_file(
    path: Path, tutorial: Tutorial, asked: Sequence[Exercise], lang: str, seconds: float = SECONDS
) -> list[Verdict]:
    """Check each function of the file at ``path``, telling of each as it is done."""
    found = []
    for exercise in asked:
        verdict = _verdict(path, tutorial, exercise, seconds)
        sign = "✓" if verdict["right"] else "·" if "unwritten" in verdict else "✗"
        words = "" if verdict["right"] else ("：" if lang == "zh" else ": ") + str(verdict[lang])
        print(f"  {sign} {exercise.name}{words}", flush=True)
        found.append(verdict)
    return found


def _verdict(path: Path, tutorial: Tutorial, exercise: Exercise, seconds: float) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder, "verdict")
        command = [sys.executable, "-m", "minigrad.exercises.child"]
        command += [str(path), str(tutorial.number), exercise.name, str(to)]
        try:
            code = subprocess.run(
                command,
                env=for_child(os.environ),
                stdin=subprocess.DEVNULL,  # input() fails at once, and does not wait
                timeout=seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return {
                "right": False,
                "en": f"stopped after {seconds:g} s: is there a loop that does not end?",
                "zh": f"运行 {seconds:g} 秒后被终止：是否有不会结束的循环？",
            }
        if not to.is_file():
            return {
                "right": False,
                "en": f"the process ended with exit code {code}, and gave no answer",
                "zh": f"进程以退出码 {code} 结束，没有给出答案",
            }
        verdict: Verdict = json.loads(to.read_text(encoding="utf-8"))
        return verdict


def _answers(tutorial: Tutorial, given: str | None, say: Mapping[str, str]) -> Path:
    """The learner's file: the one given, or that of the folder here, or that of the clone."""
    if given is not None:
        path = Path(given)
        if not path.is_file():
            raise InputError(say["no file"].format(path, tutorial.stub))
        return path.resolve()
    here = Path("tutorials", "exercises", tutorial.stub.name)
    path = here if here.is_file() else tutorial.stub
    if not path.is_file():
        raise InputError(say["no stub"].format(here))
    return path.resolve()


def _hint(exercise: Exercise, asked: int | None, of: Tutorial, file: str | None, lang: str) -> str:
    say, hints = _SAY[lang], exercise.hints(lang)
    file = "" if file is None else f" {shlex.quote(file)}"
    if asked is None:
        return say["ask"].format(exercise.name, of.number, file)
    if not 1 <= asked <= len(hints):
        raise InputError(say["beyond"].format(exercise.name, len(hints), len(hints), asked))
    told = say["hint"].format(asked, len(hints), exercise.name, hints[asked - 1])
    if asked < len(hints):
        return told + "\n" + say["next"].format(of.number, file, asked + 1)
    return told + "\n" + say["done"].format(of.path)
