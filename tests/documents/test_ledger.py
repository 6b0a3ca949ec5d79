"""The ledger: every item of the articles has a test, or is listed as open."""

import re
from collections import Counter
from pathlib import Path
from pkgutil import resolve_name

import pytest
from mpirun import ROOT

from minigrad import cli
from minigrad.articles import ITEMS, KINDS, ledger, main, marks
from minigrad.errors import InputError

CLONE = Path(ROOT)
OPEN = ("A12", "A14")
TEST = """
import pytest

@pytest.mark.article("F1", "E1", code="minigrad.optim.sgd_step")
@pytest.mark.parametrize("way", [1, 2])
def test_f1_descent(way): ...

@pytest.mark.article("F1", code="minigrad.optim.SGD")
@pytest.mark.article("Q-D1-2")
def test_f1_again(): ...
"""


@pytest.fixture
def clone(tmp_path):
    """A folder with some tests and a tutorial: ``clone(text)`` writes the tests."""

    def make(tests=TEST, tutorial='"""A program.\n\nArticles: C1, F1\n"""\n'):
        for path, text in (
            (tmp_path / "tests" / "documents" / "test_x.py", tests),
            (tmp_path / "tutorials" / "articles" / "c1.py", tutorial),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return make


# --- the articles ---------------------------------------------------------------------------------


def test_every_item_has_a_test_or_is_open():
    assert [row.item.id for row in ledger(CLONE) if row.state == "untested"] == []


def test_what_is_open_has_no_test():
    rows = {row.item.id: row for row in ledger(CLONE) if row.item.is_open}
    assert tuple(rows) == OPEN
    assert [row.tests for row in rows.values()] == [()] * len(OPEN)
    assert all(row.item.open_en and row.item.open_zh for row in rows.values())


def test_no_marker_names_an_unknown_item():
    assert [mark for mark in marks(CLONE) if not set(mark.ids) <= ITEMS.keys()] == []


def test_tests_are_named_after_their_items():
    def named(mark):
        slugs = [re.escape(id.lower().replace("-", "_")) for id in mark.ids]
        return re.search(rf"::test_({'|'.join(slugs)})(_|$)", mark.test)

    assert {mark.test for mark in marks(CLONE) if not named(mark)} == set()


def test_marked_code_exists():
    def exists(name):
        try:
            return resolve_name(name) is not None
        except (ImportError, AttributeError):
            return False

    assert not exists("minigrad.optim.nothing")
    assert [mark for mark in marks(CLONE) if mark.code and not exists(mark.code)] == []


def test_the_articles_have_65_items():
    counts = Counter(item.kind for item in ITEMS.values())
    assert counts == {"F": 9, "A": 14, "C": 4, "Q": 21, "E": 17}
    assert list(KINDS) == list(counts)
    for item in ITEMS.values():
        assert re.fullmatch(r"D[0-4] §[\d.]+(, (D[0-4] )?§[\d.]+)*", item.where), item
        assert re.search("[a-z]", item.en)
    for language in ("en", "zh"):
        assert len({item.title(language) for item in ITEMS.values()}) == 65


# --- reading --------------------------------------------------------------------------------------


def test_rows_come_from_markers_and_tutorials(clone):
    rows = {row.item.id: row for row in ledger(clone())}
    first, again = (f"tests/documents/test_x.py::test_f1_{end}" for end in ("descent", "again"))
    assert rows["F1"].tests == (first, again)
    assert rows["F1"].code == ("minigrad.optim.sgd_step", "minigrad.optim.SGD")
    assert rows["F1"].tutorials == rows["C1"].tutorials == ("tutorials/articles/c1.py",)
    assert (rows["E1"].tests, rows["E1"].code) == ((first,), ("minigrad.optim.sgd_step",))
    assert (rows["Q-D1-2"].tests, rows["Q-D1-2"].code) == ((again,), ())
    states = [rows[id].state for id in ("F1", "C1", "A12")]
    assert states == ["checked", "untested", "open"]


ON_A_TEST = "import pytest\n@pytest.mark.article({})\ndef test_x(): ...\n"


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        (ON_A_TEST.format('"F99"'), r"test_x\.py::test_x: unknown item 'F99': did you mean 'F9'"),
        (ON_A_TEST.format("name"), "written out"),
        (ON_A_TEST.format('*("F1",)'), "written out"),
        (ON_A_TEST.format('"F1", "E1", test="x"'), "needs the ids"),
        (ON_A_TEST.format('code="minigrad"'), "needs the ids"),
        ('import pytest\npytestmark = pytest.mark.article("F1")\n', "line 2: put the marker"),
    ],
    ids=["unknown item", "a name", "unpacked", "another keyword", "no item", "not on a test"],
)
def test_wrong_markers_are_told(clone, tests, message):
    with pytest.raises(InputError, match=message):
        ledger(clone(tests))


