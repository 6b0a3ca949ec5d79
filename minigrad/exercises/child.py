"""Checks one function of a learner's file, in a process of its own: a loop may never end.

    python -m minigrad.exercises.child FILE NUMBER NAME VERDICT

writes to VERDICT, as JSON, {"right": true}, or what is wrong in both languages.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from pathlib import Path
from types import ModuleType

import numpy as np

from minigrad.exercises.check import Exercise, Wrong, exercises

__all__ = ["verdict"]


def verdict(path: Path, exercise: Exercise) -> dict[str, str | bool]:
    """What the file's function is worth: ``right``, or not, and then ``en`` and ``zh`` say why;
    ``unwritten`` where it is as in the stub."""
    name = exercise.name
    try:
        answer = getattr(_load(path), name, None)
        if not callable(answer):
            return _wrong(f"there is no function '{name}' in the file", f"文件中没有函数 '{name}'")
        exercise.check(answer, np.random.default_rng(0))
    except NotImplementedError:
        return _wrong("not written yet", "尚未作答") | {"unwritten": True}
    except Wrong as wrong:
        return _wrong(wrong.en, wrong.zh)
    except SyntaxError as error:
        return _wrong(
            f"line {error.lineno} is not Python: {error.msg}",
            f"第 {error.lineno} 行不是合法的 Python：{error.msg}",
        )
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        line = _line(error, path)
        kind = type(error).__name__
        text = f"{kind}: {error}" if str(error) else kind
        return _wrong(f"line {line} raised {text}", f"第 {line} 行抛出 {text}")
    return {"right": True}


def _wrong(en: str, zh: str) -> dict[str, str | bool]:
    return {"right": False, "en": en, "zh": zh}


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("answers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _line(error: BaseException, path: Path) -> int | str:
    """The last line of the learner's file that the error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines and lines[-1] is not None else "?"


if __name__ == "__main__":
    file, number, name, to = sys.argv[1:]
    (wanted,) = (e for e in exercises(int(number)) if e.name == name)
    Path(to).write_text(json.dumps(verdict(Path(file), wanted)), encoding="utf-8")
