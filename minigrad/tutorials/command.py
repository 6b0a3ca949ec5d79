"""``minigrad tutorial``: the list, one of them run with its pictures, or as a notebook."""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from minigrad.distributed.host import launched_rank, launched_ranks
from minigrad.errors import InputError, require
from minigrad.files import make_folder, write_whole
from minigrad.language import LANGUAGES, columns, language
from minigrad.launch import Parser
from minigrad.tutorials.listing import TUTORIALS, Tutorial, find

__all__ = ["main"]

_SAY = {
    "en": {
        "list": "tutorials, each run by 'minigrad tutorial N':",
        "running": "{}. {}: {}",
        "picture": "picture: {}",
        "exercises": "exercises: {}, looked at by 'minigrad check {}'",
        "notebook": "notebook: {}",
    },
    "zh": {
        "list": "教程列表；运行 'minigrad tutorial N' 即可执行其中一篇：",
        "running": "{}. {}：{}",
        "picture": "图：{}",
        "exercises": "练习：{}，用 'minigrad check {}' 检查",
        "notebook": "笔记本：{}",
    },
}


def main(words: Sequence[str] | None = None) -> int:
    """List the tutorials, or run one; the result is the exit code."""
    parser = Parser(
        prog="minigrad tutorial",
        description="Run a tutorial and show its pictures; without a number, list them.",
        epilog="for example: minigrad tutorial 4",
    )
    parser.add_argument("number", nargs="?", metavar="N", help="1 to 14")
    parser.add_argument("--notebook", action="store_true", help="write it as NAME.ipynb instead")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="where pictures (default: runs/tutorials) or the notebook (default: here) go",
    )
    parser.add_argument("--lang", metavar="LANG", help=" or ".join(LANGUAGES))
    given = parser.parse_args(words)
    lang = language(given.lang)
    if given.number is None:
        if given.notebook:
            raise InputError("which tutorial? for example: minigrad tutorial 4 --notebook")
        if launched_rank(os.environ) == 0:
            print(_listing(lang))
        return 0
    if launched_ranks(os.environ) != 1:
        raise InputError(
            "minigrad tutorial was started on several ranks; run the file itself on them, for "
            "example: mpirun -n 2 python tutorials/13_data_parallelism.py"
        )
    tutorial = find(given.number)
    if given.notebook:
        return _notebook(tutorial, Path(given.out or "."), lang)
    return _run(tutorial, Path(given.out or Path("runs", "tutorials")), lang)


def _listing(lang: str) -> str:
    rows = [(f"  {t.number}", t.title(lang), t.name + ".py") for t in TUTORIALS.values()]
    return "\n".join([_SAY[lang]["list"], columns(rows)])


def _run(tutorial: Tutorial, folder: Path, lang: str) -> int:
    require("matplotlib", "viz")
    make_folder(folder, "picture")
    say = _SAY[lang]
    print(say["running"].format(tutorial.number, tutorial.title(lang), tutorial.path), flush=True)
    before = {path: path.stat().st_mtime_ns for path in folder.glob(f"{tutorial.name}-*.png")}
    command = [sys.executable, "-m", "minigrad.tutorials.child", str(tutorial.path), str(folder)]
    code = subprocess.call(command, env={**os.environ, "MPLBACKEND": "Agg"})
    if code:
        return code
    print()
    for path in sorted(folder.glob(f"{tutorial.name}-*.png")):
        if path.stat().st_mtime_ns != before.get(path):
            print(say["picture"].format(path))
            if _screen():
                webbrowser.open(path.resolve().as_uri())
    print(say["exercises"].format(tutorial.stub, tutorial.number))
    return 0


def _screen() -> bool:
    """Whether a picture can be shown: X or Wayland on Linux, always elsewhere."""
    if sys.platform != "linux":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _notebook(tutorial: Tutorial, folder: Path, lang: str) -> int:
    from minigrad.tutorials.notebook import notebook

    path = folder / f"{tutorial.name}.ipynb"
    text = notebook(tutorial)
    make_folder(folder, "notebook")
    write_whole(path, text.encode())
    print(_SAY[lang]["notebook"].format(path))
    return 0
