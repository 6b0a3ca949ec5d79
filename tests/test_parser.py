"""The help and the errors of commands, in both languages."""

from __future__ import annotations

import re
from typing import Any

import pytest

from minigrad import cli
from minigrad.errors import InputError
from minigrad.language import width
from minigrad.parser import Parser, spoken

COMMANDS = ["", "explain", "ask", "tutorial", "check", "articles"]
NAMES = {
    *("minigrad", "COMMAND", "version", "debug", "help", "lang", "LANG", "FILE", "FOLDER", "NAME"),
    *("tensor", "digits", "breast", "cancer", "wine", "iris", "loss", "mine", "function", "WHAT"),
    *("explain", "ask", "tutorial", "check", "articles", "demo", "launch", "plan", "doctor"),
    *("train", "mpiexec", "csv", "html", "draw", "depth", "step", "svg", "png", "pdf", "ipynb"),
    *("all", "out", "runs", "gradients", "vanish", "notebook", "tutorials", "exercises", "hint"),
    *("open", "markdown", "python", "pytest", "tests", "documents"),
}
"""Words of the commands themselves, and names."""


def help_of(command: str, capsys: Any, *more: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command.split(), "--help", *more])
    assert stopped.value.code == 0
    return str(capsys.readouterr().out)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_in_chinese(command: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    text = help_of(command, capsys)
    assert text.startswith(f"用法： minigrad {command}".rstrip())
    words = {word.lower() for word in re.findall(r"[A-Za-z]{3,}", text)}
    assert words <= {name.lower() for name in NAMES}
    assert max(map(width, text.splitlines())) <= 80
    assert not re.search(r"^[，。；：、）]|[\u4e00-\u9fff][,;:.]", text, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_in_english(command: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    text = help_of(command, capsys)
    assert text.startswith(f"usage: minigrad {command}".rstrip())
    assert not re.search(r"[\u3000-\uffff]", text)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_option_is_stronger_than_the_locale(
    command: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    english = help_of(command, capsys, "--lang", "en")
    chinese = help_of(command, capsys)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert help_of(command, capsys) == english != chinese
    assert help_of(command, capsys, "--lang=ZH") == chinese
    options = [re.findall(r"^  (?:-\S+, )?(--?\w+|[A-Z]+\b)", t, re.M) for t in (english, chinese)]
    assert options[0] == options[1] != []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["explain"], "缺少参数：WHAT（见 'minigrad explain --help'）"),
        (["check", "4", "--bogus"], "无法识别的参数：--bogus（见"),
        (["explain", "digits", "--stp"], "无法识别的参数：--stp，是不是 --step？（见"),
        (["check", "4", "--hint", "x"], "参数 --hint 应为整数，而不是 'x'（见"),
        (["ask", "--out"], "参数 --out 后面要有一个值（见"),
        (["articles", "--open=3"], "参数 --open 不带值，但给出了 '3'（见"),
        (["explain", "digits", "--d=3"], "选项 --d=3 有歧义，可能是 --draw, --depth（见"),
        (["ask", "--all", "D1-1"], "--all 回答所有问题；请去掉 'D1-1' 或 --all"),
        (["tutorial", "--notebook"], "哪一篇教程？例如：minigrad tutorial 4 --notebook"),
        (["explain", "digits", "--depth", "3"], "--depth 决定 --html 与 --draw 显示多少"),
        (["explain", "digits", "--step", "1", "--html", "f"], "--step 只输出一步，"),
        (["explain", "digits", "--step", "999"], "--step 999：步的编号为 1 到 "),
        (["check", "4", "none.py"], "没有可检查的文件 none.py；练习模板位于 "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_in_chinese(words: list[str], sentence: str, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith(f"minigrad: {sentence}")


def test_an_error_of_argparse_without_translation_stays() -> None:
    with pytest.raises(InputError, match=r"something else（见 'x --help'）"):
        Parser(prog="x", lang="zh").error("something else")


@pytest.mark.parametrize(
    ("words", "locale", "expected"),
    [
        ([], "zh_CN.UTF-8", "zh"),
        ([], "C", "en"),
        (["--lang", "zh"], "C", "zh"),
        (["4", "--lang=EN"], "zh_CN", "en"),
        (["--lang", "fr"], "zh_CN", "zh"),  # which the command itself refuses
        (["--lang"], "C", "en"),
    ],
)
def test_spoken(words: list[str], locale: str, expected: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    assert spoken(words) == expected


def test_spoken_without_words_reads_those_of_the_process(monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.argv", ["minigrad", "--lang", "zh"])
    monkeypatch.setenv("LC_ALL", "C")
    assert spoken() == "zh"
