"""Imports run one way, and optional parts are imported where they are used."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import minigrad

ROOT = Path(minigrad.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each part may import, together with all that those may import. Two parts of the package
# distributed stand apart: the communicators know arrays only, what is built on them knows models.
BELOW = {
    "errors": (),
    "backend": ("errors",),
    "autograd": ("backend",),
    "kernels": ("backend",),
    "ops": ("autograd", "kernels"),
    "state": ("backend",),
    "labels": ("backend",),
    "shares": ("errors",),
    "files": ("errors",),
    "language": ("errors",),
    "parser": ("language",),
    "latex": ("errors",),
    "figure": ("files",),
    "nn": ("ops", "state"),
    "arena": ("nn",),
    "optim": ("arena", "kernels", "language", "latex"),
    "capture": ("optim",),
    "communicators": ("backend", "figure", "shares"),
    "parallel": ("optim", "communicators"),
    "data": ("labels", "shares"),
    "metrics": ("communicators", "labels"),
    "checkpoint": ("backend", "files"),
    "train": ("optim", "parallel", "data", "metrics", "checkpoint"),
    "settings": ("optim", "data"),
    "plot": ("metrics", "figure"),
    "testing": ("train",),
    "ranks": ("settings", "train"),
    "results": ("settings", "parallel", "plot"),
    "recipe": ("ranks", "results", "train"),
    "restarts": ("checkpoint",),
    "launch": ("communicators", "settings", "restarts", "parser"),
    "doctor": ("launch", "kernels"),
    "plan": ("launch",),
    "demos": ("train", "figure", "launch"),
    "explanation": ("train", "figure", "launch"),
    "ask": ("train", "plot", "launch", "language", "plan"),
    "articles": ("ask",),
    "tutorials": ("articles",),
    "exercises": ("tutorials", "testing"),
    "cli": ("recipe", "doctor", "plan", "demos", "explanation", "ask", "articles", "parser"),
    "__main__": ("cli",),
    "minigrad": ("ops",),
}
COMMUNICATORS = {
    "addresses", "algorithms", "board", "call", "call_site", "checked", "communicator",
    "elastic", "events", "failure", "host", "meeting", "mpi", "nccl", "neighbour", "serial",
    "staging", "threads", "traced", "watch",
}  # fmt: skip
CORE = {"numpy"}


def part(module):
    """``minigrad.ops.linear`` is of ``ops``; the package itself is of ``minigrad``."""
    _, _, rest = module.partition(".")
    if not rest:
        return "minigrad"
    name, _, inner = rest.partition(".")
    if name == "distributed":
        file = inner.partition(".")[0] or "communicator"
        return "communicators" if file in COMMUNICATORS else "parallel"
    return name


def module_of(path):
    names = ["minigrad", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def imports(path):
    """(module, whether it runs when the file is imported) for each import, type checks left out."""
    found = []

    def visit(node, top):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node = ast.Module(body=node.orelse, type_ignores=[])
        if isinstance(node, ast.Import):
            found.extend((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner.startswith("minigrad.") and _exists(inner)
                found.append((inner if is_module else node.module, top))
        inside = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


def _exists(module):
    path = ROOT.joinpath(*module.split(".")[1:])
    return path.with_suffix(".py").exists() or path.is_dir()


@cache
def reach(name):
    """All that a part may import, itself included."""
    assert name in BELOW, f"'{name}' has no place in BELOW: give it one"
    return {name}.union(*(reach(other) for other in BELOW[name]))


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_run_one_way(path):
    own = part(module_of(path))
    for module, _ in imports(path):
        if module.partition(".")[0] == "minigrad":
            target = part(module)
            assert target in reach(own) or target == "minigrad", f"{own} may not import {module}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_optional_parts_are_never_imported_at_the_top(path):
    for module, top in imports(path):
        name = module.partition(".")[0]
        known = name in CORE or name == "minigrad" or name in sys.stdlib_module_names
        assert known or not top, f"{path.name} imports {name} when it is itself imported"
        assert name != "cupy", f"{path.name}: CuPy is reached through backend.module_for"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_the_backend_names_cupy_to_an_importer(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("require", "import_module", "__import__"):
                wanted = str(node.args[0].value).partition(".")[0]
                assert wanted != "cupy" or path.name == "backend.py", f"{path.name} imports CuPy"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_module_says_what_is_public(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "__all__" in assigned or path.name == "__main__.py"


def test_no_pickle():
    for path in FILES:
        assert "pickle" not in {module for module, _ in imports(path)}
        assert "allow_pickle=True" not in path.read_text(encoding="utf-8")


def test_the_core_loads_nothing_optional():
    code = (
        "import sys, minigrad, minigrad.nn, minigrad.optim; "
        "print(*sorted({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    loaded = set(found.stdout.split())
    optional = {"mpi4py", "matplotlib", "sklearn", "scipy", "safetensors", "tqdm", "cupy", "torch"}
    assert "minigrad" in loaded
    assert not loaded & (optional | {"hypothesis", "pytest"})
