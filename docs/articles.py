"""The site's pages of the articles, in either language: formulas, errata, questions, ledger."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docs.formulas import formulas
from docs.record_answers import FILE as ANSWERS
from minigrad.articles import ITEMS, KINDS, Row, ledger
from minigrad.articles.errata import ERRATA
from minigrad.articles.printed import PRINTED, Printed
from minigrad.ask.questions import QUESTIONS
from minigrad.tutorials import TUTORIALS

__all__ = ["page", "pages"]

ROOT = Path(__file__).parents[1]
_ARTICLES = {
    "D0": (
        "An overview of training strategies for large models: distributed training, momentum and "
        "learning-rate decay, without formulas or code.",
        "大模型训练策略概述：分布式训练、动量法与学习率衰减，没有公式和代码。",
    ),
    "D1": (
        "How a large model is trained: data preprocessing, gradient descent, backpropagation and "
        "optimizers, with a program in Keras.",
        "如何训练大模型：数据预处理、梯度下降、反向传播与优化器，附一个 Keras 程序。",
    ),
    "D2": (
        "Training strategies and optimisation: SGD, momentum, gradient clipping and learning-rate "
        "decay with their formulas, and a program in NumPy.",
        "训练策略与优化：随机梯度下降、动量法、梯度裁剪与学习率衰减的公式，附一个 NumPy 程序。",
    ),
    "D3": (
        "Principles of large models: training strategies, optimisation strategies and metrics, "
        "with a class of layers in TensorFlow.",
        "大模型原理：训练策略、优化策略与评估指标，附一个用 TensorFlow 编写的层。",
    ),
    "D4": (
        "Training of very large models: gradient descent, Adam and distributed training step by "
        "step, with a gradient tape in TensorFlow.",
        "超大规模模型训练：梯度下降、Adam 与分布式训练的步骤，附 TensorFlow 的 GradientTape 程序。",
    ),
}
_SAY = {
    "en": {
        "articles": "Articles", "formulas": "Formulas", "errata": "Errata",
        "questions": "Questions", "ledger": "Ledger", "colon": ": ", "comma": ", ",
        "index": "Five articles, in Chinese and by others, describe how large models are trained. "
        "minigrad makes what they say run, and checks it. Here stand only the items that are "
        "treated, with article and section: formulas (F), algorithms (A), programs (C), questions "
        "(Q) and errata (E).",
        "formulas_card": "As printed, as computed, and how to call it.",
        "errata_card": "Where an article is wrong, what is so, and the test that shows it.",
        "questions_card": "Each answered by an experiment that you can run.",
        "ledger_card": "Every item, with its code, its tests and its tutorial.",
        "formulas_text": "What an article prints, what minigrad computes, and how it is called. "
        "Where it can be, the second is drawn from the source of the function that runs.",
        "errata_text": "What an article prints, what is so, and a test in which the printed form "
        "fails and the corrected one works.",
        "questions_text": "The articles ask these questions in their appendices. `minigrad ask ID` "
        "runs an experiment on your machine, answers in three sentences and draws a picture. The "
        "answers below were recorded; yours will have other times.",
        "recorded": "Recorded on {date}, with one thread for matrix products unless the answer "
        "says otherwise, on {cpu}, {cores} cores, {system}, Python {python}, NumPy {numpy}.",
        "ledger_text": "All items of the articles, as `minigrad articles` lists them. The tests "
        "are in `tests/documents`; `+2` means two more. `python -m pytest tests/documents` runs "
        "them.",
        "computed": "minigrad computes", "so": "What is so", "called": "The call",
        "test": "Test", "more": "More tests", "tutorial": "Tutorial", "program": "Program",
        "article": "article", "item": "item", "title": "title", "code": "code", "state": "state",
        "checked": "checked", "open": "open", "untested": "without a test",
    },
    "zh": {
        "articles": "文章", "formulas": "公式", "errata": "勘误", "questions": "问题",
        "ledger": "对照表", "colon": "：", "comma": "、",
        "index": "五篇由他人撰写的中文文章介绍了大模型的训练。minigrad 让其中的内容都能运行，"
        "并逐条验证。这里只引用所涉及的条目，注明文章与章节：公式 (F)、算法 (A)、程序 (C)、"
        "问题 (Q) 与勘误 (E)。",
        "formulas_card": "原文的公式、实际的计算与调用方式。",
        "errata_card": "文章何处有误、实际情况如何，以及说明这一点的测试。",
        "questions_card": "每个问题都用一个可以运行的实验作答。",
        "ledger_card": "全部条目及其代码、测试与教程。",
        "formulas_text": "原文的公式、minigrad 的计算与调用方式。只要可行，"
        "计算公式都由实际运行的函数源代码生成。",
        "errata_text": "原文的写法、实际情况，以及一个测试：原文的写法不通过，改正后的写法通过。",
        "questions_text": "这些问题出自各篇文章的附录。`minigrad ask ID` 在你的机器上运行一个实验，"
        "用三句话作答并画一幅图。以下回答是事先记录的；在你的机器上，时间会有所不同。",
        "recorded": "记录于 {date}。除非回答中另有说明，矩阵乘法只用一个线程。"
        "机器：{cpu}，{cores} 核，{system}，Python {python}，NumPy {numpy}。",
        "ledger_text": "文章的全部条目，与 `minigrad articles` 所列相同。"
        "测试位于 `tests/documents`，`+2` 表示另有两个；"
        "用 `python -m pytest tests/documents` 运行。",
        "computed": "minigrad 的计算", "so": "实际情况", "called": "调用方式",
        "test": "测试", "more": "其他测试", "tutorial": "教程", "program": "程序",
        "article": "文章", "item": "条目", "title": "标题", "code": "代码", "state": "状态",
        "checked": "已验证", "open": "未完成", "untested": "缺少测试",
    },
}  # fmt: skip
_PAGES = ("formulas", "errata", "questions", "ledger")
_LONG = "from-file"  # a style that breaks long names where there is no space
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>$|~])")


def pages(language: str, root: Path = ROOT) -> dict[str, str]:
    """The five pages in ``language`` ("en" or "zh") as MyST Markdown, by their names."""
    rows = {row.item.id: row for row in ledger(root)}
    parts = {
        "index": _index(language),
        "formulas": _formulas(language, rows),
        "errata": _errata(language, rows),
        "questions": _questions(language),
        "ledger": _ledger(language, rows),
    }
    return {f"articles/{name}": "\n\n".join(text) + "\n" for name, text in parts.items()}


def _index(language: str) -> list[str]:
    say = _SAY[language]
    which = 1 if language == "zh" else 0
    articles = [f"**{id}**{say['colon']}{text[which]}" for id, text in _ARTICLES.items()]
    link = ":link: {}\n:link-type: doc"
    cards = [
        f":::{{grid-item-card}} {say[n]}\n{link.format(n)}\n{say[n + '_card']}\n:::" for n in _PAGES
    ]
    return [
        f"# {say['articles']}",
        say["index"],
        "\n".join(f"- {text}" for text in articles),
        "::::{grid} 1 2 2 2\n:gutter: 3",
        *cards,
        "::::",
        "```{toctree}\n:hidden:\n\n" + "\n".join(_PAGES) + "\n```",
    ]


def _formulas(language: str, rows: dict[str, Row]) -> list[str]:
    say = _SAY[language]
    parts = [f"# {say['formulas']}", say["formulas_text"]]
    for id, formula in formulas().items():
        call = [f"{say['called']}{say['colon'].rstrip()}", f"```python\n{formula.call}\n```"]
        parts += [
            _head(id, language),
            f"```{{article}} {id}\n" + "\n".join(PRINTED[id].lines) + "\n```",
            formula.note(language),
            f"{say['computed']}{say['colon'].rstrip()}",
            *(f"$$\n{line}\n$$" for line in formula.lines),
            *call,
            *_proof(rows[id], language),
        ]
    return parts


def _errata(language: str, rows: dict[str, Row]) -> list[str]:
    say = _SAY[language]
    parts = [f"# {say['errata']}", say["errata_text"]]
    for id, erratum in ERRATA.items():
        parts += [
            _head(id, language),
            *(_quotation(printed, language) for printed in erratum.printed),
            f"**{say['so']}**{say['colon']}{erratum.text(language)}",
            *(f"$$\n{line}\n$$" for line in erratum.formulas),
            *_proof(rows[id], language),
        ]
    return parts


def _questions(language: str) -> list[str]:
    say = _SAY[language]
    answers: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))
    parts = [f"# {say['questions']}", say["questions_text"]]
    parts += _machines([answers[id]["machine"] for id in QUESTIONS], say["recorded"])
    article = ""
    for id, question in QUESTIONS.items():
        if article != question.where[:2]:
            article = question.where[:2]
            parts += [f"## {article}", _ARTICLES[article][1 if language == "zh" else 0]]
        sentences = answers[id]["zh" if language == "zh" else "en"]
        parts += [
            f"(Q-{id})=\n### {id} · {question.text(language)}",
            f"```console\n$ minigrad ask {id}\n```",
            "\n".join(f"- {_plain(sentence)}" for sentence in sentences),
        ]
    return parts


def _machines(found: Sequence[dict[str, Any]], sentence: str) -> list[str]:
    """On what the answers were recorded: a sentence for each machine, with its days."""
    days: dict[str, set[str]] = {}
    for machine in found:
        date = machine["date"][:10]
        days.setdefault(sentence.format(**{**machine, "date": "{date}"}), set()).add(date)
    return [text.replace("{date}", ", ".join(sorted(dates))) for text, dates in days.items()]


def _ledger(language: str, rows: dict[str, Row]) -> list[str]:
    say = _SAY[language]
    parts = [f"# {say['ledger']}", say["ledger_text"]]
    head = [say[name] for name in ("item", "title", "article", "state", "tutorial", "test")]
    head = [name[0].upper() + name[1:] for name in head]
    for letter, names in KINDS.items():
        table = [head, *(_cells(row, language) for row in rows.values() if row.item.kind == letter)]
        lines = [f"| {' | '.join(cells)} |" for cells in table]
        lines.insert(1, "|" + " --- |" * len(head))
        title = names[language]
        parts += [f"## {title[0].upper() + title[1:]}", "```{rst-class} text-nowrap\n```"]
        parts.append("\n".join(lines))
    return parts


def _cells(row: Row, language: str) -> list[str]:
    say, item = _SAY[language], row.item
    title = _plain(item.title(language))
    tests = [test.removeprefix("tests/documents/") for test in row.tests]
    more = f" +{len(tests) - 1}" if tests[1:] else ""
    return [
        item.id.removeprefix("Q-"),
        title if page(item.id) == "ledger" else f"[{title}]({page(item.id)}.md#{item.id.lower()})",
        item.where,
        say[row.state],
        say["comma"].join(_tutorial(place, language) for place in row.tutorials),
        f"`{tests[0]}`{more}" if tests else item.reason(language),
    ]


def page(id: str) -> str:
    """The page that treats an item at length, or else the ledger."""
    if id in formulas():
        return "formulas"
    return {"E": "errata", "Q": "questions"}.get(ITEMS[id].kind, "ledger")


def _head(id: str, language: str) -> str:
    title = ITEMS[id].title(language)
    if language == "en" and re.match(r"[a-z]+(-[a-z]+)*([\s:,]|$)", title):
        title = title[0].upper() + title[1:]
    return f"({id})=\n## {id} · {_plain(title)}"


def _quotation(printed: Printed, language: str) -> str:
    if printed.kind == "latex":
        body = [f"$$\n{line}\n$$" for line in printed.lines]
    elif printed.kind == "code":
        body = ["```python\n" + textwrap.dedent("\n".join(printed.lines)) + "\n```"]
    else:
        body = list(printed.lines)
        if language == "en":
            body += [f"*{line}*" for line in printed.en]
    body.append(f"({printed.where})" if language == "en" else f"（{printed.where}）")
    quoted = "\n>\n".join("\n".join(f"> {line}" for line in part.split("\n")) for part in body)
    return f"````{{rst-class}} article\n{quoted}\n````"


def _proof(row: Row, language: str) -> list[str]:
    """The first test of an item, to be opened; the names of the others; and the tutorials."""
    say = _SAY[language]
    first, *others = row.tests
    name = first.partition("::")[2]
    parts = [
        f"::::{{dropdown}} {say['test']}{say['colon']}`{name}`\n"
        f":class-title: {_LONG}\n"
        f"```{{property-test}} {first}\n```\n::::"
    ]
    said = []
    if others:
        names = say["comma"].join(f"`{test.partition('::')[2]}`" for test in others)
        said.append(f"{say['more']}{say['colon']}{names}")
    if row.tutorials:
        linked = say["comma"].join(_tutorial(place, language) for place in row.tutorials)
        said.append(f"{say['tutorial']}{say['colon']}{linked}")
    if said:
        parts += [f"```{{rst-class}} {_LONG}\n```", "\n".join(f"- {text}" for text in said)]
    return parts


def _tutorial(place: str, language: str) -> str:
    """A link to the page of a tutorial; a program of tutorials/articles has none."""
    name = place.removeprefix("tutorials/").removesuffix(".py")
    for tutorial in TUTORIALS.values():
        if tutorial.name == name:
            title = f"{tutorial.number} · {tutorial.title(language)}"
            return f"{{doc}}`{title} </tutorials/{name}>`"
    return f"`{place}`"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return _SPECIAL.sub(r"\\\1", text)
