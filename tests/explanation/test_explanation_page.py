"""The page of an explanation, in a real Chromium and as text."""

from __future__ import annotations

import html
import json
import re
import sys
import time
from html.parser import HTMLParser
from xml.etree import ElementTree

import browser
import numpy as np
import pytest

from minigrad import Tensor, nn
from minigrad.errors import InputError, MissingExtra
from minigrad.explanation import drawing, explain, page
from minigrad.explanation.formulas import FORWARD, RULES
from minigrad.explanation.mathml import mathml
from minigrad.explanation.story import headline, tell

for module in ("pygraphviz", "latex2mathml"):
    pytest.importorskip(module, reason="pages need the extra explain")

_NASTY = [
    "<img src=x onerror=alert(1)>", "</script><script>window.hacked = 1</script>", "\"&'{{data}}",
    "]]><!--\u2028", "$1 \\N 名",
]  # fmt: skip


def tensor(values, name, requires_grad=False):
    made = Tensor(np.array(values, np.float64), requires_grad=requires_grad)
    made.name = name
    return made


def network(names=("x", "W", "b", "V", "t")):
    """A loss of two layers on two samples, and its leaves by name."""
    x = tensor([[1, 2], [-1, 0.5]], names[0])
    W = tensor([[0.5, -0.25], [0.1, 0.75]], names[1], True)
    b = tensor([0.1, -0.2], names[2], True)
    V = tensor([[1.0], [-2.0]], names[3], True)
    d = (x @ W + b).tanh() @ V - tensor([[1.0], [0.0]], names[4])
    return (d * d).mean(), {leaf.name: leaf for leaf in (W, b, V)}


def layers():
    rng = np.random.default_rng(0)
    dense = [nn.Dense(3, 4, rng=rng), nn.Dense(4, 2, rng=rng)]
    model = nn.Sequential(dense[0], nn.Tanh(), dense[1], nn.LayerNorm(2))
    return (model(Tensor(rng.normal(size=(5, 3)).astype("f4"))) ** 2).sum()


class Balance(HTMLParser):
    """Notes the tags that are not closed in their order."""

    VOID = ("meta", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.ids = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("make", [lambda: network()[0], lambda: network(_NASTY)[0], layers])
def test_the_page_is_well_formed_and_names_no_other_place(make, lang):
    text = page.page(explain(make(), lang=lang))
    read = Balance(text)
    assert not read.wrong
    assert not read.open
    assert len(read.ids) == len(set(read.ids))
    assert "{{" not in text.replace("{{data}}", "")
    names = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<\\]+", text)) - names <= {
        "http://www.w3.org/1998/Math/MathML"
    }


GIVEN = {"low": 0, "high": 1, "smoothing": 0.1, "axes": None, "ddof": 1, "b": None}


@pytest.mark.parametrize(
    "latex",
    sorted({f if isinstance(f, str) else f(GIVEN) for f in (*FORWARD.values(), *RULES.values())}),
)
def test_every_formula_becomes_mathml(latex):
    root = ElementTree.fromstring(mathml(latex))
    assert root.tag == "{http://www.w3.org/1998/Math/MathML}math"
    assert "".join(root.itertext()).strip()
    assert "\\" not in "".join(root.itertext())


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    explanation, path = explain(network()[0], lang="en"), tmp_path / "page.html"
    explanation.to_html(path)
    before = path.read_bytes()
    assert before.decode() == page.page(explanation)
    with pytest.raises(InputError, match="could not be written"):
        explanation.to_html(tmp_path / "none" / "page.html")
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    mathml.cache_clear()
    with pytest.raises(MissingExtra, match=r"latex2mathml.*\[explain\]"):
        explanation.to_html(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_notebook_gets_the_page_in_a_frame(monkeypatch):
    explanation = explain(network(_NASTY)[0], lang="en")
    frame = explanation._repr_html_()
    (srcdoc,) = re.findall(r'srcdoc="([^"]*)"', frame)
    assert html.unescape(srcdoc) == page.page(explanation)
    assert re.search(r'title="[^"]+".*height:\d+px', frame.replace(srcdoc, ""))
    monkeypatch.setattr(drawing, "LIMIT", 3)
    frame = explanation._repr_html_()
    assert "<img" not in frame
    assert "explain a part of it" in frame
    assert html.escape(explanation.by_module()) in frame


def data_of(text):
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])


