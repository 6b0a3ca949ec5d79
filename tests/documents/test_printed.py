"""What is quoted of the articles is what they print."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import pytest

from minigrad.articles import ITEMS
from minigrad.articles.errata import ERRATA, Erratum
from minigrad.articles.printed import PRINTED, Printed


@pytest.mark.parametrize(
    ("quoted", "digest"),
    [
        (PRINTED.values(), "da20ddc59af6dcac43bf8c4c160f3df983e3448a6b23e70fb75a6f2d7c946ca6"),
        (
            [printed for erratum in ERRATA.values() for printed in erratum.printed],
            "77b555a47eb641aa558706b7e4915804a5784c3bccc04cf229739e61ee690d74",
        ),
    ],
    ids=["printed", "errata"],
)
def test_quotations_are_verbatim(quoted: Iterable[Printed], digest: str) -> None:
    """The hash was taken when each line was found in its article, which is not in the repository:
    after a change, find each line there again, then take a new one."""
    lines = [line for printed in quoted for line in printed.lines]
    assert sha256("\n".join(lines).encode()).hexdigest() == digest


@pytest.mark.parametrize(
    "id", [id for id, item in ITEMS.items() if item.kind in "FA" and not item.is_open]
)
def test_a_formula_or_algorithm_is_quoted_from_its_place(id: str) -> None:
    if id != "A13":  # names of frameworks only
        assert PRINTED[id].where in ITEMS[id].where


def test_every_erratum_is_there() -> None:
    assert list(ERRATA) == [id for id, item in ITEMS.items() if item.kind == "E"]


@pytest.mark.parametrize(("id", "erratum"), ERRATA.items())
def test_an_erratum_is_quoted_from_its_places(id: str, erratum: Erratum) -> None:
    article, sections = ITEMS[id].where[:2], ITEMS[id].where.replace(",", "").split()
    for printed in erratum.printed:
        assert printed.where.startswith(article) or printed.where[:2] in sections
        assert any(printed.where.split()[1].startswith(part) for part in sections), printed.where
        assert len(printed.en) == (len(printed.lines) if printed.kind == "text" else 0)
