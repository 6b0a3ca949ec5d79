"""The built site in a real Chromium: light and dark, wide and as narrow as a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium, contrast
from mpirun import ROOT

pytestmark = pytest.mark.site
HTML = Path(ROOT, "docs", "_build", "html")
if not (HTML / "index.html").is_file():
    pytest.skip("the site is not built: python -m docs.build", allow_module_level=True)

PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.glob("*/**/*.html")
    if not {"_static", "_modules"} & set(path.parts)
)
# what sticks out of the page, and formulas that are wider than the place they scroll in
MEASURE = """() => {
  const wide = innerWidth, outside = [];
  for (const e of document.querySelectorAll("main *")) {
    const box = e.getBoundingClientRect();
    if (!box.width || box.right <= wide + 1) continue;
    let p = e.parentElement, scrolls = false;
    for (; p && p.tagName !== "MAIN"; p = p.parentElement)
      scrolls ||= /auto|scroll|hidden/.test(getComputedStyle(p).overflowX);
    if (!scrolls) outside.push(e.tagName + "." + e.className);
  }
  const clipped = [...document.querySelectorAll("math")].filter(
    (m) => m.clientHeight && !m.textContent.trim()).length;
  const heading = document.querySelector("h1"), paragraph = document.querySelector("article p");
  const colour = (e) => e ? getComputedStyle(e).color : null;
  return { outside: outside.slice(0, 5), clipped, scroll: document.documentElement.scrollWidth,
           wide, theme: document.documentElement.dataset.theme,
           back: getComputedStyle(document.body).backgroundColor,
           colours: [heading, paragraph].map(colour).filter(Boolean) };
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_whole(browser, width, theme):
    """No error, no request to elsewhere, nothing beyond the edge, letters that stand out."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
    )
    tab, faults, trouble = context.new_page(), {}, []
    tab.on("console", lambda said: said.type != "log" and trouble.append(said.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("requestfailed", lambda asked: trouble.append(asked.url))
    tab.on("request", lambda asked: asked.url.startswith("http") and trouble.append(asked.url))
    for name in PAGES:
        trouble.clear()
        tab.goto((HTML / name).as_uri())
        found = tab.evaluate(MEASURE)
        if found["outside"] or found["scroll"] > found["wide"]:
            trouble.append(f"wider than {width}: {found['outside']}, {found['scroll']}")
        if found["theme"] != theme:
            trouble.append(f"is {found['theme']}")
        weak = [c for c in found["colours"] if contrast(c, found["back"]) < 4.5]
        if weak:
            trouble.append(f"weak letters: {weak} on {found['back']}")
        if trouble:
            faults[name] = list(trouble)
    context.close()
    assert not faults


@pytest.mark.parametrize(("language", "other"), [("en", "zh"), ("zh", "en")])
def test_the_other_language_is_one_click_away(browser, language, other):
    tab = browser.new_page()
    for name in ("start.html", "tutorials/04_momentum.html", "index.html"):
        tab.goto((HTML / language / name).as_uri())
        tab.locator("a.language").first.click()
        assert tab.url == (HTML / other / name).as_uri()
        assert tab.evaluate("document.documentElement.lang").startswith(other)
    tab.close()


@pytest.mark.parametrize(
    ("language", "word", "page"),
    [
        ("en", "momentum", "04_momentum"),
        ("zh", "动量", "04_momentum"),
        ("zh", "反向传播", "02_backpropagation"),
        ("zh", "momentum", "04_momentum"),
    ],
)
def test_search_finds_a_tutorial(browser, language, word, page):
    tab = browser.new_page()
    tab.goto((HTML / language / "search.html").as_uri() + f"?q={word}")
    tab.wait_for_selector("#search-results li", timeout=10_000)
    tab.wait_for_timeout(500)
    found = [link.get_attribute("href") for link in tab.locator("#search-results a").all()]
    tab.close()
    assert any(page in (link or "") for link in found), found[:5]
