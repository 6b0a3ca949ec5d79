"""The API reference: docstrings that are there, that are on a page, and whose examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import checkpoint, data, metrics, nn, ops, optim, train

PAGES = Path(__file__).parents[2] / "docs" / "api"

COMMANDS = {"articles", "ask", "demos", "exercises", "tutorials", "cli", "doctor", "launch"}
"""What people use by ``minigrad …``, which explains itself by ``--help``."""
INSIDE = {
    "figure", "files", "labels", "language", "parser", "ranks", "recipe", "restarts", "results",
    "settings", "shares", "state",
}  # fmt: skip
"""What only minigrad itself imports."""
PUBLIC_MODULES = {f"distributed.{name}" for name in mg.distributed._ABOVE.values()} | {
    "nn.init",
    "distributed.compression",
    "distributed.timeline",
    "distributed.nccl",
}
"""Modules inside packages that people import; a package, and a module beside them, always is."""

GLOBALS = {
    "np": np, "mg": mg, "Tensor": mg.Tensor, "checkpoint": checkpoint, "data": data,
    "metrics": metrics, "nn": nn, "ops": ops, "optim": optim, "train": train,
}  # fmt: skip
"""What docs/api/index.md says that examples begin with."""


def modules() -> dict[str, ModuleType]:
    """All modules without a leading underscore, by name."""
    found = (m.name for m in pkgutil.walk_packages(mg.__path__, "minigrad."))
    names = ["minigrad", *(name for name in found if "._" not in name)]
    return {name: importlib.import_module(name) for name in names}


MODULES = modules()


def is_public(name: str) -> bool:
    if name == "minigrad":
        return True
    inner = name.removeprefix("minigrad.")
    if inner.partition(".")[0] in COMMANDS | INSIDE:
        return False
    beside = "." not in inner or hasattr(MODULES[name], "__path__")
    return beside or inner in PUBLIC_MODULES


def members(owner: type) -> dict[str, Any]:
    """The public methods and properties that ``owner`` itself defines."""
    kinds = (property, cached_property, classmethod, staticmethod)
    return {
        name: member
        for name, member in vars(owner).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, kinds))
    }


def documented() -> dict[str, Any]:
    """Every module, and in it every public function, class, method and property, by dotted name."""
    found: dict[str, Any] = {}
    for name, module in MODULES.items():
        found[name] = module
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            if getattr(value, "__module__", None) != name or not callable(value):
                continue  # a name from elsewhere, or a constant
            found[f"{name}.{public}"] = value
            if inspect.isclass(value):
                found |= {f"{name}.{public}.{k}": getattr(value, k) for k in members(value)}
    return found


DOCUMENTED = documented()


def test_every_public_name_has_a_docstring() -> None:
    # a method that overrides one of minigrad's may have the docstring of that one
    missing = [name for name, value in DOCUMENTED.items() if not inspect.getdoc(value)]
    assert not missing, f"no docstring: {', '.join(missing)}"


def on_pages() -> dict[str, str]:
    """What autodoc is told to document, by dotted name, and the page that does."""
    found = {}
    for page in PAGES.glob("*.md"):
        module = ""
        for kind, name in re.findall(r"^\.\. (\w+):: ([\w.]+)$", page.read_text("utf-8"), re.M):
            if kind in ("module", "currentmodule"):
                module = name
            elif kind.startswith("auto"):
                full = name if name.startswith("minigrad.") else f"{module}.{name}"
                assert full not in found, f"{full} is on {found[full]} and again on {page.name}"
                found[full] = page.name
    return found


def value_of(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def test_every_public_name_is_on_a_page() -> None:
    values = [value_of(name) for name in on_pages()]
    missing = [
        f"{name}.{public}"
        for name, module in MODULES.items()
        if is_public(name)
        for public in getattr(module, "__all__", ())
        if public != "main"  # a command
        and not isinstance(value := getattr(module, public), ModuleType)
        and not any(value is shown for shown in values)
    ]
    assert not missing, f"on no page of docs/api: {', '.join(missing)}"


def explained(module: str) -> set[str]:
    """The constants that ``module`` assigns with a docstring below."""
    body = ast.parse(inspect.getsource(MODULES[module])).body
    found = set()
    for statement, below in pairwise(body):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_every_public_constant_has_a_docstring() -> None:
    known = DOCUMENTED.values()
    places = [name.rpartition(".") for name in on_pages()]
    names = [(module, name) for module, _, name in places if f"{module}.{name}" not in DOCUMENTED]
    constants = [
        (module, name)
        for module, name in names
        if not any(getattr(MODULES[module], name) is value for value in known)
    ]
    assert len(constants) > 10
    missing = [f"{module}.{name}" for module, name in constants if name not in explained(module)]
    assert not missing, f"no docstring below: {', '.join(missing)}"


def test_summaries_name_what_is_below() -> None:
    for page in PAGES.glob("*.md"):
        text = page.read_text("utf-8")
        listed = re.findall(r"^   ([\w~.]+)$", text, re.M)
        shown = re.findall(r"^\.\. auto(?!summary)\w+:: ([\w.]+)$", text, re.M)
        last = [
            [name.rpartition(".")[2].lstrip("~") for name in names] for names in (listed, shown)
        ]
        assert last[0] == last[1], page.name


EXAMPLES = {
    name: doc for name, value in DOCUMENTED.items() if ">>>" in (doc := inspect.getdoc(value) or "")
}
LEARNERS = {
    "minigrad.optim": {*optim.OPTIMIZERS.values(), *optim.SCHEDULES.values()},
    "minigrad.nn": {v for n in nn.__all__ if inspect.isclass(v := getattr(nn, n))} - {nn.Context},
    "minigrad.nn.init": set(nn.init.INITIALISERS.values()),
    "minigrad.metrics": {getattr(metrics, n) for n in metrics.__all__ if n != "Average"},
}
"""What a learner meets first: all of these have an example."""


@pytest.mark.parametrize("package", LEARNERS)
def test_what_a_learner_meets_first_has_an_example(package: str) -> None:
    missing = [v.__name__ for v in LEARNERS[package] if ">>>" not in (inspect.getdoc(v) or "")]
    assert not missing, f"no example: {', '.join(missing)}"


def test_a_page_says_what_examples_begin_with() -> None:
    text = (PAGES / "index.md").read_text("utf-8")
    begin: dict[str, Any] = {}
    with np.printoptions():
        exec(text.partition("```python\n")[2].partition("```")[0], begin)
        options = np.get_printoptions()
    assert {name: begin[name] for name in GLOBALS} == GLOBALS
    assert (options["precision"], options["suppress"]) == (4, True)


@pytest.mark.usefixtures("own_ops")
@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest(EXAMPLES[name], dict(GLOBALS), name, None, 0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    told: list[str] = []
    with mg.kernels.reference(), np.printoptions(precision=4, suppress=True):
        failed, tried = runner.run(example, out=told.append)
    assert tried > 0
    assert failed == 0, "".join(told)
