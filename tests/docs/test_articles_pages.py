"""The site's pages of the articles: complete, and the same in both languages."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad.articles.errata
from minigrad import data, metrics, nn, ops, optim
from minigrad.articles import ITEMS
from minigrad.ask.questions import QUESTIONS
from minigrad.distributed.averaging import ParameterServer
from minigrad.distributed.data_parallel import DataParallel
from minigrad.distributed.serial import SerialCommunicator

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
WHY = "the documentation is not in this distribution"
articles = pytest.importorskip("docs.articles", reason=WHY)
formulas = pytest.importorskip("docs.formulas", reason=WHY)
translations = pytest.importorskip("docs.translations", reason=WHY)

PAGES = {language: articles.pages(language) for language in ("en", "zh")}
NAMES = sorted(PAGES["en"])
ENGLISH = {
    *("minigrad", "numpy", "keras", "tensorflow", "gradienttape", "sequential", "dense"),
    *("bigmodel", "kingma", "linux", "python", "family", "model", "xeon", "gold", "ceph", "npz"),
    *(
        "pytorch",
        "openmp",
        "prelu",
        "digits",
        "plan",
        "kib",
        "safetensors",
        "svd",
        "glusterfs",
        "matplotlib",
    ),
    *("adam", "adagrad", "rmsprop", "nesterov", "xavier", "relu", "leaky", "parametric", "sgd"),
    *("sigmoid", "tanh", "softmax", "logit", "transformer", "cpu"),
}
"""Names, which stay as they are in Chinese."""
BLOCK = re.compile(
    r"^(?P<in>> |)(?P<fence>\$\$|`{3,})(?P<head>.*)\n(?P<body>(?:.*\n)*?)(?P=in)(?P=fence)$", re.M
)
NO_PROSE = re.compile(
    r"\$[^$]+\$|`[^`]+`|\]\([^)]+\)|^:.*$|\{[\w-]+\}|\w+\\?[_=(][^\s|）]*", re.MULTILINE
)


def blocks(text: str) -> list[tuple[str, str]]:
    """Formulas, code and quotations, of which those in Chinese and English are left out."""
    found = [(match["head"], match["body"]) for match in BLOCK.finditer(text)]
    return [(head, body) for head, body in found if "rst-class" not in head]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_item_is_on_a_page(language: str) -> None:
    rows = PAGES[language]["articles/ledger"]
    for id, item in ITEMS.items():
        shown = articles._plain(item.title(language))
        assert f"| {id.removeprefix('Q-')} | " in rows
        assert shown in rows
    assert set(PAGES[language]) == {
        f"articles/{name}" for name in ("index", "formulas", "errata", "questions", "ledger")
    }


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("page", "ids"),
    [
        ("formulas", [id for id in ITEMS if id[0] == "F"]),
        ("errata", [id for id in ITEMS if id[0] == "E"]),
        ("questions", [id for id in ITEMS if id[0] == "Q"]),
    ],
)
def test_a_page_treats_each_of_its_items(language: str, page: str, ids: list[str]) -> None:
    text = PAGES[language][f"articles/{page}"]
    assert [id for id in re.findall(r"^\((.+)\)=$", text, re.MULTILINE) if id in ids] == ids


@pytest.mark.parametrize("name", NAMES)
def test_formulas_code_and_links_are_the_same_in_both(name: str) -> None:
    en, zh = (PAGES[language][name] for language in ("en", "zh"))
    assert blocks(en) == blocks(zh)
    for pattern in (r" </(\S+)>", r"\]\((\S+)\)", r"^\(.+\)=$", r"^:link: .*"):
        assert re.findall(pattern, en, re.MULTILINE) == re.findall(pattern, zh, re.MULTILINE)
    if name in ("articles/formulas", "articles/errata"):
        assert len(blocks(en)) > 20


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_in_english(name: str) -> None:
    prose = NO_PROSE.sub(" ", BLOCK.sub(" ", PAGES["zh"][name]))
    words = {word.lower() for word in re.findall(r"(?<![\w])[A-Za-z]{3,}(?![\w])", prose)}
    names = {word for word in re.findall(r"[A-Za-z]{3,}", prose) if word.isupper()}
    assert words - ENGLISH - {word.lower() for word in names} == set()


@pytest.mark.parametrize(
    "texts",
    [
        *minigrad.articles.errata.ERRATA.values(),
        *formulas.formulas().values(),
    ],
    ids=[*minigrad.articles.errata.ERRATA, *formulas.formulas()],
)
def test_both_languages_say_the_same(texts: Any) -> None:
    assert translations.problems(texts.en, texts.zh, "md") == []


@pytest.mark.parametrize("name", sorted(articles._SAY["en"]))
def test_the_pages_own_words_are_translated(name: str) -> None:
    en, zh = (articles._SAY[language][name] for language in ("en", "zh"))
    assert re.findall(r"\{\w+\}|`[^`]+`", en) == re.findall(r"\{\w+\}|`[^`]+`", zh)
    if name not in ("colon", "comma"):
        said = translations.problems(en, zh, "md")
        assert not [problem for problem in said if "glossary" in problem or "ASCII" in problem]


@pytest.mark.parametrize("id", QUESTIONS)
def test_each_question_has_its_recorded_answer(id: str) -> None:
    for language in ("en", "zh"):
        text = PAGES[language]["articles/questions"]
        part = text.partition(f"(Q-{id})=")[2].partition("\n(")[0].partition("\n## ")[0]
        assert QUESTIONS[id].text(language) in part
        assert f"$ minigrad ask {id}\n" in part
        assert len(re.findall(r"^- .+[.。]$", part, re.MULTILINE)) == 3
    recorded = json.loads(articles.ANSWERS.read_text(encoding="utf-8"))[id]
    for en, zh in zip(recorded["en"], recorded["zh"], strict=True):
        said = translations.problems(en, zh, "md")
        assert not [problem for problem in said if problem.startswith("number")]


@pytest.mark.parametrize("id", formulas.formulas())
def test_the_calls_run(id: str) -> None:
    rng = np.random.default_rng(0)
    model = nn.Dense(3, 1, rng=rng)
    x, y = rng.normal(size=(8, 3)).astype("float32"), np.ones((8, 1), "float32")
    names: dict[str, Any] = {
        "data": data, "metrics": metrics, "nn": nn, "ops": ops, "optim": optim,
        "DataParallel": DataParallel, "ParameterServer": ParameterServer,
        "comm": SerialCommunicator(), "rng": rng, "model": model, "x": x, "y": y,
        "loss": lambda model: ops.mse(model(x), y), "gradients": [np.full(3, 9.0)],
        "labels": [0, 0, 1, 1], "predictions": [0, 1, 1, 1], "scores": [0.1, 0.4, 0.3, 0.7],
        "X": np.array([[1.0, 2], [2, 4], [3, 6]], "float32"),
        "targets": np.array([1.0, 3, 5], "float32"), "print": lambda *_: None,
    }  # fmt: skip
    exec(formulas.formulas()[id].call, names)
    if id == "F9":
        X, targets = names["X"], names["targets"]
        np.testing.assert_allclose(names["theta"].grad, -2 / 3 * X.T @ targets, rtol=1e-6)
    if id == "F4":
        np.testing.assert_allclose(names["gradients"], [[1 / 3**0.5] * 3], rtol=1e-5)


@pytest.mark.parametrize(
    ("code", "given", "lines"),
    [
        ("minigrad.optim.sgd_step", {}, [r"\theta \leftarrow \theta - \eta\,g"]),
        (
            "minigrad.optim.momentum_step",
            {"convention": "pytorch", "nesterov": False},
            [r"v \leftarrow \mu\,v + g", r"\theta \leftarrow \theta - \eta\,v"],
        ),
        (
            "minigrad.optim.momentum_step",
            {"convention": "keras", "nesterov": True},
            [r"v \leftarrow \mu\,v - \eta\,g", r"\theta \leftarrow \theta + \mu\,v - \eta\,g"],
        ),
    ],
)
def test_a_formula_is_drawn_from_the_branch_that_is_run(
    code: str, given: dict[str, Any], lines: list[str]
) -> None:
    assert list(formulas.drawn(code, given)) == lines
