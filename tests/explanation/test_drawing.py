"""Pictures of explanations: every value in a box, every box in its frame, names told as text."""

import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

import minigrad as mg
from minigrad import InputError, Tensor, nn
from minigrad.errors import MissingExtra
from minigrad.explanation import drawing
from minigrad.explanation.drawing import boxes, draw, svg

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def drawn():
    pytest.importorskip("pygraphviz")


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    inner = nn.Sequential(nn.Dense(3, 3, rng=rng), nn.Tanh())
    model = nn.Sequential(nn.Dense(2, 3, rng=rng), inner, nn.Dense(3, 1, rng=rng))
    loss = model(Tensor(rng.normal(size=(4, 2)), name="x")).square().mean()
    loss.name = "loss"
    return mg.explain(loss, lang="en")


def groups(picture, *kinds):
    """The texts of the groups that have these classes, by id."""
    return {
        g.get("id"): " ".join(" ".join("".join(t.itertext()) for t in g.iter(f"{SVG}text")).split())
        for g in ElementTree.fromstring(picture).iter(f"{SVG}g")
        if {*kinds} <= {*g.get("class", "").split()}
    }


def edges(picture):
    found = ElementTree.fromstring(picture).iter(f"{SVG}g")
    return [g.find(f"{SVG}title").text for g in found if "edge" in g.get("class", "").split()]


def test_every_value_has_a_box_of_its_kind_and_every_argument_an_edge(drawn, network):
    picture = svg(network)
    assert groups(picture, "node").keys() == set(boxes(network).values())
    for kind in ("leaf", "constant", "result"):
        expected = {f"v{v.number}" for v in network.vertices if v.kind == kind}
        assert groups(picture, "node", kind).keys() == expected
    expected = [
        f"v{a.vertex.number}->v{v.number}"
        for v in network.vertices
        for a in v.arguments
        if a.vertex
    ]
    assert sorted(edges(picture)) == sorted(expected)


def test_a_box_tells_value_and_gradient(drawn, network):
    told = groups(svg(network), "node")
    weight = network.vertex("layers.0.weight")
    text = told[f"v{weight.number}"]
    assert "layers.0.weight (2, 3)" in text
    for key, array in (("value", weight.value), ("gradient", weight.gradient)):
        norm = f"{key}: norm {np.linalg.norm(array):.4g}"
        assert norm in text or f"{key}: [[" in text
    assert "gradient: 1" in told[f"v{network.loss.number}"]
    assert "gradient" not in told[f"v{network.vertex('x').number}"]


def test_frames_are_modules_within_modules(drawn, network):
    titles = list(groups(svg(network), "cluster").values())
    assert sorted(titles) == [
        "Sequential", "layers.0 · Dense", "layers.0 · Dense", "layers.1 · Sequential",
        "layers.1 · Tanh", "layers.2 · Dense",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("depth", "modules", "others"),
    [(0, ["Sequential"], 3), (1, ["layers.0", "layers.1", "layers.2"], 3), (9, [], None)],
)
def test_depth_makes_one_box_of_each_module(drawn, network, depth, modules, others):
    picture, place = svg(network, depth), boxes(network, depth)
    found = groups(picture, "node")
    assert found.keys() == set(place.values())
    single = {f"m{i}": title for i, title in enumerate(modules, 1)}
    assert {key for key in found if key[0] == "m"} == single.keys()
    for key, title in single.items():
        inside = [v for v in network.vertices if place[v.number] == key and v.kind == "result"]
        assert found[key].startswith(title)
        assert (
            f"values: {len(inside)} output: norm {np.linalg.norm(inside[-1].value):.4g}"
            in (found[key])
        )
        assert f"gradient: norm {np.linalg.norm(inside[-1].gradient):.4g}" in found[key]
    assert len(found) - len(modules) == (others or len(network.vertices))
    assert len(set(edges(picture))) == len(edges(picture))
    ends = {end for edge in edges(picture) for end in edge.split("->")}
    assert ends == found.keys()


def test_a_value_used_twice_has_two_edges(drawn):
    x = Tensor(3.0, requires_grad=True)
    assert edges(svg(mg.explain(x * x))) == ["v1->v2", "v1->v2"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("<b>&amp;</b>", "<b>&amp;</b>"),
        ('"quoted" -->', '"quoted" -->'),
        ("\\N \\G \\", "\\N \\G \\"),
        ("a\nb\x07\ud800", "a b��"),
        ("权重 w", "权重 w"),
        ("w" * 60, "w" * 39 + "…"),
    ],
)
def test_any_name_is_told_as_text(drawn, name, told):
    x = Tensor([1.0, 2.0], requires_grad=True, name=name)
    picture = svg(mg.explain(x.sum()))
    assert groups(picture, "node", "leaf")["v1"].startswith(told)


def test_a_page_can_restyle_it(drawn, network):
    picture = svg(network)
    assert picture.startswith("<svg")
    assert picture.rstrip().endswith("</svg>")
    assert "style=" not in picture
    assert "<!--" not in picture
    assert picture.count("font-family") == 1


@pytest.mark.parametrize(
    ("ending", "start"), [("svg", b"<?xml"), ("PNG", b"\x89PNG\r\n\x1a\n"), ("pdf", b"%PDF")]
)
def test_a_picture_of_each_format(drawn, tmp_path, network, ending, start):
    path = tmp_path / f"graph.{ending}"
    path.write_text("old")
    network.draw(path)
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_chinese_texts(drawn):
    x = Tensor([1.0, 2.0], requires_grad=True)
    told = groups(svg(mg.explain(x.sum(), lang="zh")), "node", "leaf")["v1"]
    assert re.fullmatch(r"v1 \(2,\) 值: \[1, 2\] 梯度: \[1, 1\]", told)


def test_two_thousand_values_are_one_picture(drawn, capfd):
    x = Tensor([1.0], requires_grad=True, name="often")
    y = x
    for _ in range(1000):
        y = (y + x).tanh()
    explanation = mg.explain(y.sum())
    picture = svg(explanation)
    copies = groups(picture, "copy", "leaf")
    assert set(copies.values()) == {"often"}  # rather than a thousand arrows from one box
    assert len(groups(picture, "node")) - len(copies) == len(explanation.vertices) == 2002
    assert len(edges(picture)) == 3001
    assert {key.split("_")[0] for key in copies} == {"v1"}
    assert "nodes...layout" not in capfd.readouterr().err


def test_too_many_boxes_are_refused_with_a_way_out(tmp_path, monkeypatch, network):
    monkeypatch.setattr(drawing, "LIMIT", 5)
    with pytest.raises(InputError, match=rf"{len(network.vertices)} values.*depth=1.*by_module"):
        draw(network, tmp_path / "graph.svg")
    assert boxes(network, 0)


@pytest.mark.parametrize("depth", [-1, 1.5, True, "1"])
def test_depth_is_a_count(network, depth):
    with pytest.raises(InputError, match="depth counts levels"):
        boxes(network, depth)


def test_other_endings_and_folders_that_are_not_there(drawn, tmp_path, network):
    with pytest.raises(InputError, match=r"'.gif'.*choose one of .pdf, .png, .svg"):
        network.draw(tmp_path / "graph.gif")
    with pytest.raises(InputError, match="could not be written"):
        network.draw(tmp_path / "none" / "graph.svg")


def test_without_pygraphviz_the_extra_is_named(tmp_path, monkeypatch, network):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(MissingExtra, match=r"pygraphviz.*\[explain\]"):
        network.draw(tmp_path / "graph.svg")
    assert not list(tmp_path.iterdir())
