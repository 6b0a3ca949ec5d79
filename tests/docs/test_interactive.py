"""The two pages that a reader moves, in a real Chromium, against the library's numbers."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import browser
import numpy as np
import pytest

from minigrad import Tensor, nn, optim

_FOLDER = Path(__file__).parents[2] / "docs" / "interactive"
_PAGES = ("descent", "schedules")
_MINIMUM = {"quadratic": 0.0, "rosenbrock": 0.0, "saddle": -0.25}


def loss_of(surface, x, y, kappa):
    if surface == "quadratic":
        return 0.5 * (x * x / kappa + y * y)
    if surface == "rosenbrock":
        return (1 - x) ** 2 + 10 * (y - x * x) ** 2
    return 0.5 * x * x - 0.5 * y * y + 0.25 * y**4


def descend(now):
    """The path and the losses of what the page shows, by autograd and optim.SGD."""
    x, y = (nn.Parameter(np.array([at], np.float64)) for at in now["start"])
    optimizer = optim.SGD([x, y], now["eta"], momentum=now["beta"])
    path, losses = [], []
    for step in range(now["steps"] + 1):
        loss = loss_of(now["surface"], x, y, now["kappa"]).sum()
        path.append([x.data.item(), y.data.item()])
        losses.append(loss.data.item() - _MINIMUM[now["surface"]])
        if step < now["steps"]:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return path, losses


def same_path(now, rtol=1e-12):
    path, losses = descend(now)
    np.testing.assert_allclose(now["path"], path, rtol=rtol, atol=1e-15)
    np.testing.assert_allclose(now["losses"], losses, rtol=rtol, atol=1e-15)


@pytest.fixture(scope="module")
def tabs():
    """A browser, its tabs by their options (a new one takes long), and what they may ask for."""
    with browser.chromium() as found:
        yield found, {}, set(), []


@pytest.fixture
def visit(tabs):
    """``visit("descent", "lang=zh")`` opens a page, held to no log and no request but its own."""
    chromium, opened, own, trouble = tabs
    own.clear()
    trouble.clear()

    def go(page, query="", *, folder=_FOLDER, width=1280, height=900, scheme="light", **options):
        key = frozenset(options.items())
        if key not in opened:
            opened[key] = chromium.new_context(**options).new_page()
            browser.watch(opened[key], own, trouble)
        tab = opened[key]
        tab.mouse.move(0, 0)
        tab.set_viewport_size({"width": width, "height": height})
        tab.emulate_media(color_scheme=scheme)
        own.add((folder / f"{page}.html").as_uri())
        tab.goto(f"{(folder / page).as_uri()}.html?{query}")
        return tab

    go.own = own
    yield go
    assert not trouble


def state(tab):
    return tab.evaluate("state()")


def choose(tab, **values):
    """Sets radio buttons by name, check boxes and sliders by id."""
    for name, value in values.items():
        if isinstance(value, bool):
            tab.locator(f"#{name}").set_checked(value)
        elif isinstance(value, str):
            tab.locator(f"[name={name}][value={value}]").check()
        else:
            tab.locator(f"#{name.replace('__', '-')}").fill(str(value))


def drag(tab, handle, dx, dy):
    """Takes the middle of a handle elsewhere with the mouse."""
    box = tab.locator(handle).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + dx / 2, y + dy / 2)
    tab.mouse.move(x + dx, y + dy)
    tab.mouse.up()


@pytest.mark.parametrize("page", _PAGES)
def test_a_page_is_one_file_that_may_ask_for_nothing(page):
    text = (_FOLDER / f"{page}.html").read_text("utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert not any(source.startswith(("http", "*", "'self'")) for source in policy.split())
    assert not re.findall(r"https?:|\bsrc=|url\(|import\b|fetch\(", text)


def test_what_the_pages_share_is_the_same():
    texts = [(_FOLDER / f"{page}.html").read_text("utf-8") for page in _PAGES]
    for tag in ("style", "script"):
        one, other = (re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for text in texts)
        assert one[0] == other[0]
        assert one[1] != other[1]


_PATHS = [  # surface, rule, κ, η, β, steps
    ("quadratic", "descent", 20, 1.9, 0, 120), ("quadratic", "momentum", 100, 2.5, 0.9, 500),
    ("quadratic", "momentum", 1, 0.3, 0, 30), ("rosenbrock", "descent", 1, 0.004, 0, 300),
    ("rosenbrock", "momentum", 1, 0.002, 0.9, 500), ("saddle", "descent", 1, 0.3, 0, 100),
    ("saddle", "momentum", 1, 0.1, 0.99, 60),
]  # fmt: skip


@pytest.mark.browser
def test_the_path_is_that_of_the_library(visit):
    tab = visit("descent")
    same_path(state(tab))
    for surface, method, kappa, eta, beta, steps in _PATHS:
        sliders = {"eta": eta, "steps": steps}
        sliders |= {"beta": beta} if method == "momentum" else {}
        sliders |= {"kappa": kappa} if surface == "quadratic" else {}
        choose(tab, surface=surface, method=method, **sliders)
        now = state(tab)
        assert (now["surface"], now["method"]) == (surface, method)
        assert {key: now[key] for key in sliders} == sliders
        assert now["beta"] == beta
        assert not now["diverged"]
        same_path(now)


@pytest.mark.browser
def test_sliders_and_handles_move_the_path_by_keyboard_and_pointer(visit):
    tab = visit("descent")
    before = state(tab)
    tab.focus("#eta")
    tab.keyboard.press("ArrowRight")
    assert state(tab)["eta"] == pytest.approx(before["eta"] + 0.01)
    assert tab.inner_text("output[for=eta]") == "0.31"
    box = tab.locator("#beta").bounding_box()
    tab.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.up()
    assert state(tab)["beta"] == pytest.approx(0.5, abs=0.02)
    unit = tab.evaluate("scales().unit")
    drag(tab, "#start", 120, 60)
    moved = np.subtract(state(tab)["start"], before["start"])
    np.testing.assert_allclose(moved, [120 / unit, -60 / unit], atol=2 / unit)
    tab.keyboard.press("ArrowUp")
    assert state(tab)["start"][1] > before["start"][1] - 60 / unit
    tab.mouse.click(*(tab.locator("#plane").bounding_box()[side] + 50 for side in "xy"))
    now = state(tab)
    np.testing.assert_allclose(now["start"], tab.evaluate("scales().toPlane(50, 50)"), atol=0.02)
    drag(tab, "#start", -2000, 2000)
    assert state(tab)["start"] == pytest.approx(
        tab.evaluate("scales().toPlane(0, scales().height)")
    )
    tab.locator("#pair").scroll_into_view_if_needed()
    pixels = tab.evaluate("[1, 0.4].map((v, i) => [mapScales().x, mapScales().y][i](v))")
    corner = tab.locator("#map").bounding_box()
    at = tab.locator("#pair").bounding_box()
    x, y = (corner[side] + pixel for side, pixel in zip("xy", pixels))
    drag(tab, "#pair", x - at["x"] - at["width"] / 2, y - at["y"] - at["height"] / 2)
    tab.keyboard.press("ArrowDown")
    now = state(tab)
    assert (now["eta"], now["beta"]) == pytest.approx((1, 0.39), abs=0.02)
    same_path(now)


@pytest.mark.browser
def test_a_finger_moves_the_start(visit):
    tab = visit("descent", width=390, has_touch=True, is_mobile=True)
    before = state(tab)["start"]
    box = tab.locator("#plane").bounding_box()
    tab.touchscreen.tap(box["x"] + 200, box["y"] + 30)
    now = state(tab)
    assert now["start"] != before
    np.testing.assert_allclose(now["start"], tab.evaluate("scales().toPlane(200, 30)"), atol=0.03)


@pytest.mark.browser
def test_regions_are_those_of_the_eigenvalues_and_of_the_paths(visit):
    tab = visit("descent")
    pairs = list(itertools.product(np.round(np.arange(1, 43) / 10 + 0.005, 3), (0, 0.1, 0.5, 0.9)))
    pairs = [(float(rate), beta) for rate, beta in pairs]
    found = tab.evaluate("pairs => pairs.map(pair => behaviour(...pair))", pairs)
    for (rate, beta), told in zip(pairs, found):
        larger = np.abs(np.linalg.eigvals([[beta, -rate], [beta, 1 - rate]])).max()
        assert told["rate"] == pytest.approx(larger, rel=1e-6)
        theta, v, path = 1.0, 0.0, []
        for _ in range(40):
            v = beta * v - rate * theta
            theta += v
            path.append(theta)
        expected = "oscillating" if min(path) < 0 else "monotone"
        assert told["region"] == ("diverging" if larger > 1 else expected), (rate, beta)
    exact = tab.evaluate("[[0, 0.5], [2, 0], [3.8, 0.9], [1, 0]].map(p => behaviour(...p).region)")
    assert exact == ["still", "edge", "edge", "monotone"]


@pytest.mark.browser
def test_the_best_pair_is_fast(visit):
    tab = visit("descent")
    for method, kappa, fastest in [("descent", 9, 0.8), ("momentum", 9, 0.5)]:
        choose(tab, method=method, kappa=kappa)
        tab.click("#best")
        slowest = max(direction["rate"] for direction in state(tab)["directions"])
        assert slowest == pytest.approx(fastest, abs=0.03)


@pytest.mark.browser
def test_a_path_that_diverges_stays_drawable_and_is_called_so(visit):
    tab = visit("descent")
    for surface, eta in [("saddle", 2), ("rosenbrock", 0.04), ("quadratic", 4.2)]:
        choose(tab, surface=surface, eta=eta, beta=0.9, steps=500)
        now = state(tab)
        assert now["diverged"]
        assert 1 < len(now["path"]) < 500
        assert np.abs(now["path"]).max() <= 1e6
        assert np.isfinite(now["losses"]).all()
        now["steps"] = len(now["path"]) - 1
        same_path(now, rtol=1e-9)
        assert "diverges" in tab.inner_text("#said")
        drawn = tab.evaluate("[...document.querySelectorAll('svg *')].map(e => e.outerHTML).join()")
        assert not re.search(r"NaN|Infinity|undefined|\de\+", drawn)
    choose(tab, method="descent", eta=2.01, steps=5)
    assert not state(tab)["diverged"]
    assert "It diverges: η is above 2(1 + β)/λ = 2" in tab.inner_text("#said")
    choose(tab, eta=1)
    assert "monotone" in tab.inner_text("#said")
    assert "diverges" not in tab.inner_text("#said")


def noise_of(steps):
    """The page's LCG for runs 0 … 31: (steps, 32, 2) numbers of variance 1."""
    states, drawn = np.arange(32, dtype=np.uint64), []
    for _ in range(2 * steps):
        states = (states * 1664525 + 1013904223) % 2**32
        drawn.append(np.sqrt(12) * ((states + 0.5) / 2**32 - 0.5))
    return np.stack(drawn).reshape(steps, 2, 32).transpose(0, 2, 1)


