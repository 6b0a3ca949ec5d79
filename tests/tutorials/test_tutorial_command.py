"""``minigrad tutorial``: lists, runs with pictures, writes notebooks, and refuses in a sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import webbrowser

import pytest
from mpirun import mpirun

from minigrad import cli
from minigrad.errors import MissingExtra
from minigrad.tutorials import TUTORIALS, command, notebook
from minigrad.tutorials.notebook import plainly


@pytest.fixture
def dark(monkeypatch):
    """No screen, and notes what a browser would open."""
    opened = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(webbrowser, "open", opened.append)
    return opened


@pytest.mark.parametrize(("lang", "title"), [("en", "Momentum"), ("zh", "动量法")])
def test_without_a_number_it_lists(lang, title, capsys):
    assert cli.main(["tutorial", "--lang", lang]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15
    assert re.fullmatch(rf"  4 +{title} +04_momentum.py", lines[4])


@pytest.mark.parametrize("screen", [False, True])
def test_a_picture_is_written_and_shown_where_there_is_a_screen(
    screen, dark, tmp_path, capfd, monkeypatch
):
    pytest.importorskip("matplotlib")
    if screen:
        monkeypatch.setenv("DISPLAY", ":0")
    assert cli.main(["tutorial", "4", "--out", str(tmp_path)]) == 0
    picture = tmp_path / "04_momentum-1.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    out, err = capfd.readouterr()
    assert f"picture: {picture}" in out
    assert "non-interactive" not in err
    assert dark == ([picture.as_uri()] if screen else [])


def test_a_notebook_is_valid_installs_first_and_runs(tmp_path, capsys):
    pytest.importorskip("sphinx_gallery", reason="notebooks need the extra docs")
    assert cli.main(["tutorial", "04", "--notebook", "--out", str(tmp_path)]) == 0
    path = tmp_path / "04_momentum.ipynb"
    assert str(path) in capsys.readouterr().out
    made = json.loads(path.read_text(encoding="utf-8"))
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.from_dict(made))
    code = ["".join(c["source"]) for c in made["cells"] if c["cell_type"] == "code"]
    assert "%pip install" in code[0]
    assert "cuda12" in code[0]
    program = "\n".join(code[1:])
    environ = os.environ | {"MPLBACKEND": "Agg"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environ, cwd=tmp_path)
    text = "\n".join("".join(c["source"]) for c in made["cells"] if c["cell_type"] == "markdown")
    assert not re.search(r"^\.\. \S+::|:(?:term|doc|math):`", text, re.MULTILINE)
    assert r"\theta_{t+1} = \theta_t - \gamma v_{t+1}" in text
    assert "def test_f3_momentum(" in text


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("https://me:secret@example.org/minigrad.git", "https://example.org/minigrad.git"),
        ("https://example.org/a@b.git", "https://example.org/a@b.git"),
        ("git@example.org:minigrad.git", ""),
        (None, ""),
    ],
)
def test_a_notebook_tells_where_the_clone_is_and_no_password(origin, told, tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("needs git")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    if origin is not None:
        words = ["git", "-C", str(tmp_path), "config", "remote.origin.url", origin]
        subprocess.run(words, check=True)
    monkeypatch.setattr(notebook, "folder", lambda: tmp_path / "tutorials")
    assert notebook._repository() == told
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(notebook, "folder", lambda: tmp_path / "lib" / "source")
    assert notebook._repository() == ""  # installed inside of somebody's clone


def test_a_wheel_has_what_a_notebook_shows_but_the_tests(tmp_path, monkeypatch):
    """Its tutorials lie in minigrad/tutorials/source."""
    (tmp_path / "source" / "recorded").mkdir(parents=True)
    (tmp_path / "source" / "recorded" / "06.txt").write_text("$ mpirun -n 2\n")
    monkeypatch.setattr(notebook, "folder", lambda: tmp_path / "source")
    assert "$ mpirun -n 2" in plainly(".. recorded:: tutorials/recorded/06.txt\n")
    assert "# tests/a.py::test_b" in plainly(".. property-test:: tests/a.py::test_b\n")


def test_every_tutorial_becomes_plain_text():
    for tutorial in TUTORIALS.values():
        text = re.sub("^# ?", "", tutorial.path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        plain = plainly(text)
        assert not re.search(r"^\.\. (?!math|note|code-block)\S+::|:(?:term|doc):`", plain, re.M)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["99"], "there is no tutorial '99': give a number from 1 to 14"),
        (["0"], "there is no tutorial '0'"),
        (["x"], "there is no tutorial 'x'"),
        (["--notebook"], "which tutorial?"),
        (["4", "--lang", "fr"], "unknown language 'fr'"),
    ],
)
def test_bad_words_are_a_sentence(words, sentence, capsys):
    assert cli.main(["tutorial", *words]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["tutorial", "4", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [(["4"], "matplotlib", "viz"), (["4", "--notebook"], "sphinx_gallery", "docs")],
)
def test_a_missing_extra_is_named(words, module, extra, monkeypatch, capsys, tmp_path):
    def missing(name, brings):
        assert (name.partition(".")[0], brings) == (module, extra)
        raise MissingExtra(f"install .[{extra}]")

    monkeypatch.setattr(command, "require", missing)
    monkeypatch.setattr("minigrad.tutorials.notebook.require", missing)
    assert cli.main(["tutorial", *words, "--out", str(tmp_path)]) == 2
    assert f".[{extra}]" in capsys.readouterr().err


@pytest.mark.mpi
def test_ranks_are_sent_to_the_file_itself():
    run = mpirun(2, "-m", "minigrad", "tutorial", "4")
    assert run.returncode != 0
    assert run.stderr.count("run the file itself on them") == 1
