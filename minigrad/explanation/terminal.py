"""Explanations in a terminal: one step per key."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import select
import shutil
import sys
from collections.abc import Callable, Iterator

from minigrad.explanation.explanation import Explanation
from minigrad.explanation.text import step_text
from minigrad.explanation.texts import say

__all__ = ["on_terminal", "step_through"]

_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)
_CLEAR, _DIM, _PLAIN = "\x1b[2J\x1b[H", "\x1b[2m", "\x1b[0m"
_KEYS = {
    "n": "next", " ": "next", "\r": "next", "\n": "next", "\x1b[C": "next", "\x1b[B": "next",
    "p": "previous", "\x7f": "previous", "\x1b[D": "previous", "\x1b[A": "previous",
    "g": "go", "q": "quit", "\x1b": "quit", "\x03": "quit", "\x04": "quit",
    "f": "first", "\x1b[H": "first", "b": "backward", "l": "last", "\x1b[F": "last",
}  # fmt: skip


def on_terminal() -> bool:
    """Whether keys can be read and a screen written."""
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stdin.isatty() and sys.stdout.isatty() and not dumb


def step_through(explanation: Explanation) -> None:
    """Show one step; n (or space, →) and p (←) go on and back, g asks for a node's name or a
    step's number, f, b and l go to the first step, the first backward one, and the last; q ends."""
    place, note = 0, ""
    with _keys() as (key, ask):
        while True:
            _draw(explanation, place, note)
            note, does = "", _KEYS.get(key(), "")
            if does == "quit":
                print()
                return
            if does == "go":
                answer = ask(say("ask", explanation.lang)).strip()
                found = _found(explanation, answer, place)
                place = place if found is None else found
                note = say("not found", explanation.lang, name=answer) * (found is None)
            else:
                place = _moved(explanation, place, does)


def _moved(explanation: Explanation, place: int, does: str) -> int:
    last = len(explanation) - 1
    if does == "backward":
        return next(i for i, step in enumerate(explanation) if step.phase == "backward")
    steps = {"next": min(place + 1, last), "previous": max(place - 1, 0), "first": 0, "last": last}
    return steps.get(does, place)


def _found(explanation: Explanation, name: str, place: int) -> int | None:
    """The step with that number, or the next one of the value with that name."""
    if name.isdigit() and 1 <= int(name) <= len(explanation):
        return int(name) - 1
    order = [*range(place + 1, len(explanation)), *range(place + 1)]
    return next((i for i in order if explanation[i].vertex.label == name), None)


def _draw(explanation: Explanation, place: int, note: str) -> None:
    """One step on a cleared screen, cut to its height, and what the keys do below it."""
    width, height = shutil.get_terminal_size()
    lines = [
        part
        for line in step_text(explanation, explanation[place]).splitlines()
        for part in _wrapped(line, max(width, 20))
    ]
    room = max(height - 3, 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], say("cut", explanation.lang, lines=len(lines) - room + 1)]
    help_line = note or say("keys", explanation.lang)
    print(f"{_CLEAR}{chr(10).join(lines)}\n\n{_DIM}{help_line}{_PLAIN}", end="", flush=True)


def _wrapped(line: str, width: int) -> Iterator[str]:
    """``line`` in pieces of at most ``width`` columns, Chinese letters taking two; pieces after
    the first are indented. What would steer the terminal, in a name, is made harmless."""
    piece, columns = "", 0
    for letter in line:
        letter = letter if letter.isprintable() else "�"
        wide = 1 + (ord(letter) > 0x2E80)
        if columns + wide > width:
            yield piece
            piece, columns = "      ", 6
        piece, columns = piece + letter, columns + wide
    yield piece


@contextlib.contextmanager
def _keys() -> Iterator[tuple[Callable[[], str], Callable[[str], str]]]:
    """A function that waits for one key, and one that asks for a line; the terminal is as it was
    before afterwards, whatever happens."""
    if os.name == "nt":
        msvcrt = importlib.import_module("msvcrt")
        arrows = {"H": "\x1b[A", "P": "\x1b[B", "M": "\x1b[C", "K": "\x1b[D"}

        def pressed() -> str:
            letter = msvcrt.getwch()
            return arrows.get(msvcrt.getwch(), "") if letter in "\x00\xe0" else str(letter)

        yield pressed, lambda prompt: input(f"\n{prompt} ")
        return
    termios, tty = importlib.import_module("termios"), importlib.import_module("tty")
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    waiting: list[str] = []

    def one_key() -> str:
        size = shutil.get_terminal_size()
        while not waiting:
            if select.select([descriptor], [], [], 0.2)[0]:
                # an arrow arrives as three bytes at once; keys that are held, several at once
                found = os.read(descriptor, 1024)
                keys = _KEY.findall(found.decode(errors="replace")) if found else ["\x04"]
                waiting.extend(key.replace("\x1bO", "\x1b[") for key in keys)
            elif shutil.get_terminal_size() != size:
                return ""  # draws it anew
        return waiting.pop(0)

    def line(prompt: str) -> str:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        try:
            return input(f"\n{prompt} ")
        except EOFError:
            return ""
        finally:
            tty.setcbreak(descriptor)

    try:
        tty.setcbreak(descriptor)
        yield one_key, line
    except KeyboardInterrupt:
        print()
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
