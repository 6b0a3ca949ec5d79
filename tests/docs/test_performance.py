"""No number of a measurement is typed by hand: the pages' tables are those of the results."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mpirun import ROOT

if ROOT not in sys.path:
    sys.path.append(ROOT)
from benchmarks import pages, report

if not all(page.is_file() for page in pages.PAGES):
    pytest.skip("the documentation is not in this distribution", allow_module_level=True)


@pytest.mark.parametrize("page", pages.PAGES, ids=[page.name for page in pages.PAGES])
def test_the_tables_of_a_page_are_those_of_the_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- measured: ") == text.count("<!-- end -->") > 0
    assert text == pages.filled(text, pages.records()), "run python -m benchmarks report"


def test_the_table_of_all_results_is_that_of_the_files() -> None:
    text = (pages.RESULTS / "README.md").read_text(encoding="utf-8")
    assert text == report._markdown(list(pages.records().values()))


def test_a_goal_that_was_missed_is_named() -> None:
    row = {"what": "a", "value": {"median": 1.25}, "goal": 1.0, "met": False}
    machine = {"cpu": "a processor", "cores": 2, "date": "2026-01-31 12:00 UTC"}
    found = {"step": {"rows": [row], "machine": machine}}
    assert pages._table([("b", "step", ("a",))], found, "against", "measured", "goal") == (
        "| against | measured | goal |\n| --- | --- | --- |\n| b | 1.25 | ≤ 1, missed: 1.25 |\n\n"
        "a processor, 2 cores; 2026-01-31."
    )
