"""What minigrad's pages need of Sphinx: formulas as MathML, four directives, and links.

``article`` quotes an item of the articles, and fails where the quotation is not verbatim;
``property-test`` shows a test from its file; ``recorded`` shows what a command printed;
``interactive`` shows a page that the reader moves. In a tutorial the items that its second line
names lead to the pages that treat them, and the notebook to download is that of minigrad tutorial.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from docs.articles import page
from minigrad.articles import ITEMS
from minigrad.articles.printed import PRINTED
from minigrad.explanation.mathml import mathml
from minigrad.tutorials import TUTORIALS
from minigrad.tutorials.notebook import function, notebook, shown

ROOT = Path(__file__).parents[1]


class Article(SphinxDirective):
    """``.. article:: F3``, and below it what the article prints, verbatim."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        printed = PRINTED.get(self.arguments[0])
        if printed is None:
            raise self.error(f"{self.arguments[0]} is not in minigrad/articles/printed.toml")
        lines = tuple(line for line in self.content if line.strip())
        if lines != printed.lines:
            raise self.error(
                f"{self.arguments[0]} is printed in {printed.where} as\n"
                + "\n".join(printed.lines)
                + "\nand not as\n"
                + "\n".join(lines)
            )
        if printed.kind == "latex":
            body = [nodes.math_block(line, line) for line in lines]
        elif printed.kind == "code":
            code = "\n".join(lines)
            body = [nodes.literal_block(code, code, language="python", translatable=False)]
        else:
            body = _quotation(lines, "zh")
            if self.config.language == "en":
                body += _quotation(printed.en, "en")
        source = nodes.attribution("", f"{printed.where} · {self.arguments[0]}")
        return [nodes.block_quote("", *body, source, classes=["article"])]


def _quotation(lines: tuple[str, ...], language: str) -> list[nodes.Node]:
    if len(lines) == 1:
        return [nodes.paragraph("", lines[0], classes=[f"lang-{language}"])]
    items = [nodes.list_item("", nodes.paragraph("", line)) for line in lines]
    return [nodes.enumerated_list("", *items, classes=[f"lang-{language}"], enumtype="arabic")]


class _FromFile(SphinxDirective):
    """Shows a part of a file of the repository; rebuilt when that file changes."""

    required_arguments = 1
    language = "python"

    def part(self, text: str) -> str:
        return text

    def path(self) -> str:
        return str(self.arguments[0])

    def run(self) -> list[nodes.Node]:
        path = ROOT / self.path()
        if not path.is_file():
            raise self.error(f"there is no file {self.path()}")
        self.env.note_dependency(str(path))
        code = self.part(path.read_text(encoding="utf-8"))
        block = nodes.literal_block(code, code, language=self.language, translatable=False)
        caption = nodes.caption("", "", nodes.literal("", self.arguments[0]))
        return [nodes.container("", caption, block, classes=["from-file"], literal_block=True)]


class PropertyTest(_FromFile):
    """``.. property-test:: tests/documents/test_d2.py::test_f3_momentum``"""

    def path(self) -> str:
        return str(self.arguments[0]).partition("::")[0]

    def part(self, text: str) -> str:
        name = self.arguments[0].partition("::")[2]
        try:
            return function(text, name)
        except LookupError as error:
            raise self.error(f"there is no function '{name}' in {self.path()}") from error


class Recorded(_FromFile):
    """``.. recorded:: tutorials/recorded/06.txt``: a command and what it printed."""

    language = "console"


class Interactive(SphinxDirective):
    """``.. interactive:: descent`` shows docs/interactive/descent.html."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"height": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if not (ROOT / "docs" / "interactive" / f"{name}.html").is_file():
            raise self.error(f"there is no page docs/interactive/{name}.html")
        up = "../" * self.env.docname.count("/")
        language = "zh" if self.config.language.startswith("zh") else "en"
        text = (
            f'<iframe class="interactive" src="{up}_static/{name}.html?lang={language}" '
            f'title="{name}" height="{self.options.get("height", 640)}" loading="lazy"></iframe>'
        )
        return [nodes.raw("", text, format="html")]


class Lesson(SphinxPostTransform):
    """The items that a tutorial names are links, and its code has no marks for the formatter."""

    default_priority = 1

    def run(self, **_: Any) -> None:
        here = self.env.current_document.docname
        if not here.startswith("tutorials/"):
            return
        for block in self.document.findall(nodes.literal_block):
            text = shown(block.astext())
            block.children = [nodes.Text(text)]
            block.rawsource = text  # highlighted only where both are the same
        line = re.compile(r"(?:Articles: |文章条目：)((?:\w+(?:, |、)?)+)$")
        for paragraph in list(self.document.findall(nodes.paragraph)):
            if found := line.match(paragraph.astext()):
                parts = re.split(r"(\w+)", paragraph.astext()[found.start(1) :])
                start = nodes.Text(paragraph.astext()[: found.start(1)])
                paragraph.children = []
                paragraph += [start, *(self._item(part, here) for part in parts if part)]

    def _item(self, text: str, here: str) -> nodes.Node:
        if text not in ITEMS:
            return nodes.Text(text)
        to = posixpath.relpath(f"articles/{page(text)}.html", posixpath.dirname(here))
        place = "" if page(text) == "ledger" else f"#{text.lower()}"
        return nodes.reference("", text, refuri=to + place, internal=True)


def _notebooks(app: Sphinx) -> None:
    """What a tutorial's page offers to download: without directives that only the site knows."""
    for tutorial in TUTORIALS.values():
        made = Path(app.srcdir, "tutorials", f"{tutorial.name}.ipynb")
        if made.is_file():
            made.write_text(notebook(tutorial), encoding="utf-8")


def _math(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _math_block(translator: Any, node: nodes.math_block) -> None:
    for part in node.astext().split("\n\n"):
        translator.body.append(f'<div class="formula">{mathml(part, block=True)}</div>')
    raise nodes.SkipNode


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The open figures as images, whose alternative text is the figure's own name (``num=``)."""
    import matplotlib.pyplot as plt

    found = []
    for number, path in zip(plt.get_fignums(), block_vars["image_path_iterator"]):
        figure = plt.figure(number)
        figure.savefig(path, dpi=150)
        alt = figure.get_label()
        if not alt:
            raise ValueError(f"{block_vars['src_file']}: a figure has no name: num='what it shows'")
        place = Path(path).relative_to(gallery_conf["src_dir"]).as_posix()
        found.append(f".. image:: /{place}\n   :alt: {alt}\n   :class: sphx-glr-single-img\n")
    plt.close("all")
    return "\n".join(found)


def setup(app: Sphinx) -> dict[str, Any]:
    for directive in (Article, Recorded, Interactive):
        app.add_directive(directive.__name__.lower(), directive)
    app.add_directive("property-test", PropertyTest)
    app.add_post_transform(Lesson)
    app.connect("builder-inited", _notebooks, priority=900)  # sphinx-gallery has made its own
    app.add_html_math_renderer("mathml", (_math, None), (_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