def train(schedule, now):
    """The rates, mean losses and last θ of 32 runs of optim.SGD on the noisy quadratic."""
    curvature = Tensor(np.array([1, 0.05]))
    theta = nn.Parameter(np.full((32, 2), 3.0))
    optimizer = optim.SGD([theta], schedule)
    rates, losses = [], []
    for step, noise in enumerate(now["noise"] * noise_of(now["steps"])):
        losses.append((0.5 * curvature.data * theta.data**2).sum(1).mean())
        if isinstance(schedule, optim.ReduceOnPlateau) and step and step % 20 == 0:
            schedule.observe(np.mean(losses[-21:-1]))
        rates.append(schedule(step))
        (0.5 * curvature * theta * theta + Tensor(noise) * theta).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return rates, losses, theta.data


def schedule_of(name, now):
    """The library's schedule for what the page shows."""
    settings = dict(now["schedules"][name]["settings"])
    if name == "plateau":
        settings["factor"] = settings.pop("gamma")
    made = optim.schedule_from({"name": name, "lr": now["lr"]} | settings)
    return optim.Warmup(now["warmup"], made) if now["warmup"] and name != "plateau" else made


_KEYS = ("lr", "steps", "warmup", "T", "end", "alpha", "decay", "gamma", "size", "patience")
_SETTINGS = [
    (0.1, 200, 0, 100, 0.05, 0.5, 0.01, 0.95, 10, 1),
    (1.2, 1000, 0, 1000, 0.5, 5, 0.002, 1, 300, 3),
    (0.33, 350, 55, 190, 0.01, 1.3, 0.02, 0.98, 40, 2),
    (0.7, 50, 200, 10, 0, 2, 0, 0.9995, 500, 0),
]  # fmt: skip


