"""The Python of README and the site's pages runs, prints what is shown, and every link leads
somewhere.

The blocks of a page run one after the other, as a reader would run them. ```` ```python no-run ````
needs what a test has not; ```` ```python needs=torch ```` runs where that module is installed, and
what stands in ```` ```output ```` below a block is what it prints ("..." stands for any text).
"""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
if not (DOCS / "index.md").is_file():
    pytest.skip("the documentation is not in this distribution", allow_module_level=True)
GENERATED = {"_build", "api", "articles", "tutorials", "glossary"}
PAGES = [
    *sorted(ROOT.glob("README*.md")),
    *(p for p in sorted(DOCS.rglob("*.md")) if p.relative_to(DOCS).parts[0] not in GENERATED),
]
_FENCE = re.compile(r"^```(\S*) ?(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


class Block(NamedTuple):
    """A block of Python: where it begins, what its fence says, and what it prints, if shown."""

    line: int
    says: str
    code: str
    output: str | None


def blocks(text: str) -> list[Block]:
    fences = list(_FENCE.finditer(text))
    found = []
    for fence, after in zip(fences, [*fences[1:], None]):
        if fence[1] == "python":
            shown = after is not None and after[1] == "output"
            between = text[fence.end() : after.start()].strip() if after is not None else ""
            line = text.count("\n", 0, fence.start()) + 2
            output = after[3] if after is not None and shown and not between else None
            found.append(Block(line, fence[2], fence[3], output))
    return found


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.usefixtures("own_ops")
@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p.read_text(encoding="utf-8"))], ids=name
)
def test_the_python_of_a_page_runs_and_prints_what_is_shown(
    page: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    same = doctest.OutputChecker().check_output
    for block in blocks(page.read_text(encoding="utf-8")):
        needs = block.says.removeprefix("needs=") if block.says.startswith("needs=") else None
        assert block.says in ("", "no-run", f"needs={needs}"), f"{name(page)}: {block.says}"
        if block.says == "no-run" or (needs and importlib.util.find_spec(needs) is None):
            continue
        # so that a traceback's line is the page's
        exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), names)
        said = capsys.readouterr().out
        assert same(block.output or "", said, doctest.ELLIPSIS), (
            f"line {block.line} printed:\n{said}"
        )


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("[kb]*/README.md")], ids=name)
def test_every_relative_link_of_a_page_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"^```(?!\{).*\n(?:.*\n)*?```$", "", page.read_text(encoding="utf-8"), flags=re.M)
    links = re.findall(r"\]\(<?([^)\s>]+)>?\)", text)
    links += re.findall(r"^:(?:link|file|img-top): (\S+)$", text, re.MULTILINE)
    links += re.findall(r"^```\{(?:literal)?include\} (\S+)$", text, re.MULTILINE)
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = page if not path else (page.parent / path).resolve()
        if target.is_relative_to(DOCS):
            generated = target.relative_to(DOCS).parts[0].partition(".")[0] in GENERATED
            if generated:
                continue
        if not target.exists() and target.with_name(f"{target.name}.md").is_file():
            target = target.with_name(f"{target.name}.md")
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them, included pages' too."""
    text = page.read_text(encoding="utf-8")
    included = re.findall(r"^```\{include\} (\S+)$", text, re.MULTILINE)
    text += "".join((page.parent / path).read_text(encoding="utf-8") for path in included)
    heads = re.findall(r"^#{1,4} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_what_the_two_tests_above_read(tmp_path: Path) -> None:
    text = "```python\nprint(1)\n```\n\n```output\n1\n```\n\n```python no-run\n2\n```\n"
    assert blocks(text) == [Block(2, "", "print(1)\n", "1\n"), Block(10, "no-run", "2\n", None)]
    page = tmp_path / "page.md"
    page.write_text("# Three `words` here\n", encoding="utf-8")
    assert anchors(page) == {"three-words-here"}
