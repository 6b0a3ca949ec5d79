"""minigrad explain: one step per key on a real pseudo-terminal, numbered text elsewhere."""

import codecs
import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from mpirun import mpirun

from minigrad import InputError, cli
from minigrad.explanation import command
from minigrad.explanation.terminal import _wrapped
from minigrad.language import width

FILE = """
import minigrad as mg

def loss():
    w = mg.Tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True, name="w")
    return (mg.Tensor([[0.5, 1.0]], name="x") @ w).tanh().sum()

def number():
    return 3

def vector():
    return loss() * mg.Tensor([1.0, 2.0])

def missing():
    return {}["key"]

def shapes():
    return mg.Tensor([1.0]) @ mg.Tensor([[1.0], [2.0]])

def needs(x):
    return x
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def said(capsys, *words):
    assert command.main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_a_function_of_a_file_as_numbered_text(mine, capsys):
    text = said(capsys, f"{mine}:loss", "--lang", "en")
    numbers = re.findall(r"^step (\d+) of 9 · ", text, re.MULTILINE)
    assert numbers == [str(i) for i in range(1, 10)]
    assert "v3 = matmul(x, w)" in text
    assert "w.grad" in text


def test_one_step_in_chinese(mine, capsys):
    text = said(capsys, f"{mine}:loss", "--lang", "zh", "--step", 3)
    assert text.startswith("第 3 步，共 9 步 · 前向传播 · v3 = matmul(x, w)")
    assert text.count("步，共") == 1


@pytest.mark.parametrize("name", command.DATA)
def test_a_small_network(name, capsys):
    pytest.importorskip("sklearn")
    text = said(capsys, name, "--lang", "en", "--step", 4)
    assert "dense(x, layers.0.weight, layers.0.bias)" in text


def test_page_and_picture(mine, tmp_path, capsys):
    pytest.importorskip("pygraphviz")
    pytest.importorskip("latex2mathml")
    page, picture = tmp_path / "steps.html", tmp_path / "graph.svg"
    text = said(capsys, f"{mine}:loss", "--html", page, "--draw", picture)
    assert text.split() == [str(page), str(picture)]
    assert "<svg" in page.read_text("utf-8")
    assert "<svg" in picture.read_text("utf-8")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("none.py:loss", "there is no file"),
        ("mine.py", "name the function too"),
        ("mine.py:los", "did you mean 'loss'"),
        ("mine.py:number", "returned int"),
        ("mine.py:vector", r"shape \(2,\)"),
        ("mine.py:missing", "KeyError in line 15"),
        ("mine.py:shapes", "InputError in line 18: matmul"),
        ("mine.py:needs", "TypeError.*missing 1 required"),
        ("mine.py:loss --step 99", "the steps are 1 to 9"),
        ("mine.py:loss --step 2 --html a.html", "give one of them"),
        ("mine.py:loss --draw a.gif", "'.gif'"),
        ("mine.py:loss --lang fr", "'fr'"),
        ("digit", "did you mean 'digits'"),
        ("broken.py:loss", "SyntaxError in line 1"),
        ("ends.py:loss", "SystemExit in line 1"),
        ("empty.py:loss", "has no function"),
    ],
)
def test_a_mistake_is_one_sentence(mine, monkeypatch, what, sentence):
    monkeypatch.chdir(mine.parent)
    for name, text in (("broken", "def f(:"), ("ends", "raise SystemExit"), ("empty", "")):
        (mine.parent / f"{name}.py").write_text(text)
    with pytest.raises(InputError, match=sentence):
        command.main(what.split())
    assert sys.path.count(str(mine.parent)) == 0


def test_a_file_named_as_one_of_pythons_own(tmp_path, capsys):
    (tmp_path / "random.py").write_text(FILE)
    assert "step 1 of 9" in said(capsys, f"{tmp_path / 'random.py'}:loss", "--lang", "en")
    import random

    assert random.random() < 1


@pytest.mark.mpi
def test_on_several_ranks_it_tells_how_gradients_become_one(mine):
    job = mpirun(2, "-m", "minigrad", "explain", "digits", "--lang", "en")
    assert job.returncode == 0, job.stderr
    assert job.stdout.count("2 ranks, 5 samples") == 1
    assert "rank 1, 2 samples, weight 0.4" in job.stdout
    job = mpirun(2, "-m", "minigrad", "explain", f"{mine}:loss")
    assert job.returncode != 0
    assert job.stderr.count("all else is explained by one process") == 1


def test_the_command_line_finds_it(mine, capsys):
    assert cli.main(["explain", f"{mine}:number"]) == 2
    assert capsys.readouterr().err.startswith("minigrad: 'number' of ")


def started(mine, **kinds):
    environ = os.environ | {"TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-m", "minigrad", "explain", f"{mine}:loss", "--lang", "en"]
    return subprocess.Popen(words, env=environ, **kinds)


def test_a_reader_that_has_seen_enough(mine):
    read, write = os.pipe()
    os.close(read)
    job = started(mine, stdout=write, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    os.close(write)
    _, errors = job.communicate(timeout=60)
    assert (job.returncode, errors) == (0, b"")


class Terminal:
    """The command on a pseudo-terminal, 80 by 24: keys go in, screens come out."""

    def __init__(self, mine):
        self.main, side = os.openpty()
        self.decode = codecs.getincrementaldecoder("utf-8")().decode
        self.before, self.unread = self.state(), ""
        self.size(24, 80)
        self.job = started(mine, stdin=side, stdout=side, stderr=side)
        os.close(side)

    def state(self):
        import termios

        return termios.tcgetattr(self.main)

    def size(self, rows, columns):
        import termios

        termios.tcsetwinsize(self.main, (rows, columns))

    def until(self, text, within=30):
        """What is written up to ``text``."""
        end = time.monotonic() + within
        while text not in self.unread:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} in {self.unread!r}"
            if select.select([self.main], [], [], left)[0]:
                with contextlib.suppress(OSError):
                    self.unread += self.decode(os.read(self.main, 4096))
        before, _, self.unread = self.unread.partition(text)
        return before + text

    def press(self, keys, then):
        os.write(self.main, keys.encode())
        return self.until(then)

    def ended(self):
        code = self.job.wait(timeout=30)
        assert self.state() == self.before
        return code


@pytest.fixture
def terminal(mine):
    pytest.importorskip("termios")
    terminal = Terminal(mine)
    yield terminal
    terminal.job.kill()
    terminal.job.wait()
    os.close(terminal.main)


def test_one_step_per_key(terminal):
    terminal.until("q quit")
    assert terminal.state() != terminal.before
    for keys, step in [
        ("n", 2), ("\r", 3), ("\x1b[C", 4), ("\x1bOC", 5), ("p", 4), ("\x1b[D", 3), ("b", 6),
        ("f", 1), ("nnn", 4), ("l", 9), ("n", 9), ("\x1b[A", 8), ("\x1b[B", 9), ("x", 9), ("f", 1),
        ("p", 1),
    ]:  # fmt: skip
        screen = terminal.press(keys, f"step {step} of 9")
        screen += terminal.until("q quit")
        assert "Traceback" not in screen
    terminal.press("g", "number of a step:")
    assert "step 3 of 9" in terminal.press("v3\n", "q quit")
    terminal.press("g", "number of a step:")
    assert "step 9 of 9" in terminal.press("9\n", "q quit")
    terminal.press("g", "number of a step:")
    assert "step 9 of 9" in terminal.press("nobody\n", "there is no node 'nobody'")
    terminal.size(40, 100)  # is noticed without a key
    terminal.until("step 9 of 9")
    os.write(terminal.main, b"q")
    assert terminal.ended() == 0


def test_a_small_window_moves_over_a_long_step(terminal):
    terminal.until("q quit")
    terminal.size(8, 60)
    terminal.until("q quit")
    assert "more lines: ↓" in terminal.press("b", "q quit")
    for _ in range(9):  # all of this step, then the next one
        screen = terminal.press(" ", "q quit")
        assert len(screen.splitlines()) <= 8
        if "step 7 of 9" in screen:
            break
    assert "step 7 of 9" in screen
    os.write(terminal.main, b"\x04")
    assert terminal.ended() == 0


def test_an_interrupt_leaves_the_terminal_as_it_was(terminal):
    terminal.until("q quit")
    terminal.job.send_signal(signal.SIGINT)
    assert terminal.ended() == 0


@pytest.mark.parametrize("across", [20, 33, 80])
@pytest.mark.parametrize("text", ["  值: " + "梯度下降" * 30, "w " * 99, "x" * 200, " " * 99 + "y"])
def test_pieces_fit_and_lose_nothing(text, across):
    pieces = list(_wrapped(text, across))
    assert all(width(piece) <= across for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_a_name_cannot_steer_the_terminal():
    assert list(_wrapped("a\x1b[2Jb", 80)) == ["a�[2Jb"]
