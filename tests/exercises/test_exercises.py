"""``minigrad check`` looks at the learner's own file: stubs fail, right answers pass."""

from __future__ import annotations

import ast
import re
import time
from pathlib import Path

import numpy as np
import pytest

from minigrad import cli
from minigrad.exercises import Wrong, agree, command, exercise, exercises
from minigrad.exercises.child import verdict
from minigrad.exercises.command import check_file
from minigrad.tutorials import TUTORIALS

ANSWERS = Path(__file__).parent / "answers"
every = pytest.mark.parametrize("number", TUTORIALS)
ANSWER = """
def momentum_step(theta, v, g, eta, beta):
    v = beta * v - eta * g
    return theta + v, v

"""


DATACLASS = """from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Own:
    x: float = 0.0
    def __repr__(self): raise ValueError
"""


@every
def test_stubs_are_not_written_yet(number):
    for asked in exercises(number):
        assert verdict(TUTORIALS[number].stub, asked).get("unwritten"), asked.name


@every
def test_right_answers_pass(number):
    for asked in exercises(number):
        assert verdict(ANSWERS / f"{number:02}.py", asked) == {"right": True}, asked.name


@every
def test_wrong_answers_are_refused_with_a_sentence(number, tmp_path):
    """A mistake that learners make, in place of the right answer."""
    source = (ANSWERS / f"{number:02}.py").read_text(encoding="utf-8")
    for asked in exercises(number):
        swapped = source.replace(f"def {asked.name}(", f"def {asked.name}_right(")
        swapped = swapped.replace(f"def {asked.name}_wrong(", f"def {asked.name}(")
        path = tmp_path / f"{asked.name}.py"
        path.write_text(swapped, encoding="utf-8")
        found = verdict(path, asked)
        assert not found["right"], asked.name
        assert "unwritten" not in found
        assert "raised" not in found["en"], found
        assert found["en"]
        assert found["zh"] != found["en"]


@every
def test_hints_come_in_both_languages_and_stubs_say_what_they_take(number):
    for asked in exercises(number):
        assert 2 <= len(asked.hints("en")) == len(asked.hints("zh")) <= 4
    tree = ast.parse(TUTORIALS[number].stub.read_text(encoding="utf-8"))
    assert f"minigrad check {number}" in ast.get_docstring(tree)
    assert all(ast.get_docstring(f) for f in tree.body if isinstance(f, ast.FunctionDef))


# --- the command ----------------------------------------------------------------------------------


def checked(text, tmp_path, capsys, *words):
    """What ``minigrad check 4`` says of a file with this text, and its exit code."""
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    code = cli.main(["check", "4", str(path), *words])
    return capsys.readouterr().out, code


def test_the_stub_is_told_what_to_do_first(capfd):
    assert cli.main(["check", "4", "--lang", "en"]) == 1
    said = capfd.readouterr().out
    assert str(TUTORIALS[4].stub) in said
    assert "· momentum_step: not written yet" in said
    assert "for a hint on momentum_step: minigrad check 4 --hint 1" in said


def test_right_answers_lead_on(capfd):
    assert cli.main(["check", "4", str(ANSWERS / "04.py"), "--lang", "en"]) == 0
    assert "all 3 are right; the next tutorial: minigrad tutorial 5" in capfd.readouterr().out


