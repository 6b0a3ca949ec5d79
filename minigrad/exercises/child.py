"""Checks one function of a learner's file, in a process of its own: a loop may never end.

    python -m minigrad.exercises.child FILE NUMBER NAME VERDICT

writes to VERDICT, as JSON, {"right": true}, or what is wrong in both languages. While the file is
read, there is a file "reading" beside VERDICT.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minigrad.exercises.check import Answer, Exercise, Wrong, exercises, show

__all__ = ["verdict"]


def verdict(
    path: Path, exercise: Exercise, reading_ends: Callable[[], object] = lambda: None
) -> dict[str, str | bool]:
    """What the file's function is worth: ``right``, or not, and then ``en`` and ``zh`` say why;
    ``unwritten`` where it is as in the stub, ``file`` where the file as a whole cannot be read."""
    name = exercise.name
    last: list[Any] = []  # what the function returned last
    try:
        module = _load(path)
    except BaseException as error:
        return _unread(error, path)
    reading_ends()
    try:
        answer = getattr(module, name, None)
        if not callable(answer):
            return _wrong(f"there is no function '{name}' in the file", f"文件中没有函数 '{name}'")
        exercise.check(_noting(answer, last), np.random.default_rng(0))
    except NotImplementedError as error:
        if traceback.extract_tb(error.__traceback__)[-1].filename != str(path):
            return _raised(error, path, last)  # by a library that the answer calls
        return _wrong("not written yet", "尚未作答") | {"unwritten": True}
    except Wrong as wrong:
        return _wrong(wrong.en, wrong.zh)
    except BaseException as error:
        return _raised(error, path, last)
    return {"right": True}


def _noting(answer: Answer, last: list[Any]) -> Answer:
    def noted(*given: Any) -> Any:
        last.clear()
        found = answer(*given)
        last[:] = [found]  # ranks are threads, and each returns its own
        return found

    return noted


def _unread(error: BaseException, path: Path) -> dict[str, str | bool]:
    """The sentence on a file that is not Python, or raises an error when it is read."""
    whole: dict[str, str | bool] = {"file": True}
    if isinstance(error, SyntaxError) and error.filename in (None, str(path)):
        if not error.lineno:
            text = show(error)
            return whole | _wrong(
                f"the file is not Python: {text}", f"文件不是合法的 Python：{text}"
            )
        return whole | _wrong(
            f"line {error.lineno} is not Python: {error.msg}",
            f"第 {error.lineno} 行不是合法的 Python：{error.msg}",
        )
    return whole | (
        _at_a_line(error, path)
        or _wrong(f"the file cannot be read: {_said(error)}", f"无法读取文件：{_said(error)}")
    )


def _raised(error: BaseException, path: Path, last: list[Any]) -> dict[str, str | bool]:
    """The sentence on an error of a call, or of a check that met an odd answer."""
    if found := _at_a_line(error, path):
        return found
    if last:
        return _wrong(
            f"the answer has not the form that the stub describes: {show(last[0])}",
            f"答案的形式与模板中的说明不符：{show(last[0])}",
        )
    return _wrong(
        f"it cannot be called with the arguments of the stub: {_said(error)}",
        f"无法用模板中的参数调用它：{_said(error)}",
    )


def _at_a_line(error: BaseException, path: Path) -> dict[str, str | bool]:
    """The sentence with the last line of the file that the error passed through, or {}."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    text = _said(error)
    return (
        _wrong(f"line {lines[-1]} raised {text}", f"第 {lines[-1]} 行抛出 {text}") if lines else {}
    )


def _said(error: BaseException) -> str:
    kind, text = type(error).__name__, show(error)
    return f"{kind}: {text}" if text else kind


def _wrong(en: str, zh: str) -> dict[str, str | bool]:
    return {"right": False, "en": en, "zh": zh}


def _load(path: Path) -> ModuleType:
    """The file as a module, whatever its ending, and never from a cache of an earlier version."""
    module = ModuleType("answers")
    module.__file__ = str(path)
    sys.modules["answers"] = module  # where dataclasses and pickle look for it
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), vars(module))
    return module


if __name__ == "__main__":
    file, number, name, to = sys.argv[1:]
    sys.path.append(str(Path(file).parent))
    (wanted,) = (e for e in exercises(int(number)) if e.name == name)
    reading = Path(to).with_name("reading")
    reading.touch()
    told = verdict(Path(file), wanted, reading.unlink)
    Path(to).write_text(json.dumps(told), encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # whatever threads the file has started
