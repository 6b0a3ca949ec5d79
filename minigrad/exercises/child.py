"""Checks one function of a learner's file, in a process of its own: a loop may never end.

    python -m minigrad.exercises.child FILE NUMBER NAME VERDICT

writes to VERDICT, as JSON, {"right": true}, or what is wrong in both languages.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minigrad.exercises.check import Answer, Exercise, Wrong, exercises, show

__all__ = ["verdict"]


def verdict(path: Path, exercise: Exercise) -> dict[str, str | bool]:
    """What the file's function is worth: ``right``, or not, and then ``en`` and ``zh`` say why;
    ``unwritten`` where it is as in the stub."""
    name = exercise.name
    last: list[Any] | None = None  # what the function returned last
    try:
        answer = getattr(_load(path), name, None)
        last = []
        if not callable(answer):
            return _wrong(f"there is no function '{name}' in the file", f"文件中没有函数 '{name}'")
        exercise.check(_noting(answer, last), np.random.default_rng(0))
    except NotImplementedError:
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


def _raised(error: BaseException, path: Path, last: list[Any] | None) -> dict[str, str | bool]:
    """The sentence on an error: of the file, of a call, or of a check that met an odd answer."""
    kind, text = type(error).__name__, show(error)
    if isinstance(error, SyntaxError) and error.filename in (None, str(path)):
        if not error.lineno:
            return _wrong(f"the file is not Python: {text}", f"文件不是合法的 Python：{text}")
        return _wrong(
            f"line {error.lineno} is not Python: {error.msg}",
            f"第 {error.lineno} 行不是合法的 Python：{error.msg}",
        )
    text = f"{kind}: {text}" if text else kind
    line = _line(error, path)
    if line is not None:
        return _wrong(f"line {line} raised {text}", f"第 {line} 行抛出 {text}")
    if last is None:
        return _wrong(f"the file cannot be read: {text}", f"无法读取文件：{text}")
    if last:
        return _wrong(
            f"the answer has not the form that the stub describes: {show(last[0])}",
            f"答案的形式与模板中的说明不符：{show(last[0])}",
        )
    return _wrong(
        f"it cannot be called with the arguments of the stub: {text}",
        f"无法用模板中的参数调用它：{text}",
    )


def _wrong(en: str, zh: str) -> dict[str, str | bool]:
    return {"right": False, "en": en, "zh": zh}


def _load(path: Path) -> ModuleType:
    """The file as a module, whatever its ending, and never from a cache of an earlier version."""
    module = ModuleType("answers")
    module.__file__ = str(path)
    sys.modules["answers"] = module  # where dataclasses and pickle look for it
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), vars(module))
    return module


def _line(error: BaseException, path: Path) -> int | None:
    """The last line of the learner's file that the error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else None


if __name__ == "__main__":
    file, number, name, to = sys.argv[1:]
    sys.path.append(str(Path(file).parent))
    (wanted,) = (e for e in exercises(int(number)) if e.name == name)
    Path(to).write_text(json.dumps(verdict(Path(file), wanted)), encoding="utf-8")
