"""The built site: ``python -m docs.build``, then ``pytest -m site``."""

from __future__ import annotations

from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mpirun import ROOT

pytestmark = pytest.mark.site
HTML = Path(ROOT, "docs", "_build", "html")
TEMPLATES = ("genindex", "py-modindex", "search")
if not (HTML / "index.html").is_file():
    pytest.skip("the site is not built: python -m docs.build", allow_module_level=True)


class Page(HTMLParser):
    """Links, anchors, pictures and formulas of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.pictures: list[dict[str, str | None]] = []
        self.formulas: Counter[str] = Counter()
        self.language = ""
        self._formula: list[str] | None = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "html":
            self.language = given.get("lang") or ""
        if given.get("id"):
            self.ids.add(given["id"] or "")
        self.links += [v for k, v in attrs if k in ("href", "src") and v]
        if tag == "img":
            self.pictures.append(given)
        if tag == "math":
            self._formula = []
        elif self._formula is not None:
            self._formula.append(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        if tag == "math" and self._formula is not None:
            self.formulas["".join(self._formula)] += 1
            self._formula = None

    def handle_data(self, data: str) -> None:
        if self._formula is not None:
            self._formula.append(data.strip())


def pages(language: str) -> list[str]:
    """The pages of one language, by their paths below its folder."""
    folder = HTML / language
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    return sorted(name for name in found if not name.startswith(("_static", "_modules")))


@cache
def page(path: Path) -> Page:
    return Page(path)


EVERY = [(language, name) for language in ("en", "zh") for name in pages(language)]
every = pytest.mark.parametrize(("language", "name"), EVERY)


def test_both_languages_have_the_same_pages():
    assert pages("en") == pages("zh")
    assert {"start.html", "concepts.html", "tutorials/14_model_parallelism.html"} <= set(
        pages("en")
    )


@every
def test_links_lead_somewhere(language, name):
    """Each relative link has a file, and each fragment an anchor in it."""
    here, broken = HTML / language / name, []
    for link in set(page(here).links):
        scheme, host, path, _, fragment = urlsplit(link)
        if scheme or host:
            continue
        there = (here.parent / unquote(path)).resolve() if path else here.resolve()
        if not there.is_file():
            broken.append(link)
            continue
        is_page = there.suffix == ".html" and "_static" not in there.parts
        if fragment and is_page and unquote(fragment) not in page(there).ids:
            broken.append(link)
    assert not broken


@every
def test_nothing_is_fetched_from_elsewhere(language, name):
    found = page(HTML / language / name)
    text = (HTML / language / name).read_text(encoding="utf-8")
    assert 'src="http' not in text
    assert '<link rel="stylesheet" href="http' not in text
    assert found.language.lower().replace("_", "-") == {"en": "en", "zh": "zh-cn"}[language]


@every
def test_pictures_have_words(language, name):
    """A thumbnail's are empty: its link says the same, and would be read twice."""
    for picture in page(HTML / language / name).pictures:
        decorates = (picture["src"] or "").endswith("_thumb.png")
        assert "alt" in picture if decorates else picture.get("alt"), picture


@pytest.mark.parametrize("name", [name for name in pages("en") if "api/" not in name])
def test_formulas_are_the_same_in_both_languages(name):
    english, chinese = page(HTML / "en" / name), page(HTML / "zh" / name)
    if name.startswith("articles/"):  # in English a quotation stands twice, with its translation
        assert set(english.formulas) == set(chinese.formulas)
    else:
        assert english.formulas == chinese.formulas


TRANSLATED = [
    name for name in pages("en")
    if name.startswith(("tutorials/", "articles/")) or name in ("start.html", "concepts.html")
]  # fmt: skip


@pytest.mark.parametrize("name", TRANSLATED)
def test_pictures_have_chinese_words(name):
    for picture in page(HTML / "zh" / name).pictures:
        alt = picture.get("alt")
        assert alt == "" or any("一" <= letter <= "鿿" for letter in alt), picture
