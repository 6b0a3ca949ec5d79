"""The parser of minigrad's commands: its help and its errors in English or Chinese."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn

from minigrad.errors import InputError
from minigrad.language import LANGUAGES, language, width

__all__ = ["Parser", "spoken"]

_CHINESE = {
    r"the following arguments are required: (.*)": "缺少参数：{}",
    r"unrecognized arguments: (.*)": "无法识别的参数：{}",
    r"argument (.+): expected one argument": "参数 {} 后面要有一个值",
    r"argument (.+): invalid int value: (.*)": "参数 {} 应为整数，而不是 {}",
    r"argument (.+): invalid float value: (.*)": "参数 {} 应为数，而不是 {}",
    r"argument (.+): not allowed with argument (.*)": "参数 {} 不能与 {} 同时使用",
    r"argument (.+): ignored explicit argument (.*)": "参数 {} 不带值，但给出了 {}",
    r"ambiguous option: (.+) could match (.*)": "选项 {} 有歧义，可能是 {}",
}
"""The sentences of argparse."""
_PIECE = re.compile(r"[（“]*(?:[^\s（“\u2e80-\uffff]+|[\u2e80-\uffff])[”），。；：、？！]*|\s+")
"""What is not broken: a word or a Chinese character, with the punctuation that belongs to it."""


def spoken(words: Sequence[str] | None = None) -> str:
    """The language of a command's help: that of ``--lang`` in ``words`` (by default those of this
    process), else the locale's."""
    given = list(sys.argv[1:] if words is None else words)
    named = [word.partition("=")[2] for word in given if word.startswith("--lang=")]
    named += [after for word, after in pairwise(given) if word == "--lang"]
    return next((name.lower() for name in named if name.lower() in LANGUAGES), language())


class Parser(argparse.ArgumentParser):
    """A parser whose errors are raised, so that under mpirun they are told once.

    ``lang`` is ``"en"`` or ``"zh"``, for what argparse says by itself.
    """

    def __init__(self, *, lang: str = "en", add_help: bool = True, **given: Any) -> None:
        self.lang = lang
        if lang == "zh":
            given["formatter_class"] = _Chinese
        super().__init__(add_help=add_help and lang == "en", **given)
        if lang == "zh":
            self._positionals.title, self._optionals.title = "参数", "选项"
            if add_help:
                self.add_argument("-h", "--help", action="help", help="显示本帮助")

    def add_language(self) -> None:
        """Add the option ``--lang``."""
        self.add_argument("--lang", metavar="LANG", help=self.either(*LANGUAGES))

    def either(self, one: str, other: str) -> str:
        """``one or other``, in the parser's language."""
        return f"{one} 或 {other}" if self.lang == "zh" else f"{one} or {other}"

    def error(self, message: str) -> NoReturn:
        given = message.partition("unrecognized arguments: ")[2].split()
        near = difflib.get_close_matches(given[0], self._option_string_actions) if given else []
        if self.lang == "zh":
            hint = f"，是不是 {near[0]}？" if near else ""
            raise InputError(f"{_translated(message)}{hint}（见 '{self.prog} --help'）")
        hint = f": did you mean {near[0]}?" if near else ""
        raise InputError(f"{message}{hint} (see '{self.prog} --help')")


class _Chinese(argparse.HelpFormatter):
    """Lines are broken by the width of characters, also where there is no space, and kept where
    the text has them."""

    def format_help(self) -> str:
        text = super().format_help()
        text = re.sub(r"^usage:", "用法：", text)  # as wide, so that its lines stay in place
        return re.sub(r"^(参数|选项):$", r"\1：", text, flags=re.MULTILINE)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return [line for part in text.splitlines() for line in _wrapped(part, width)]

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = self._split_lines(text, width - len(indent))
        return "\n".join(indent + line for line in lines)


def _wrapped(text: str, columns: int) -> list[str]:
    lines = [""]
    for piece in _PIECE.findall(text):
        if lines[-1].strip() and width(lines[-1] + piece.rstrip()) > columns:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def _translated(message: str) -> str:
    for pattern, sentence in _CHINESE.items():
        if match := re.fullmatch(pattern, message, re.DOTALL):
            return sentence.format(*match.groups())
    return message