def test_the_data_hold_values_and_gradients_exactly():
    loss, leaves = network()
    explanation = explain(loss, lang="en")
    data = data_of(page.page(explanation))
    loss.backward()
    words = data["words"]
    found = {words[label]: words[exact] for label, *_, exact in data["vertices"]}
    for name, leaf in leaves.items():
        assert json.loads(found[name]) == leaf.grad.tolist()
    for phase, i, line, lines in data["steps"]:
        text = words[data["vertices"][i][4 if phase else 2]]
        assert [words[shown] for _, shown, kind, _ in lines if kind == "result"] == [text], line
    assert [words[line] for _, _, line, _ in data["steps"]] == list(map(headline, explanation))


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as found:
        yield found


@pytest.fixture
def visit(chromium, tmp_path):
    """``visit(loss or HTML)`` opens its page; nothing may be logged, and nothing else asked for."""
    contexts, trouble = [], []

    def go(what, *, lang="en", depth=None, width=1280, height=800, **options):
        path = tmp_path / f"{len(contexts)}.html"
        if isinstance(what, str):
            path.write_text(what, "utf-8")
        else:
            explain(what, lang=lang).to_html(path, depth=depth)
        options.setdefault("reduced_motion", "reduce")
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        tab = context.new_page()
        browser.watch(tab, (path.as_uri(), "about:srcdoc"), trouble)
        tab.goto(path.as_uri())
        return tab

    yield go
    for context in contexts:
        context.close()
    assert not trouble


def at(tab):
    """The number of the step that is shown."""
    return int(re.findall(r"\d+", tab.inner_text("#number"))[0])


def button(name):
    return lambda tab: tab.get_by_role("button", name=name, exact=True).click(force=True)


def key(name):
    return lambda tab: tab.keyboard.press(name)


def slide(number):
    return lambda tab: tab.get_by_role("slider", name="step").fill(str(number))


def node(number):
    return lambda tab: tab.locator(f"#v{number}").click()


def each(tab, expression):
    """What the expression gives at every step, from the first to the last."""
    return tab.evaluate(
        """() => {
          const one = name => document.querySelector(name), slider = one("#slider");
          return Array.from({ length: slider.max }, (_, i) => {
            slider.value = i + 1;
            slider.dispatchEvent(new Event("input"));
            return EXPRESSION;
          });
        }""".replace("EXPRESSION", expression)
    )


@pytest.mark.browser
def test_buttons_keys_slider_and_nodes_change_the_step(visit):
    tab = visit(network()[0])
    assert at(tab) == 1
    for act, then in [
        (button("next step"), 2), (button("last step"), 22), (button("next step"), 22),
        (button("previous step"), 21), (button("first step"), 1), (key("ArrowRight"), 2),
        (key("n"), 3), (key("ArrowLeft"), 2), (key("p"), 1), (key("p"), 1), (key("End"), 22),
        (key("Home"), 1), (slide(7), 7), (key("ArrowRight"), 8), (key("End"), 22), (key("n"), 22),
        (node(6), 6), (node(6), 18), (node(6), 6), (node(1), 1), (node(1), 1),
        (key("Control+n"), 1),
    ]:  # fmt: skip
        act(tab)
        assert at(tab) == then
        assert tab.input_value("#slider") == str(then)


@pytest.mark.browser
def test_every_step_shows_its_lines_and_the_last_gradients_are_those_of_backward(visit):
    loss, leaves = network()
    explanation = explain(loss, lang="en")
    tab = visit(loss)
    loss.backward()
    shown = each(
        tab,
        """[one("#headline").textContent, one("#phase").textContent, one(".node.now").id,
            one("#lines .result").dataset.exact, one("#lines").children.length,
            document.querySelectorAll("#lines .formula").length,
            document.querySelectorAll("#lines math").length]""",
    )
    seen = {}
    for step, (title, phase, now, exact, lines, formulas, maths) in zip(explanation, shown):
        assert title == headline(step)
        assert step.phase in phase
        assert now == f"v{step.vertex.number}"
        assert lines == len(tell(explanation, step))
        assert maths == formulas
        seen[title] = exact
    for name, leaf in leaves.items():
        assert json.loads(seen[f"dL/d{name}"]) == leaf.grad.tolist()
    last = leaves[explanation[-1].vertex.name]
    assert json.loads(tab.get_attribute("#lines .result", "data-exact")) == last.grad.tolist()


