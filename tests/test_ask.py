"""``minigrad ask``: the list, one question, and what is not known."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minigrad import cli
from minigrad.ask import QUESTIONS, Answer
from minigrad.ask.questions import find
from minigrad.ask.ranks import on_ranks
from minigrad.distributed import Communicator

pytest.importorskip("matplotlib")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Experiments that answer at once; their modules' names as they are asked."""
    from minigrad.figure import new_figure

    asked: list[str] = []

    def load(name: str) -> object:
        asked.append(name)
        figure = new_figure(2, 2)
        figure.subplots().plot([1, 2])
        answer = Answer({}, ("One.", "Two.", "Three."), ("一。", "二。", "三。"), figure)
        return SimpleNamespace(answer=lambda: answer)

    stand_in = SimpleNamespace(import_module=load)
    monkeypatch.setattr(sys.modules["minigrad.ask.command"], "importlib", stand_in)
    return asked


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_list(lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", "--lang", lang]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == len(QUESTIONS) == 21
    for line, question in zip(lines, QUESTIONS.values()):
        assert line.split()[:2] == [question.id, question.name]
        assert line.endswith(question.text(lang))


@pytest.mark.parametrize("given", ["D1-2", "d1-2", "Q-D1-2", "gradients-vanish"])
def test_a_question_has_an_id_and_a_name(given: str) -> None:
    assert find(given) is QUESTIONS["D1-2"]


def test_every_question_has_an_experiment() -> None:
    for question in QUESTIONS.values():
        module = importlib.import_module(f"minigrad.ask.{question.module}")
        assert "answer" in module.__all__


@pytest.mark.parametrize(
    ("lang", "words"),
    [("en", ["vanish?", "One.\nTwo.\nThree."]), ("zh", ["梯度消失", "一。\n二。\n三。"])],
)
def test_an_answer_and_its_picture(
    lang: str, words: list[str], said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    assert cli.main(["ask", "D1-2", "--lang", lang, "--out", str(folder)]) == 0
    out = capsys.readouterr().out
    assert said == ["minigrad.ask.gradients_vanish"]
    assert all(word in out for word in words)
    assert out.rstrip().endswith(str(folder / "D1-2.png"))
    assert (folder / "D1-2.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_all(said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", "--all", "--lang", "en", "--out", str(tmp_path)]) == 0
    assert said == [f"minigrad.ask.{question.module}" for question in QUESTIONS.values()]
    assert capsys.readouterr().out.count("picture: ") == 21
    assert {path.stem for path in tmp_path.iterdir()} == set(QUESTIONS)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["gradient-vanishes"], "unknown question 'gradient-vanishes': did you mean 'gradients-v"),
        (["D1-9"], "unknown question 'D1-9': did you mean 'D1-"),
        (["--lang", "fr"], "unknown language 'fr'"),
        (["--all", "D1-2"], "leave out 'D1-2'"),
    ],
)
def test_what_is_not_known(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ask", *words]) == 2
    assert complaint in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_noticed_first(
    said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["ask", "D1-2", "--out", str(tmp_path / "file" / "folder")]) == 2
    out, complaint = capsys.readouterr()
    assert (out, said) == ("", [])
    assert "cannot be written" in complaint
    assert "--out" in complaint


def test_several_ranks_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("PMI_RANK", "0")
    assert cli.main(["ask", "D1-2"]) == 2
    assert "without mpirun" in capsys.readouterr().err


def who(comm: Communicator, least: int) -> dict[str, float]:
    """What each of the ranks can tell."""
    return {"rank": comm.rank, "size": comm.size, "least": least}


def test_ranks_as_threads() -> None:
    assert on_ranks(3, who, 7, threads=True) == ({"rank": 0, "size": 3, "least": 7}, "threads")


@pytest.mark.mpi
def test_ranks_as_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mpi4py")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    found, kind = on_ranks(2, who, 7)
    assert found == {"rank": 0, "size": 2, "least": 7}
    assert kind == "processes"