def set_all(tab, settings):
    """Moves the sliders of these settings, whichever schedule they are of."""
    tab.evaluate(
        """settings => {
          for (const slider of document.querySelectorAll("input[type=range]"))
            slider.value = settings[slider.id.split("-").at(-1)] ?? slider.value;
          document.querySelector("#lr").dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        settings,
    )


@pytest.mark.browser
def test_every_schedule_and_what_sgd_reaches_with_it_are_the_librarys(visit):
    tab = visit("schedules")
    names = set(optim.SCHEDULES) - {"warmup"}
    choose(tab, **dict.fromkeys(names, True))
    for values in [None, *_SETTINGS]:
        set_all(tab, dict(zip(_KEYS, values or ())))
        now = state(tab)
        assert values is None or (now["lr"], now["steps"], now["warmup"]) == values[:3]
        assert set(now["schedules"]) == names
        for name, page in now["schedules"].items():
            if name != "plateau":
                rates = schedule_of(name, now)(np.arange(now["steps"]))
                np.testing.assert_allclose(page["rates"], rates, rtol=1e-12, atol=1e-15)
    last = {"lr": 0.5, "steps": 500, "warmup": 0, "noise": 1, "gamma": 0.6, "patience": 1}
    set_all(tab, last)
    now = state(tab)
    assert len(set(now["schedules"]["plateau"]["rates"])) > 2
    for name in ("cosine", "plateau"):
        page = now["schedules"][name]
        rates, losses, last = train(schedule_of(name, now), now)
        np.testing.assert_allclose(page["rates"], rates, rtol=1e-12)
        np.testing.assert_allclose(page["losses"][:-1], losses, rtol=1e-12)
        np.testing.assert_allclose(page["thetas"], last, rtol=1e-12, atol=1e-14)


@pytest.mark.browser
def test_pointing_at_a_step_shows_its_rates_and_decay_ends_lower(visit):
    tab = visit("schedules")
    now = state(tab)
    last = {name: np.mean(page["losses"][-40:]) for name, page in now["schedules"].items()}
    assert last["cosine"] < last["constant"] / 3
    assert last["polynomial"] < last["constant"] / 3

    box = tab.locator("#rates").bounding_box()
    left, right = tab.evaluate("[axes.left, axes.right]")
    last = tab.evaluate("axes.last")
    tab.mouse.move(box["x"] + left + (right - left) * 110 / last, box["y"] + 100)
    assert state(tab)["cursor"] == 110
    rates = {name: page["rates"][110] for name, page in state(tab)["schedules"].items()}
    shown = tab.inner_text("#readout")
    assert "t = 110" in shown
    assert f"polynomial η = {rates['polynomial']:.4g}" in shown
    assert f"cosine η = {rates['cosine']:.4g}" in shown
    tab.mouse.move(1, 1)
    assert state(tab)["cursor"] is None
    tab.focus("#rates")
    for key, then in [("End", 399), ("ArrowRight", 399), ("Home", 0), ("ArrowRight", 1)]:
        tab.keyboard.press(key)
        assert state(tab)["cursor"] == then
    assert "t = 1" in tab.get_attribute("#rates", "aria-valuetext")
    for name in ("constant", "polynomial", "cosine"):
        choose(tab, **{name: False})
    assert tab.inner_text("#readout") == "No schedule is chosen."


@pytest.mark.browser
@pytest.mark.parametrize("page", _PAGES)
def test_every_text_is_in_both_languages(visit, page):
    tab = visit(page, "lang=zh")
    assert tab.get_attribute("html", "lang") == "zh-Hans"
    for key, (english, chinese) in tab.evaluate("Object.entries(TEXT)"):
        assert re.search("[一-鿿]", chinese), key
        assert not re.search("[一-鿿]", english), key
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese)), key
    tab.evaluate("document.querySelectorAll('[type=checkbox]').forEach(box => box.click())")
    words = set(re.findall(r"[A-Za-z]{2,}", tab.inner_text("body")))
    assert words <= {"Rosenbrock", "SGD", "min", "max", "cos"}
    assert re.search("[一-鿿]", tab.title())


_CLIPPED = """() => [...document.querySelectorAll("p, h1, h2, label, legend, output, .formula, button")]
  .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline")
  .map(e => e.textContent)
  .concat([...document.querySelectorAll("svg[id] text")].filter(e => {
    const text = e.getBoundingClientRect(), svg = e.closest("svg").getBoundingClientRect();
    return text.left < svg.left - 1 || text.right > svg.right + 1 || text.top < svg.top - 1 || text.bottom > svg.bottom + 1;
  }).map(e => e.outerHTML))"""  # noqa: E501


@pytest.mark.browser
@pytest.mark.parametrize("page", _PAGES)
def test_a_phone_shows_all_without_scrolling_sideways(visit, page):
    tab = visit(page, width=390, height=800, has_touch=True, is_mobile=True)
    for view in sorted(_MINIMUM) if page == "descent" else ["some", "all"]:
        if page == "descent":
            choose(tab, surface=view)
        elif view == "all":
            choose(tab, warmup=50, **dict.fromkeys(set(optim.SCHEDULES) - {"warmup"}, True))
        for lang in ("zh", "en"):
            tab.evaluate(f"setLanguage('{lang}'), draw()")
            assert tab.evaluate("document.scrollingElement.scrollWidth") == 390
            assert tab.evaluate(_CLIPPED) == []
    unnamed = "[...document.querySelectorAll('input')].filter(e => !e.labels[0].innerText.trim())"
    assert tab.evaluate(f"{unnamed}.length") == 0
    for width in (1, 34, 35, 37):  # as while a page is being opened
        tab.set_viewport_size({"width": width, "height": 100})
        tab.evaluate("draw()")


_COLOURS = """names => names.flatMap(name => [...document.querySelectorAll(name)]).map(one => {
  const colour = getComputedStyle(one)[one instanceof SVGElement ? "fill" : "color"];
  return [colour, getComputedStyle(document.documentElement.querySelector("body")).backgroundColor];
})"""


@pytest.mark.browser
@pytest.mark.parametrize("page", _PAGES)
def test_light_and_dark_follow_the_system_unless_told(visit, page):
    papers, tab = {}, visit(page, scheme="dark")
    if page == "descent":
        choose(tab, eta=4.2)  # so that the warning is there
    for scheme in ("dark", "light"):
        tab.emulate_media(color_scheme=scheme)
        pairs = tab.evaluate(_COLOURS, ["h1", "h2", "p", "label", "legend", "svg text", ".bad"])
        assert len(pairs) > 20
        assert min(itertools.starmap(browser.contrast, pairs)) >= 4.5
        papers[scheme] = pairs[0][1]
    assert browser.contrast(papers["light"], "rgb(255, 255, 255)") < 1.2
    assert browser.contrast(papers["dark"], "rgb(0, 0, 0)") < 1.5
    tab = visit(page, "theme=light", scheme="dark")
    assert tab.evaluate(_COLOURS, ["h1"])[0][1] == papers["light"]


@pytest.mark.browser
@pytest.mark.parametrize("page", _PAGES)
def test_a_frame_follows_the_page_around_it(visit, tmp_path, page):
    source, script = (json.dumps((_FOLDER / n).as_uri()) for n in (f"{page}.html", "embed.js"))
    (tmp_path / "host.html").write_text(
        f"<!DOCTYPE html><html lang='zh-CN' data-theme='dark'><title>t</title>"
        f"<link rel=icon href='data:,'><p>text</p><script src={script}></script>"
        f"<iframe class='interactive' title='t' style='width:100%' src={source}></iframe></html>",
        "utf-8",
    )
    visit.own.update({(_FOLDER / f"{page}.html").as_uri(), (_FOLDER / "embed.js").as_uri()})
    tab = visit("host", folder=tmp_path, width=820)
    frame = tab.frames[1]
    look = "[document.documentElement.dataset.theme, lang, document.title === TEXT.title[1]]"
    fits = """() => Math.abs(document.scrollingElement.scrollHeight - innerHeight) < 2"""
    frame.wait_for_function(f"{look}.join() === 'dark,zh,true'")
    frame.wait_for_function(fits)
    tall = tab.locator("iframe").bounding_box()["height"]
    tab.evaluate("document.documentElement.dataset.theme = 'light'")
    tab.evaluate("document.documentElement.lang = 'en'")
    frame.wait_for_function(f"{look}.join() === 'light,en,false'")
    tab.set_viewport_size({"width": 390, "height": 800})
    frame.wait_for_function(fits)
    tab.wait_for_function(
        f"document.querySelector('iframe').getBoundingClientRect().height > {tall}"
    )
    assert tab.evaluate("document.scrollingElement.scrollWidth") == 390
    assert frame.locator("h1").is_hidden()
    tab.evaluate("document.querySelector('iframe').style.display = 'none'")
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    frame.wait_for_function(f"{look}.join() === 'dark,en,false'", polling=20)
    tab.evaluate("document.querySelector('iframe').style.display = 'block'")
    frame.wait_for_function(fits)
    tab.evaluate("document.documentElement.dataset.theme = 'light'")
    frame.wait_for_function(f"{look}.join() === 'light,en,false'")
    frame.evaluate("postMessage({ theme: 'dark' }, '*')")  # not from the page around it
    frame.evaluate("new Promise(done => setTimeout(done, 50))")
    assert frame.evaluate("document.documentElement.dataset.theme") == "light"