@pytest.mark.browser
def test_the_graph_shows_what_is_done(visit):
    tab = visit(network()[0])
    for step, seen, done in [(1, 1, 0), (12, 12, 0), (13, 12, 1), (22, 12, 10)]:
        slide(step)(tab)
        assert tab.locator(".node.seen").count() == seen
        assert tab.locator(".node.done").count() == done
    slide(8)(tab)
    assert tab.locator(".edge.ahead").count() == 2
    assert tab.locator("#v8 .value").first.is_visible()
    assert not tab.locator("#v10 .value").first.is_visible()
    assert not tab.locator("#v8 .gradient").first.is_visible()
    slide(15)(tab)
    assert tab.locator(".edge.back").count() == 3  # two to v11, one from v8, none from the targets
    assert tab.locator("#v10 .gradient").first.is_visible()


@pytest.mark.browser
def test_values_on_hover_and_on_focus_and_no_trap(visit):
    tab = visit(network()[0])
    tab.hover("#v2")
    tip = "W\nvalue: [[0.5, -0.25], [0.1, 0.75]]\ngradient: [["
    assert tab.inner_text("#tip").startswith(tip)
    tab.mouse.move(1, 1)
    assert tab.locator("#tip").is_hidden()
    slide(2)(tab)
    tab.evaluate("document.activeElement.blur()")
    stops = []
    for _ in range(20):
        tab.keyboard.press("Tab")
        stops.append(tab.evaluate("document.activeElement.id"))
        if stops[-1] == "v2":
            assert tab.inner_text("#tip").startswith(tip)
    order = ["view", "v2", "farther", "closer", "fit", "step"]
    order += ["first", "previous", "next", "last", "slider", ""]
    start = stops.index("view")
    assert stops[start : start + len(order)] == order
    tab.focus("#v2")
    tab.keyboard.press("Enter")
    assert tab.inner_text("#headline") == "dL/dW"
    tab.keyboard.press("p")
    assert tab.evaluate("document.activeElement.classList.contains('now')")
    live = tab.locator("[aria-live=polite]").inner_text()
    assert all(part in live for part in ("backward", "step", tab.inner_text("#headline")))


@pytest.mark.browser
def test_html_in_names_stays_text(visit):
    tab = visit(network(_NASTY)[0])
    assert tab.evaluate("window.hacked") is None
    for name in _NASTY:
        number = _NASTY.index(name) + 1
        slide({1: 1, 2: 2, 3: 4, 4: 7, 5: 9}[number])(tab)
        assert tab.text_content("#headline") == name
    assert tab.locator("img").count() == 0
    assert tab.locator("script").count() == 2


@pytest.mark.browser
def test_a_chinese_page(visit):
    tab = visit(network()[0], lang="zh")
    assert tab.get_attribute("html", "lang") == "zh-Hans"
    tab.get_by_role("button", name="最后一步").click()
    assert "反向传播" in tab.inner_text("#phase")
    assert "第 22 步" in tab.inner_text("#number")
    assert not re.search(r"\b(step|forward|gradient|value)\b", tab.inner_text("body"))


@pytest.mark.browser
@pytest.mark.parametrize("make", [lambda: network()[0], layers], ids=["small", "layers"])
def test_a_phone_shows_graph_above_step_without_scrolling_sideways(visit, make):
    tab = visit(make(), width=320, height=640, has_touch=True, is_mobile=True)
    widths = "Math.max(document.scrollingElement.scrollWidth, one('#step').scrollWidth)"
    assert max(each(tab, widths)) <= 320
    graph, step = (tab.locator(f"#{name}").bounding_box() for name in ("graph", "step"))
    assert graph["y"] + graph["height"] <= step["y"]
    assert min(graph["height"], step["height"]) > 100