def test_a_tutorial_with_an_unknown_item_is_told(clone):
    with pytest.raises(InputError, match=r"tutorials/articles/c1\.py: unknown item 'C9'"):
        ledger(clone(tutorial='"""Articles: C1, C9"""'))


def test_without_tests_it_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="use a clone of the repository"):
        main([], root=tmp_path)


# --- the command ----------------------------------------------------------------------------------


def test_the_command_lists_items_and_counts(clone, capsys):
    assert main(["--lang", "en"], root=clone()) == 1  # items without a test
    out = capsys.readouterr().out
    assert re.search(r"^  F1 +D1 §3\.1 +gradient descent +checked$", out, re.M)
    assert "      code: minigrad.optim.sgd_step +1\n" in out
    assert "      test: tests/documents/test_x.py::test_f1_descent +1\n" in out
    assert "      tutorial: tutorials/articles/c1.py\n" in out
    assert "      convolution, recurrence and attention are not built yet\n" in out
    assert re.search(r"^formulas +1 +0 +8$", out, re.M)
    assert re.search(r"^algorithms +0 +2 +12$", out, re.M)
    assert re.search(r"^all +3 +2 +60$", out, re.M)
    assert len(re.findall(r"^  [FACQE]", out, re.M)) == 65


def test_the_command_speaks_chinese(clone, capsys):
    assert main(["--lang", "zh"], root=clone()) == 1
    out = capsys.readouterr().out
    assert re.search(r"^  F1 +D1 §3\.1 +梯度下降 +已验证$", out, re.M)
    assert "      代码：minigrad.optim.sgd_step +1\n" in out
    assert re.search(r"^合计 +3 +2 +60$", out, re.M)
    assert "checked" not in out


def test_the_command_shows_what_is_open(clone, capsys):
    every = [f'@pytest.mark.article("{id}")\ndef test_{i}(): ...\n' for i, id in enumerate(ITEMS)]
    tests = [text for text, id in zip(every, ITEMS) if id not in OPEN]
    assert main(["--open", "--lang", "en"], root=clone("".join(tests))) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^  (\w+)", out, re.M) == list(OPEN)
    assert re.search(r"^all +63 +2$", out, re.M)


def test_the_command_writes_markdown(clone, capsys):
    main(["--markdown", "--lang", "en"], root=clone())
    out = capsys.readouterr().out
    row = (
        "| F1 | D1 §3.1 | gradient descent | `minigrad.optim.sgd_step` +1 "
        "| `tests/documents/test_x.py::test_f1_descent` +1 | `tutorials/articles/c1.py` | checked |"
    )
    assert row in out.splitlines()
    assert {line.count("|") for line in out.split("\n\n")[0].splitlines()} == {8}


def test_bad_input_is_one_sentence(capsys):
    assert cli.main(["articles", "--lang", "xx"]) == 2
    assert capsys.readouterr().err == ("minigrad: unknown language 'xx': choose one of en, zh\n")
    assert cli.main(["articles", "--opne"]) == 2
    assert "did you mean --open?" in capsys.readouterr().err
