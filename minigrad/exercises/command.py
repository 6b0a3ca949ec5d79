"""``minigrad check``: looks at the learner's answers to a tutorial's exercises."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from minigrad.distributed.host import for_child, launched_ranks
from minigrad.errors import InputError, unknown
from minigrad.exercises.check import Exercise, exercises
from minigrad.language import language
from minigrad.parser import Parser, spoken
from minigrad.tutorials.listing import TUTORIALS, Tutorial, find

__all__ = ["SECONDS", "check_file", "main"]

SECONDS = 20.0
"""How long one check may take."""

Verdict = dict[str, str | bool]

_SAY = {
    "en": {
        "checking": "checking {}",
        "all": "all {} are right; the next tutorial: minigrad tutorial {}",
        "last": "all {} are right, and this was the last tutorial",
        "ask": "for a hint on {}: minigrad check {}{} --hint 1{}",
        "hint": "hint {} of {} on {}: {}",
        "next": "the next one: minigrad check {}{} --hint {}{}",
        "done": "there is no further hint; the page has the formula: {}",
        "beyond": "{} has {} hints, so --hint is a number from 1 to {}, not {}",
        "help": "Check your answers to a tutorial's exercises, written in "
        "tutorials/exercises/NN.py or in FILE. Each may take 20 seconds.",
        "example": "for example: minigrad check 4",
        "number": "the tutorial, 1 to {}",
        "file": "your file, where it is another",
        "K": "the K-th hint, on the first failure or on --of NAME",
        "of": "the exercise that the hint is for",
        "mend": "mend that first: nothing in the file can be checked",
        "ranks": "minigrad check was started on several ranks; start it without mpirun",
        "no file": "there is no file {} to check; the stubs are in {}",
        "no stub": "there is no file {0}: give yours, minigrad check {1} FILE, or bring "
        "the stub back, git checkout {0}",
        "wheel": "there is no file {0}: copy the stub there, {1}",
    },
    "zh": {
        "checking": "检查 {}",
        "all": "{} 题全部正确；下一篇教程：minigrad tutorial {}",
        "last": "{} 题全部正确，这是最后一篇教程",
        "ask": "需要 {} 的提示：minigrad check {}{} --hint 1{}",
        "hint": "提示 {}/{}（{}）：{}",
        "next": "下一条提示：minigrad check {}{} --hint {}{}",
        "done": "没有更多提示；公式见 {}",
        "beyond": "{} 有 {} 条提示，--hint 应为 1 到 {}，而不是 {}",
        "help": "检查你对教程练习的解答；解答写在 tutorials/exercises/NN.py 或 FILE 中。"
        "每题限时 20 秒。",
        "example": "例如：minigrad check 4",
        "number": "教程编号，1 到 {}",
        "file": "你的文件（默认为上述文件）",
        "K": "第 K 条提示，针对第一道未通过的题，或 --of NAME 指定的题",
        "of": "要提示的题目",
        "mend": "请先改正这一处：在此之前无法检查文件中的任何解答",
        "ranks": "minigrad check 在多个进程上启动；请不要用 mpirun 启动",
        "no file": "没有可检查的文件 {}；练习模板位于 {}",
        "no stub": "没有文件 {0}：请给出你的文件，minigrad check {1} FILE；"
        "或恢复模板，git checkout {0}",
        "wheel": "没有文件 {0}：先把模板 {1} 复制到那里",
    },
}


def main(words: Sequence[str] | None = None) -> int:
    """Check a learner's file; the result, 0 where all is right and else 1, is the exit code."""
    say = _SAY[lang := spoken(words)]
    parser = Parser(
        prog="minigrad check", description=say["help"], epilog=say["example"], lang=lang
    )
    parser.add_argument("number", metavar="N", help=say["number"].format(len(TUTORIALS)))
    parser.add_argument("file", nargs="?", metavar="FILE", help=say["file"])
    parser.add_argument("--hint", type=int, metavar="K", help=say["K"])
    parser.add_argument("--of", metavar="NAME", help=say["of"])
    parser.add_language()
    given = parser.parse_args(words)
    if launched_ranks(os.environ) != 1:
        raise InputError(say["ranks"])
    lang, tutorial = language(given.lang), find(given.number)
    path = _answers(tutorial, given.file, say)
    asked = exercises(tutorial.number)
    by_name = {exercise.name: exercise for exercise in asked}
    if given.of is not None and given.of not in by_name:
        raise unknown("exercise", given.of, by_name)
    print(say["checking"].format(path), flush=True)
    found = check_file(path, tutorial, asked, lang, SECONDS)
    failed = next((e for e, verdict in zip(asked, found) if not verdict["right"]), None)
    if failed is None:
        more = tutorial.number + 1 in TUTORIALS
        print("\n" + say["all" if more else "last"].format(len(asked), tutorial.number + 1))
        return 0
    if "file" in found[-1]:
        print("\n" + say["mend"])
        return 1
    what = shlex.quote(given.file) if given.file else ""
    words_after = f" {what}" if what else "", f" --of {given.of}" if given.of else ""
    print("\n" + _hint(by_name.get(given.of, failed), given.hint, tutorial, words_after, lang))
    return 1


def check_file(
    path: Path, tutorial: Tutorial, asked: Sequence[Exercise], lang: str, seconds: float
) -> list[Verdict]:
    """Check each function of the file at ``path``, telling of each as it is done; none after one
    for which the file as a whole could not be read."""
    found = []
    for exercise in asked:
        verdict = _verdict(path, tutorial, exercise, seconds)
        sign = "✓" if verdict["right"] else "·" if "unwritten" in verdict else "✗"
        words = "" if verdict["right"] else ("：" if lang == "zh" else ": ") + str(verdict[lang])
        print(f"  {sign} {path.name if 'file' in verdict else exercise.name}{words}", flush=True)
        found.append(verdict)
        if "file" in verdict:
            break
    return found


def _verdict(path: Path, tutorial: Tutorial, exercise: Exercise, seconds: float) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder, "verdict")
        command = [sys.executable, "-m", "minigrad.exercises.child"]
        command += [str(path), str(tutorial.number), exercise.name, str(to)]
        process = subprocess.Popen(
            command,
            env=for_child(os.environ),
            stdin=subprocess.DEVNULL,  # input() fails at once, and does not wait
            start_new_session=True,  # so that what the file starts can be ended with it
        )
        try:
            code = process.wait(seconds)
        except BaseException as error:
            _end(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return {
                **({"file": True} if to.with_name("reading").exists() else {}),
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


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a check, and what it has started where the system has groups of processes."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


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
        raise InputError(say["no stub"].format(here, tutorial.number))
    if path == tutorial.stub and path.parent.parent.name == "source":  # of an installed wheel
        raise InputError(say["wheel"].format(here, path))
    return path.resolve()


def _hint(
    exercise: Exercise, asked: int | None, of: Tutorial, words: tuple[str, str], lang: str
) -> str:
    """A hint and how to get the next; ``words`` are the file and the exercise if given."""
    say, hints = _SAY[lang], exercise.hints(lang)
    file, name = words
    if asked is None:
        return say["ask"].format(exercise.name, of.number, file, name)
    if not 1 <= asked <= len(hints):
        raise InputError(say["beyond"].format(exercise.name, len(hints), len(hints), asked))
    told = say["hint"].format(asked, len(hints), exercise.name, hints[asked - 1])
    if asked < len(hints):
        return told + "\n" + say["next"].format(of.number, file, asked + 1, name)
    return told + "\n" + say["done"].format(of.path)