def test_the_file_of_this_folder_comes_first(tmp_path, monkeypatch, capfd):
    mine = tmp_path / "tutorials" / "exercises" / "04.py"
    mine.parent.mkdir(parents=True)
    mine.write_text((ANSWERS / "04.py").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check", "4"]) == 0
    assert str(mine) in capfd.readouterr().out


def test_hints_come_one_at_a_time(tmp_path, capfd):
    seen = []
    for k, follows in ((1, "--hint 2"), (2, "--hint 3"), (3, "no further hint")):
        said, code = checked("", tmp_path, capfd, "--hint", str(k), "--lang", "en")
        assert code == 1
        assert follows in said
        (line,) = [line for line in said.splitlines() if line.startswith(f"hint {k} of 3")]
        seen.append(line)
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\n", "momentum_step: there is no function 'momentum_step' in the file"),
        (ANSWER.replace("beta *", "betta *"), "momentum_step: line 3 raised NameError"),
        (ANSWER.replace("theta + v, v", "theta"), "should be 2 values: return theta, v"),
        (ANSWER.replace("theta + v", "theta - v"), "θ goes uphill"),
        (ANSWER.replace("theta + v", "(theta + v)[:2]"), "should have the shape (4,)"),
        (ANSWER.replace("theta + v, v", "theta + v, 'v'"), "and the answer is 'v'"),
        (ANSWER + "import sys\nsys.exit(3)\n", "momentum_step: line 7 raised SystemExit: 3"),
        ("raise KeyboardInterrupt", "momentum_step: line 1 raised KeyboardInterrupt"),
        ("raise BaseException('a\\nb')", "momentum_step: line 1 raised BaseException: a b\n"),
        (ANSWER + "\0", "momentum_step: the file is not Python: "),
        ("# coding: nonsense", " is not Python: "),
        (ANSWER.replace(", beta)", ")"), "the arguments of the stub: TypeError: momentum_step()"),
        (ANSWER.replace("return", "v ="), "values: return theta, v; it is None"),
        (DATACLASS + ANSWER, "momentum_step: right"),
        (DATACLASS + ANSWER.replace("theta + v", "Own()"), "and the answer is Own\n"),
        ("largest_rate = lambda *given: 10**400", "largest_rate: the largest η for λ = 1"),
        ("largest_rate = lambda *given: '2'", "should be 2, and the answer is '2'"),
    ],
)
def test_each_fault_is_a_sentence(text, sentence, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    found = {asked.name: verdict(path, asked).get("en", "right") for asked in exercises(4)}
    assert sentence in "".join(f"{name}: {en}\n" for name, en in found.items())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def momentum_step(:\n", "mine.py: line 1 is not Python: "),
        (ANSWER + "import os\nos._exit(3)\n", "the process ended with exit code 3"),
        (ANSWER + "print('x' * 100000)\n", "✓ momentum_step"),
        (ANSWER + "input('?')\n", "mine.py: line 6 raised EOFError"),
    ],
)
def test_a_fault_of_the_process_is_a_sentence(text, sentence, tmp_path, capfd):
    said, code = checked(text, tmp_path, capfd, "--lang", "en")
    assert code == 1
    assert sentence in said
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("returns", [None, (), (None, None), "abc", [[1], [2, 3]], {1: 2}, 10**400])
@every
def test_whatever_is_returned_is_a_sentence(number, returns, tmp_path):
    for asked in exercises(number):
        path = tmp_path / "mine.py"
        path.write_text(f"def {asked.name}(*given):\n    return {returns!r}\n")
        found = verdict(path, asked)
        assert not found["right"]
        assert not re.search("Error|cannot be called", found["en"]), found
        assert found["zh"] != found["en"]


def test_other_files_of_the_folder_are_not_in_the_way(tmp_path, monkeypatch, capfd):
    for name in ("random.py", "numpy.py", "minigrad.py"):
        (tmp_path / name).write_text("raise ImportError('in the way')")
    (tmp_path / "helper.py").write_text("from minigrad import optim")
    monkeypatch.chdir(tmp_path)
    path = Path("my answers")  # without .py, and with a space
    path.write_text("import random, helper\n" + ANSWER)
    assert cli.main(["check", "4", str(path), "--lang", "en"]) == 1
    said = capfd.readouterr().out
    assert "✓ momentum_step" in said
    assert "minigrad check 4 'my answers' --hint 1" in said


