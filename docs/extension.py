"""What minigrad's pages need of Sphinx: formulas as MathML, and five directives.

``article`` quotes an item of the articles, and fails where the quotation is not verbatim;
``property-test`` shows a test from its file; ``recorded`` shows what a command printed;
``interactive`` shows a page that the reader moves; ``stub`` shows an exercise's file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from minigrad.articles.printed import PRINTED
from minigrad.explanation.mathml import mathml
from minigrad.tutorials.notebook import function

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
            body = [nodes.math_block(line, line, number=None, nowrap=False) for line in lines]
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


class Stub(_FromFile):
    """``.. stub:: tutorials/exercises/04.py``"""


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
    for directive in (Article, Recorded, Stub, Interactive):
        app.add_directive(directive.__name__.lower(), directive)
    app.add_directive("property-test", PropertyTest)
    app.add_html_math_renderer("mathml", (_math, None), (_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
