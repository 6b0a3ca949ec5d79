"""``minigrad tutorial``: the list, one of them run with its pictures, or as a notebook."""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from minigrad.distributed.host import for_child, launched_rank, launched_ranks
from minigrad.errors import InputError, require
from minigrad.files import make_folder, write_whole
from minigrad.language import columns, language
from minigrad.parser import Parser, spoken
from minigrad.tutorials.listing import TUTORIALS, Tutorial, find

__all__ = ["main"]

_SAY = {
    "en": {
        "list": "tutorials, each run by 'minigrad tutorial N':",
        "running": "{}. {}: {}",
        "picture": "picture: {}",
        "exercises": "exercises: {}, looked at by 'minigrad check {}'",
        "notebook": "notebook: {}",
        "help": "Run a tutorial and show its pictures; without a number, list them.",
        "example": "for example: minigrad tutorial 4",
        "number": "1 to 14",
        "as notebook": "write it as NAME.ipynb instead",
        "out": "where pictures (default: runs/tutorials) or the notebook (default: here) go",
        "which": "which tutorial? for example: minigrad tutorial 4 --notebook",
        "ranks": "minigrad tutorial was started on several ranks; run the file itself on them, for "
        "example: mpirun -n 2 python tutorials/13_data_parallelism.py",
    },
    "zh": {
        "list": "教程列表；运行 'minigrad tutorial N' 即可执行其中一篇：",
        "running": "{}. {}：{}",
        "picture": "图：{}",
        "exercises": "练习：{}，用 'minigrad check {}' 检查",
        "notebook": "笔记本：{}",
        "help": "运行一篇教程并显示其中的图；不给出编号则列出全部教程。",
        "example": "例如：minigrad tutorial 4",
        "number": "1 到 14",
        "as notebook": "改为写成笔记本 NAME.ipynb",
        "out": "图片（默认：runs/tutorials）或笔记本（默认：当前文件夹）保存到哪个文件夹",
        "which": "哪一篇教程？例如：minigrad tutorial 4 --notebook",
        "ranks": "minigrad tutorial 在多个进程上启动；请直接用它们运行教程文件，"
        "例如：mpirun -n 2 python tutorials/13_data_parallelism.py",
    },
}


def main(words: Sequence[str] | None = None) -> int:
    """List the tutorials, or run one; the result is the exit code."""
    say = _SAY[lang := spoken(words)]
    parser = Parser(
        prog="minigrad tutorial", description=say["help"], epilog=say["example"], lang=lang
    )
    parser.add_argument("number", nargs="?", metavar="N", help=say["number"])
    parser.add_argument("--notebook", action="store_true", help=say["as notebook"])
    parser.add_argument("--out", metavar="FOLDER", help=say["out"])
    parser.add_language()
    given = parser.parse_args(words)
    lang = language(given.lang)
    if given.number is None:
        if given.notebook:
            raise InputError(say["which"])
        if launched_rank(os.environ) == 0:
            print(_listing(lang))
        return 0
    if launched_ranks(os.environ) != 1:
        raise InputError(say["ranks"])
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
    code = subprocess.call(command, env=for_child(os.environ) | {"MPLBACKEND": "Agg"})
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
