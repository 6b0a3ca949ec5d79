"""The kernels' sources: where they lie, and what their entries take, read from the text itself.

    ELEMENTS(scale_into,
             const real* x, // (n)
             real* y,       // (n)
             double factor, //
             i64 n) {

says all that a launch is checked against: names, types, which arrays are only read, and their
shapes in letters that are counts, here ``n``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minigrad.errors import InputError, unknown

__all__ = ["Entry", "Parameter", "Source", "find", "folder", "sources"]

_ENTRY = re.compile(r"^(ELEMENTS|BLOCKS)\((\w+),(.*?)\)\s*\{", re.DOTALL | re.MULTILINE)
_STRUCT = re.compile(r"^struct (\w+)(?:\s*:\s*(\w+))?\s*\{(.*?)^\};", re.DOTALL | re.MULTILINE)
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"', re.MULTILINE)
_DTYPES = {
    "float": "float32", "double": "float64", "half": "float16", "u8": "uint8", "i32": "int32",
    "u32": "uint32", "i64": "int64", "u64": "uint64",
}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One parameter of an entry.

    ``type`` is ``"real"``, another of the kernels' types, or a struct's name. Of a ``pointer``,
    ``shape`` holds the names of counts, and numbers; ``const`` says that the array is only read,
    ``optional`` that it may be ``None``.
    """

    name: str
    type: str
    pointer: bool
    const: bool
    optional: bool
    shape: tuple[str, ...]

    def dtype(self, real: str) -> str:
        """The dtype's name where ``real`` is float32 or float64; a struct is of float64s."""
        return real if self.type == "real" else _DTYPES.get(self.type, "float64")


@dataclass(frozen=True)
class Entry:
    """A kernel: ``kind`` is ``"ELEMENTS"`` or ``"BLOCKS"``, which says how its grid is laid out."""

    name: str
    kind: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """A file of kernels.

    ``files`` are the texts of all that it includes and, last, its own; ``structs`` the fields of
    those that its parameters point to.
    """

    name: str
    path: Path
    files: dict[str, str]
    entries: dict[str, Entry]
    structs: dict[str, tuple[str, ...]]

    @property
    def text(self) -> str:
        """All of it in one: what a compiled form depends on."""
        return "".join(self.files.values())


def folder() -> Path:
    """Where the sources are: beside minigrad/ in a checkout, inside it in an installed wheel."""
    package = Path(__file__).parent
    for place in (package / "source", package.parent.parent / "kernels"):
        if (place / "common.cuh").is_file():
            return place
    raise InputError(
        f"minigrad's kernels were not found beside {package.parent} nor in {package / 'source'}: "
        "this installation is damaged; install minigrad again"
    )


@cache
def sources() -> dict[str, Source]:
    """Every file of kernels, by its name without ``.cu``."""
    return {path.stem: _read(path) for path in sorted(folder().glob("*.cu"))}


@cache
def find(kernel: str) -> Source:
    """The file that has an entry of this name. Raises :class:`InputError` for others."""
    for source in sources().values():
        if kernel in source.entries:
            return source
    raise unknown("kernel", kernel, [name for s in sources().values() for name in s.entries])


def _read(path: Path) -> Source:
    texts = _with_includes(path, {})
    text = path.read_text(encoding="utf-8")
    entries = {
        name: Entry(name, kind, tuple(_parameters(name, parameters)))
        for kind, name, parameters in _ENTRY.findall(text)
    }
    structs: dict[str, tuple[str, ...]] = {}
    for some in texts.values():
        for name, base, body in _STRUCT.findall(some):
            structs[name] = (*structs.get(base, ()), *_fields(body))
    return Source(path.stem, path, texts, entries, structs)


def _with_includes(path: Path, found: dict[str, str]) -> dict[str, str]:
    """The file's text and, before it, those of its includes, each once."""
    if path.name not in found and path.is_file():
        text = path.read_text(encoding="utf-8")
        for name in _INCLUDE.findall(text):
            _with_includes(path.parent / name, found)
        found[path.name] = text
    return found


def _fields(body: str) -> list[str]:
    """The names in the lines ``double a, b;`` of a struct."""
    code = re.sub(r"//.*", "", body)
    return [
        name.strip() for line in re.findall(r"double ([^;]+);", code) for name in line.split(",")
    ]


def _parameters(kernel: str, text: str) -> list[Parameter]:
    found = []
    for line in text.strip().split("\n"):
        code, _, comment = line.partition("//")
        for declared in filter(None, (part.strip() for part in code.split(","))):
            const, type_, star, name = re.fullmatch(r"(const )?(\w+)(\*?) (\w+)", declared).groups()  # type: ignore[union-attr]
            shape = re.match(r"\s*\(([^)]*)\)", comment)
            axes = [axis.strip() for axis in shape[1].split(",")] if shape else []
            optional = "or null" in comment
            found.append(
                Parameter(name, type_, bool(star), bool(const), optional, tuple(filter(None, axes)))
            )
    return found