_COLOURS = """names => names.map(name => {
  const one = document.querySelector(name), style = getComputedStyle(one);
  if (one instanceof SVGElement)
    return [style.fill, getComputedStyle(one.closest("g").querySelector("path, polygon")).fill];
  let under = one;
  const back = () => getComputedStyle(under).backgroundColor;
  while (back() === "rgba(0, 0, 0, 0)") under = under.parentElement;
  return [style.color, back()];
})"""


@pytest.mark.browser
def test_light_and_dark_are_readable(visit):
    papers = []
    for scheme in ("light", "dark"):
        tab = visit(network()[0], color_scheme=scheme)
        for step in (3, 15, 22):
            slide(step)(tab)
            names = ["h1", "header p", "#headline", "#number", "#phase", "#lines .label", "#help"]
            names += ["#lines .result .label", "#next", ".node.seen text", ".node.now text"]
            pairs = tab.evaluate(_COLOURS, names + [".node:not(.seen) text"] * (step == 3))
            assert all(browser.contrast(*pair) >= 4.5 for pair in pairs), dict(zip(names, pairs))
        papers.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert browser.contrast(papers[0], "rgb(255, 255, 255)") < 1.2
    assert browser.contrast(papers[1], "rgb(0, 0, 0)") < 1.5


@pytest.mark.browser
def test_the_current_node_is_brought_into_view(visit):
    loss = tensor(1.0, "x", True)
    for _ in range(60):
        loss = loss * 1.01
    tab = visit(loss)
    for step in (61, 1, 90):
        slide(step)(tab)
        view, now = (tab.locator(name).bounding_box() for name in ("#view", ".node.now"))
        assert view["y"] <= now["y"] <= view["y"] + view["height"] - now["height"]
    before = now["width"]
    button("larger")(tab)
    assert tab.locator(".node.now").bounding_box()["width"] == pytest.approx(before * 1.25, rel=0.1)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "matrices"), [(1280, 1), (320, 0)])
def test_matrices_are_set_as_such_where_they_fit(visit, width, matrices):
    tab = visit((tensor(np.full((2, 4), 1 / 7), "x", True) ** 2).sum(), width=width)
    assert tab.locator(".matrix").count() == matrices
    assert re.findall(r"[\d.]+", tab.inner_text("#lines .result .numbers")) == ["0.142857"] * 8


@pytest.mark.browser
def test_a_module_drawn_as_one_box_stands_for_all_its_steps(visit):
    loss = layers()
    tab = visit(loss, depth=0)
    box = tab.locator("g.node[id^=m]")
    assert box.count() == 1
    seen = set()
    for _ in range(100):
        box.dispatch_event("click")
        if at(tab) in seen:
            break
        seen.add(at(tab))
        assert "now" in box.get_attribute("class")
    assert len(seen) > 10


@pytest.mark.browser
def test_the_frame_works_in_a_notebook(visit):
    frame = explain(network()[0], lang="en")._repr_html_()
    tab = visit(f"<!DOCTYPE html><title>notebook</title>{frame}")
    inside = tab.frame_locator("iframe")
    inside.get_by_role("button", name="last step").click()
    assert "22" in inside.locator("#number").inner_text()


@pytest.mark.browser
def test_two_thousand_nodes_open_in_under_three_seconds(chromium, tmp_path):
    loss = tensor(1.0, "x", True)
    for _ in range(1999):
        loss = loss.tanh()
    path = tmp_path / "page.html"
    explain(loss, lang="en").to_html(path)
    tab = chromium.new_page()
    begin = time.perf_counter()
    tab.goto(path.as_uri())
    tab.wait_for_function(
        "new Promise(done => requestAnimationFrame(() => setTimeout(done, 0, 1)))"
    )
    assert tab.inner_text("#headline") == "x"
    assert time.perf_counter() - begin < 3
    tab.keyboard.press("End")
    assert at(tab) == 4000
    tab.close()
