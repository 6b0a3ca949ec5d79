"""The glossary: its data, its page in both languages, and minigrad's own Chinese."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minigrad.articles.items import ITEMS

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
WHY = "the documentation is not in this distribution"
glossary = pytest.importorskip("docs.glossary", reason=WHY)
translations = pytest.importorskip("docs.translations", reason=WHY)

TERMS = glossary.terms()
WORDS = "\n".join(f"* {{term}}`{name}`" for term in TERMS for name in term.names)
ENTRY = '[[term]]\nen = "{en}"\nzh = "{zh}"\nmeans_en = "It."\nmeans_zh = "它。"\n{more}\n'
LOOSE = {"C4", "Q-D2-5", "Q-D4-1"}
"""Titles that say in English what the article's own Chinese words say otherwise."""


def test_every_definition_is_a_translation_that_the_rules_accept() -> None:
    said = [
        (term.en, problem)
        for term in TERMS
        for problem in translations.problems(term.means_en, term.means_zh, "md")
    ]
    assert not said


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.en)
def test_a_definition_is_one_or_two_sentences_and_lists_no_form_twice(term: Any) -> None:
    assert len(re.findall(r"[.:](?=\s|$)", term.means_en)) in (1, 2, 3)
    assert term.means_en.endswith(".")
    assert term.means_zh.endswith("。")
    assert len(set(term.also)) == len(term.also)
    assert not {term.en, term.zh} & {*term.also}
    assert not {term.zh} & {*term.also_zh}


def test_the_titles_of_the_articles_items_follow_the_glossary() -> None:
    said = {
        item.id: problems
        for item in ITEMS.values()
        if (problems := translations.problems(item.en, item.zh, "md"))
    }
    assert set(said) == LOOSE, said


@pytest.mark.parametrize("tutorial", range(1, 15))
def test_every_tutorial_has_words(tutorial: int) -> None:
    assert [term for term in TERMS if term.tutorial == tutorial]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([("b", "乙", ""), ("a", "甲", "")], "'a' should stand before 'b'"),
        ([("a", "甲", ""), ("b", "甲", "")], "'甲' is the name of 'a' and 'b'"),
        ([("a", "甲", 'where = ["D2 3.2"]')], "where is like 'D2 §3.2', not 'D2 3.2'"),
        ([("a", "甲", "tutorial = 15")], "tutorial is 1 to 14, not 15"),
        ([("a", "甲", 'see = "b"')], "unexpected keyword argument 'see'"),
    ],
)
def test_a_wrong_entry_is_named(
    tmp_path: Path, entries: list[tuple[str, str, str]], sentence: str
) -> None:
    file = tmp_path / "words.toml"
    file.write_text(
        "".join(ENTRY.format(en=en, zh=zh, more=more) for en, zh, more in entries),
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match=re.escape(sentence)):
        glossary.terms(file)


def test_an_entry_links_to_the_tutorial_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "04_momentum.py").touch()
    english, chinese = (glossary.markdown(language, tmp_path) for language in ("en", "zh"))
    assert "momentum\n动量法\n  Adds" in english
    assert "动量法\nmomentum\n  每一步" in chinese
    assert (
        "动量, 冲量 · Articles: D0 §3, D2 §3.2 · {doc}`Tutorial 4 </tutorials/04_momentum>`"
        in english
    )
    assert "文章：D0 §3、D2 §3.2 · {doc}`教程 4 </tutorials/04_momentum>`" in chinese
    assert "Tutorial 5\n" in english


@pytest.mark.parametrize(
    ("letter", "name"),
    [("A", "AUC"), ("L", "logit"), ("T", "调和平均"), ("Y", "阈值"), ("Z", "早停")],
)
def test_chinese_terms_are_listed_by_pinyin(letter: str, name: str) -> None:
    page = glossary.markdown("zh")
    line = re.search(rf"^\*\*{letter}\*\* .*$", page, re.MULTILINE)
    assert line is not None
    assert f"{{term}}`{name}`" in line[0]


def test_the_order_of_pinyin_is_known_for_every_term() -> None:
    leads = {term.zh[0] for term in TERMS if not term.zh[0].isascii()} - {*glossary._READ}
    assert not {lead for lead in leads if lead.encode("gb2312") >= b"\xd8\xa1"}


@pytest.mark.parametrize(("language", "code"), [("en", "en"), ("zh", "zh_CN")])
def test_both_terms_can_be_referred_to_in_both_languages(
    tmp_path: Path, language: str, code: str
) -> None:
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    settings = {
        "conf.py": 'extensions = ["myst_parser"]\nmyst_enable_extensions = ["dollarmath"]\n'
        'root_doc = "index"\nlocale_dirs = ["locale"]\nhtml_theme = "basic"\n'
        'source_suffix = {".rst": "restructuredtext", ".md": "markdown"}\n',
        "index.rst": "Index\n=====\n\n.. toctree::\n\n   glossary\n   words\n\n"
        "Take :term:`momentum`, :term:`rates <learning rate>`.\n",
        "words.md": f"# Words\n\n{WORDS}\n",
        "glossary.md": glossary.markdown(language, tmp_path),
        "locale/zh_CN/LC_MESSAGES/index.po": 'msgid ""\nmsgstr "Content-Type: text/plain; '
        'charset=UTF-8\\n"\n\nmsgid "Take :term:`momentum`, :term:`rates <learning rate>`."\n'
        'msgstr "取\\\\ :term:`学习率 <learning rate>`、:term:`动量法 <momentum>`。"\n',
    }
    for name, text in settings.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-b", "dirhtml"]
    options = ["-D", f"language={code}", "-D", "html_search_language=en"]
    done = subprocess.run(
        [*command, *options, str(tmp_path), str(tmp_path / "out")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "out" / "words" / "index.html").read_text(encoding="utf-8")
    linked = re.findall(r'href="[^"]*glossary/#([^"]+)"', words)
    assert len(set(linked)) == sum(len(term.names) for term in TERMS)
    index = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert (">动量法<" in index) == (language == "zh")
    assert 'glossary/#term-momentum"' in index
