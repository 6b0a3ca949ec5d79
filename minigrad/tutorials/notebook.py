"""A tutorial as a Jupyter notebook: sphinx-gallery's, once our own directives are put plainly."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import textwrap
from typing import Any

from minigrad.articles import ITEMS
from minigrad.articles.printed import PRINTED
from minigrad.errors import require
from minigrad.tutorials.listing import Tutorial, folder

__all__ = ["function", "notebook", "plainly", "shown"]

_FIRST = """\
# Where minigrad is not installed yet, as on Colab, this installs it, with the GPU's part if there
# is a GPU.
REPOSITORY = "{repository}"  # the address of a clone of minigrad

import importlib.util, shutil
if importlib.util.find_spec("minigrad") is None:
    assert REPOSITORY, "set REPOSITORY above, https://…, to the address of a clone of minigrad"
    extras = "demo,cuda12" if shutil.which("nvidia-smi") else "demo"
    if shutil.which("apt-get"):
        !apt-get -qq install -y graphviz libgraphviz-dev > /dev/null
    %pip install -q "minigrad-mpi[{{extras}}] @ git+{{REPOSITORY}}"
"""
_DIRECTIVE = re.compile(
    r"^\.\. (?P<name>[\w-]+)::[ \t]*(?P<argument>[^\n]*)\n(?P<body>(?:[ \t]*\n|[ ]{3}[^\n]*\n)*)",
    re.MULTILINE,
)


def notebook(tutorial: Tutorial) -> str:
    """The text of the .ipynb file, whose first cell installs minigrad where it is missing.

    Raises :class:`MissingExtra` without the extra ``docs``.
    """
    make = require("sphinx_gallery.notebook", "docs").jupyter_notebook
    split = require("sphinx_gallery.py_source_parser", "docs").split_code_and_text_blocks
    _, blocks = split(str(tutorial.path))
    plain = [
        (
            block.type,
            plainly(block.content) if block.type == "text" else shown(block.content),
            block.lineno,
        )
        for block in blocks
    ]
    settings: dict[str, Any] = {
        "first_notebook_cell": _FIRST.format(repository=_repository()),
        "last_notebook_cell": None,
        "notebook_images": False,
        "promote_jupyter_magic": False,
        "pypandoc": False,
    }
    made = make(plain, settings, str(tutorial.path.parent))
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def shown(code: str) -> str:
    """Code without the marks that only our formatter reads."""
    return re.sub(r"[ \t]*# fmt: skip$", "", code, flags=re.MULTILINE)


def plainly(text: str) -> str:
    """A text cell without the roles and directives that only minigrad's site knows."""
    text = re.sub(r"^Articles: (.*)$", _named, text, flags=re.MULTILINE)
    text = re.sub(r":(?:term|doc|ref):`([^`<]+?)(?:\s*<[^>]*>)?`", r"*\1*", text)
    return _DIRECTIVE.sub(lambda match: _plain(match) + "\n", text.rstrip("\n") + "\n")


def _named(match: re.Match[str]) -> str:
    """The items of the articles that a tutorial treats, with their titles."""
    items = [ITEMS[id] for id in match[1].split(", ")]
    return "Articles: " + "; ".join(f"{item.id} ({item.en}, {item.where})" for item in items)


def _plain(match: re.Match[str]) -> str:
    name, argument = match["name"], match["argument"]
    body = textwrap.dedent(match["body"]).strip("\n") + "\n"
    if name == "grid":
        return _DIRECTIVE.sub(_plain, body)
    if name == "grid-item-card":
        return f"**{argument}**\n\n{body}\n"
    if name == "article":
        printed = PRINTED[argument]
        mark = {"latex": "$$\n{}\n$$", "code": "``{}``", "text": "*{}*"}[printed.kind]
        quoted = "\n\n".join(mark.format(line) for line in (*printed.lines, *printed.en))
        return f"{quoted}\n\n({printed.where})\n"
    if name in ("property-test", "recorded"):
        language = "console" if name == "recorded" else "python"
        code = textwrap.indent(_part(argument).rstrip("\n"), "    ")
        return f"``{argument}``\n\n.. code-block:: {language}\n\n{code}\n\n"
    if name == "interactive":
        return "(This is on the tutorial's page of the site.)\n"
    return match[0]


def _part(place: str) -> str:
    """The text of a file of the repository, or of its one function that follows ``::``."""
    path, _, name = place.partition("::")
    inside, lesson = folder(), path.removeprefix("tutorials/")
    file = inside / lesson if lesson != path else inside.parent / path
    if not file.is_file():  # an installed wheel has no tests
        return f"# {place}"
    text = file.read_text(encoding="utf-8")
    return function(text, name) if name else text


def function(text: str, name: str) -> str:
    """The source of a function in ``text``, decorators and all. Raises :class:`LookupError`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            return textwrap.dedent("\n".join(text.splitlines()[first - 1 : node.end_lineno]))
    raise LookupError(name)


def _repository() -> str:
    """The address that this clone came from, where it is one that anybody can reach, else "".

    Without the name and password that it may hold; a wheel lies in no clone, or in another's.
    """
    clone = folder().parent
    if not (clone / ".git").exists():
        return ""
    command = ["git", "-C", str(clone), "config", "--get", "remote.origin.url"]
    try:
        address = subprocess.run(
            command, capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:
        return ""
    return re.sub("//[^/]*@", "//", address) if address.startswith("https://") else ""