def test_an_endless_loop_is_stopped_and_named(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(ANSWER + "def largest_rate(steepness, beta):\n    while True: pass\n")
    began = time.monotonic()
    found = check_file(path, TUTORIALS[4], exercises(4), "en", seconds=2.0)
    assert time.monotonic() - began < 15
    assert [v["right"] for v in found] == [True, False, False]
    assert "✗ largest_rate: stopped after 2 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def momentum_step(:\n", "✗ mine.py: line 1 is not Python: "),
        ("while True: pass\n", "✗ mine.py: stopped after 2 s"),
        ("raise SystemExit\n", "✗ mine.py: line 1 raised SystemExit"),
    ],
)
def test_a_fault_of_the_whole_file_is_told_once_and_without_a_hint(
    text, sentence, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(command, "SECONDS", 2.0)
    said, code = checked(text, tmp_path, capsys, "--lang", "en", "--hint", "1")
    assert code == 1
    assert said.count("✗") == said.count(sentence) == 1
    assert "mend that first" in said
    assert "hint" not in said


def test_a_hint_on_any_exercise(tmp_path, capfd):
    said, _ = checked(
        ANSWER, tmp_path, capfd, "--lang", "en", "--hint", "1", "--of", "nesterov_step"
    )
    assert "hint 1 of 3 on nesterov_step: " in said
    assert "--hint 2 --of nesterov_step" in said
    assert cli.main(["check", "4", "--of", "nesterov"]) == 2
    assert "did you mean 'nesterov_step'?" in capfd.readouterr().err


def test_what_a_file_starts_ends_with_its_check(tmp_path, capsys):
    """A thread that goes on delays no verdict; a process is ended with the check that is."""
    mark = tmp_path / "mark"
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    began = time.monotonic()
    path = tmp_path / "mine.py"
    path.write_text(thread + ANSWER)
    (found,) = check_file(path, TUTORIALS[4], exercises(4)[:1], "en", seconds=20.0)
    assert found["right"]
    assert time.monotonic() - began < 15
    sleeper = f"import time; time.sleep(4); open({str(mark)!r}, 'w')"
    path.write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {sleeper!r}])\n"
    )
    check_file(path, TUTORIALS[4], exercises(4)[:1], "en", seconds=2.0)
    time.sleep(3)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["99"], "there is no tutorial '99'"),
        (["4", "nowhere.py"], "there is no file nowhere.py to check"),
        (["4", "--hint", "9"], "momentum_step has 3 hints, so --hint is a number from 1 to 3"),
        (["4", "--lang", "fr"], "unknown language 'fr'"),
    ],
)
def test_bad_words_are_a_sentence(words, sentence, capfd):
    assert cli.main(["check", *words]) == 2
    told = capfd.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


def test_ranks_are_refused(monkeypatch, capsys):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("PMI_RANK", "0")
    assert cli.main(["check", "4"]) == 2
    assert "without mpirun" in capsys.readouterr().err


# --- what checks are written with -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected", "right"),
    [
        (1.0, 1, True), ([1, 2], np.array([1.0, 2.0]), True), (0.0, 0.0, True),
        (1 + 1e-7, 1, False), (np.nan, 1.0, False), ([1], 1, False), (None, 1, False),
        ("one", 1, False), ([[1], [2, 3]], 1, False), (1e-9, 0.0, False),
    ],
)  # fmt: skip
def test_agree(found, expected, right):
    if right:
        agree(found, expected, "x", "x")
    else:
        with pytest.raises(Wrong):
            agree(found, expected, "x", "x")


def test_answers_that_look_right_are_told_how_far_they_are_off():
    with pytest.raises(Wrong, match=r"is 2\. \(rounded: it is off by up to 1e-07\)"):
        agree(2 + 1e-7, 2.0, "x", "x")
    with pytest.raises(Wrong, match=r"is 3$"):
        agree(3.0, 2.0, "x", "x")


def test_an_epoch_comes_from_rng_alone():
    def epoch(count, batch_size, rng):
        return np.split(np.random.permutation(count), range(batch_size, count, batch_size))

    (asked,) = (e for e in exercises(3) if e.name == "epoch")
    with pytest.raises(Wrong, match="from rng alone"):
        asked.check(epoch, np.random.default_rng(0))


def test_hints_are_as_many_in_both_languages():
    with pytest.raises(ValueError, match="1 hints in English, 2 in Chinese"):
        exercise(hints_en=("a",), hints_zh=("a", "b"))
