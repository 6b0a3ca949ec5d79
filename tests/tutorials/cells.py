"""A tutorial taken apart: its text, its directives, its code."""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

DIRECTIVE = re.compile(
    r"^\.\. (?P<name>[\w-]+):: *(?P<argument>.*)\n(?P<body>(?:[ ]*\n|   .*\n)*)", re.MULTILINE
)
HEADING = re.compile(r"^(.+)\n(?:=+|-+)$", re.MULTILINE)


@dataclass(frozen=True)
class Cells:
    """``text``: all text cells as one; ``code``: all code cells, without blank lines."""

    text: str
    code: tuple[str, ...]

    @property
    def headings(self) -> list[str]:
        return [match[1].strip() for match in HEADING.finditer(self.text)]

    @property
    def prose(self) -> str:
        """The text without directives, which quote and list, and without headings."""
        return HEADING.sub("", DIRECTIVE.sub("", self.text))

    def section(self, heading: str) -> str:
        """The text below a heading, up to the next."""
        after = re.split(rf"^{re.escape(heading)}\n-+$", self.text, flags=re.MULTILINE)[1]
        return HEADING.split(after)[0]

    def directives(self, name: str) -> list[str]:
        """The arguments of each directive of this name."""
        return [m["argument"].strip() for m in DIRECTIVE.finditer(self.text) if m["name"] == name]


def read(path: Path) -> Cells:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    first = tree.body[0].end_lineno or 0
    texts, code = [textwrap.dedent(ast.get_docstring(tree) or "")], []
    for cell in re.split(r"^# %%.*\n", "\n".join(source.splitlines()[first:]), flags=re.MULTILINE):
        lines = cell.splitlines()
        head = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
        head = head if code else 0  # the first cell is code: its text is above
        texts.append("\n".join(line[2:] for line in lines[:head]))
        code += [line for line in lines[head:] if line.strip()] or [""]
    return Cells("\n\n".join(texts) + "\n", tuple(filter(None, code)))
