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
from minigrad.explanation.text import step_text, verdict
from minigrad.explanation.texts import say
from minigrad.language import width

__all__ = ["on_terminal", "step_through"]

_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)
_SCROLL = 8  # lines that an arrow up or down moves a step that is longer than the screen
_CLEAR, _DIM, _PLAIN = "\x1b[2J\x1b[H", "\x1b[2m", "\x1b[0m"
_KEYS = {
    "n": "next", "\r": "next", "\n": "next", "\x1b[C": "next", " ": "down", "\x1b[B": "down",
    "p": "previous", "\x7f": "previous", "\x1b[D": "previous", "\x1b[A": "up",
    "g": "go", "q": "quit", "\x1b": "quit", "\x03": "quit", "\x04": "quit",
    "f": "first", "\x1b[H": "first", "b": "backward", "l": "last", "\x1b[F": "last",
}  # fmt: skip


def on_terminal() -> bool:
    """Whether keys can be read and a screen written."""
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stdin.isatty() and sys.stdout.isatty() and not dumb


def step_through(explanation: Explanation) -> None:
    """Show one step; n (→, Enter) and p (←) go on and back, ↓ (space) and ↑ first move a step that
    is longer than the screen; g asks for a node's name or a step's number, f, b and l go to the
    first step, the first backward one, and the last; q ends."""
    place, top, note = 0, 0, verdict(explanation)
    with _keys() as (key, ask):
        while True:
            size = shutil.get_terminal_size()
            below = _draw(explanation, place, top, note, size)
            note, does = "", _KEYS.get(key(size), "")
            if does == "quit":
                print()
                return
            if does == "down" and below:
                top += min(below, _SCROLL)
                continue
            if does == "up" and top:
                top = max(top - _SCROLL, 0)
                continue
            before = place
            if does == "go":
                answer = ask(say("ask", explanation.lang)).strip()
                found = _found(explanation, answer, place)
                place = place if found is None else found
                note = say("not found", explanation.lang, name=answer) * (found is None)
            else:
                place = _moved(explanation, place, does)
            top = top if place == before else 0


def _moved(explanation: Explanation, place: int, does: str) -> int:
    last = len(explanation) - 1
    if does == "backward":
        return next(i for i, step in enumerate(explanation) if step.phase == "backward")
    on, back = min(place + 1, last), max(place - 1, 0)
    steps = {"next": on, "down": on, "previous": back, "up": back, "first": 0, "last": last}
    return steps.get(does, place)


def _found(explanation: Explanation, name: str, place: int) -> int | None:
    """The step with that number, or the next one of the value with that name."""
    if name.isdigit() and 1 <= int(name) <= len(explanation):
        return int(name) - 1
    order = [*range(place + 1, len(explanation)), *range(place + 1)]
    return next((i for i in order if explanation[i].vertex.label == name), None)


def _draw(explanation: Explanation, place: int, top: int, note: str, size: os.terminal_size) -> int:
    """One step on a cleared screen, from its line ``top`` on, and what the keys do below it; the
    number of lines that did not fit."""
    across, height = size
    lines = [
        part
        for line in step_text(explanation, explanation[place]).splitlines()
        for part in _wrapped(line, max(across, 20))
    ]
    room = max(height - 3, 2)
    if len(lines) > room:
        top = min(top, len(lines) - room)
    shown, below = lines[top : top + room], 0
    if len(lines) > top + room:
        shown, below = shown[:-1], len(lines) - top - room + 1
        shown.append(say("cut", explanation.lang, lines=below))
    help_line = note or say("keys", explanation.lang)
    print(f"{_CLEAR}{chr(10).join(shown)}\n\n{_DIM}{help_line}{_PLAIN}", end="", flush=True)
    return below


def _wrapped(line: str, across: int) -> Iterator[str]:
    """``line`` in pieces of at most ``across`` columns, Chinese letters taking two, cut at a space
    where there is one; pieces after the first are indented. What would steer the terminal, in a
    name, is made harmless."""
    line = "".join(letter if letter.isprintable() else "�" for letter in line)
    indent = " " * min(len(line) - len(line.lstrip()) + 4, 12)
    while width(line) > across:
        end = max(i for i in range(min(len(line), 2 * across)) if width(line[:i]) <= across)
        space = line.rfind(" ", len(indent) + 1, end + 1)
        end = space if space > 0 else end
        yield line[:end]
        line = indent + line[end:].lstrip()
    yield line


@contextlib.contextmanager
def _keys() -> Iterator[tuple[Callable[[os.terminal_size], str], Callable[[str], str]]]:
    """A function that waits for one key, or for the window to have another size, and one that asks
    for a line; the terminal is as it was before afterwards, whatever happens."""
    if os.name == "nt":
        msvcrt = importlib.import_module("msvcrt")
        arrows = {"H": "\x1b[A", "P": "\x1b[B", "M": "\x1b[C", "K": "\x1b[D"}

        def pressed(size: os.terminal_size) -> str:
            letter = msvcrt.getwch()
            return arrows.get(msvcrt.getwch(), "") if letter in "\x00\xe0" else str(letter)

        yield pressed, lambda prompt: input(f"\n{prompt} ")
        return
    termios, tty = importlib.import_module("termios"), importlib.import_module("tty")
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    waiting: list[str] = []

    def one_key(size: os.terminal_size) -> str:
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
