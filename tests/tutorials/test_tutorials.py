"""Every tutorial has its parts in their order, within its limits."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from cells import DIRECTIVE, read
from mpirun import ROOT

from minigrad.articles import ITEMS
from minigrad.articles.printed import PRINTED
from minigrad.exercises import exercises
from minigrad.tutorials import TUTORIALS, find, folder
from minigrad.tutorials.notebook import function

PARTS = [
    "The problem", "The formula", "The library", "The picture", "Proof", "On many ranks",
    "Three misconceptions", "Exercises",
]  # fmt: skip
ON_RANKS = (6, 8, 10, 12, 13, 14)
MOST_PROSE, MOST_LINES = 3000, 100

every = pytest.mark.parametrize("number", TUTORIALS)


def cells(number):
    return read(TUTORIALS[number].path)


def test_there_are_fourteen_and_no_other():
    files = sorted(path.name for path in folder().glob("*.py"))
    assert files == [f"{tutorial.name}.py" for tutorial in TUTORIALS.values()]
    assert list(TUTORIALS) == list(range(1, 15))


@every
def test_parts_stand_in_their_order(number):
    expected = [part for part in PARTS if part != "On many ranks" or number in ON_RANKS]
    found = cells(number).headings
    assert re.fullmatch(rf"{number}\. \S.*", found[0])
    assert found[1:] == expected
    grid = cells(number).text.partition(".. grid::")[2]
    assert re.findall(r"grid-item-card:: (.*)", grid) == ["You will learn", "You need"]


@every
def test_formula_items_and_errata_are_the_articles(number):
    text = cells(number).text
    (named,) = re.findall(r"^Articles: (.*)$", text, re.MULTILINE)
    assert all(id in ITEMS for id in named.split(", "))
    quoted = cells(number).directives("article")
    assert quoted
    for id in quoted:
        (body,) = (
            m["body"]
            for m in DIRECTIVE.finditer(text)
            if (m["name"], m["argument"].strip()) == ("article", id)
        )
        assert all(line in body for line in PRINTED[id].lines), id
        assert id in named.split(", ")
    for erratum in re.findall(r"\*\*Errat(?:um|a) (E\d+)", text):
        assert erratum in named.split(", ")


@every
def test_code_agrees_draws_and_is_short(number):
    code = cells(number).code
    text = "\n".join(code)
    assert re.search(r"np\.testing\.assert_|^assert ", text, re.MULTILINE)
    assert re.search(r"\bnum=", text), "a figure has no alternative text"
    assert "plt.show()" in text
    assert len(code) <= MOST_LINES
    assert len(cells(number).prose) <= MOST_PROSE


@every
def test_the_proof_is_a_test_that_exists(number):
    tests = cells(number).directives("property-test")
    assert tests
    for test in tests:
        path, _, name = test.partition("::")
        assert function(Path(ROOT, path).read_text(encoding="utf-8"), name)
        assert name.startswith("test_")


@every
def test_ranks_are_recorded_where_they_belong(number):
    recorded = cells(number).directives("recorded")
    assert recorded == ([f"tutorials/recorded/{number:02}.txt"] if number in ON_RANKS else [])
    assert all(Path(ROOT, place).is_file() for place in recorded)


@every
def test_three_misconceptions_and_three_exercises(number):
    misconceptions = re.findall(r"^\* \*\".+", cells(number).section("Three misconceptions"), re.M)
    assert len(misconceptions) == 3
    asked = re.findall(r"^(\d)\. ``(\w+)``", cells(number).section("Exercises"), re.M)
    tree = ast.parse(TUTORIALS[number].stub.read_text(encoding="utf-8"))
    stubs = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    checked = [exercise.name for exercise in exercises(number)]
    assert [name for _, name in asked] == stubs == checked
    assert [place for place, _ in asked] == ["1", "2", "3"]
    assert f"tutorials/exercises/{number:02}.py" in cells(number).section("Exercises")
    assert f"minigrad check {number}" in cells(number).section("Exercises")


@every
def test_words_are_in_the_glossary(number):
    entries = tomllib.loads(Path(ROOT, "docs", "glossary.toml").read_text(encoding="utf-8"))
    known = {entry["en"].lower() for table in entries.values() for entry in table}
    roles = re.findall(r":term:`([^`]+)`", cells(number).text)
    terms = {re.sub(r"^.*<(.+)>$", r"\1", " ".join(role.split())).lower() for role in roles}
    assert terms <= known, terms - known
    words = cells(number).text.rpartition("Words: ")[2]
    assert 3 <= len(re.findall(r":term:", words)) <= 6


def test_a_number_is_found_with_or_without_its_zero():
    assert find("4") is find("04") is TUTORIALS[4]
