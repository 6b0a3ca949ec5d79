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
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minigrad.errors import InputError, unknown

__all__ = ["Entry", "Parameter", "Source", "faults", "find", "folder", "sources"]

_ENTRY = re.compile(r"^(ELEMENTS|BLOCKS)\((\w+),(.*?)\)\s*\{", re.DOTALL | re.MULTILINE)
_BEGINS = re.compile(r"^(?:ELEMENTS|BLOCKS)\((\w*)", re.MULTILINE)
_STRUCT = re.compile(r"^struct (\w+)\s*(?::([^{;]*))?\{(.*?)\}\s*;", re.DOTALL | re.MULTILINE)
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"', re.MULTILINE)
_PARAMETER = re.compile(r"(const\s+)?(\w+)(?:\s*(\*)\s*|\s+)(\w+)")
_SHAPE = re.compile(r"\s*\(([^)]*)\)")
_DTYPES = {
    "float": "float32", "double": "float64", "half": "float16", "u8": "uint8", "i32": "int32",
    "u32": "uint32", "i64": "int64", "u64": "uint64",
}  # fmt: skip
_NUMBERS = ("real", "float", "double", "i32", "u32", "i64", "u64")  # what is no pointer


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


def sources() -> dict[str, Source]:
    """Every file of kernels that keeps the rules, by its name without ``.cu``."""
    return _all()[0]


def faults() -> list[InputError]:
    """What is wrong with the others: each error names file, line and entry."""
    twice = [error for s in sources().values() for k in s.entries if (error := _given_twice(k))]
    return [*_all()[1].values(), *twice]


@cache
def find(kernel: str) -> Source:
    """The file that has an entry of this name.

    Raises :class:`InputError` for unknown names, for one that two files define, and for one in a
    file that does not keep the rules.
    """
    if error := _given_twice(kernel):
        raise error
    for source in sources().values():
        if kernel in source.entries:
            return source
    for path, error in _all()[1].items():
        if kernel in _BEGINS.findall(path.read_text(encoding="utf-8", errors="replace")):
            raise error
    raise unknown("kernel", kernel, [name for s in sources().values() for name in s.entries])


@cache
def _all() -> tuple[dict[str, Source], dict[Path, InputError]]:
    """The files, and the errors of those that cannot be read: one slip stops no other file."""
    found: dict[str, Source] = {}
    wrong: dict[Path, InputError] = {}
    for path in sorted(folder().glob("*.cu")):
        try:
            found[path.stem] = _read(path)
        except InputError as error:
            wrong[path] = error
        except (OSError, UnicodeDecodeError) as error:
            wrong[path] = InputError(f"{path}: cannot be read as UTF-8 text: {error}")
    return found, wrong


def _given_twice(kernel: str) -> InputError | None:
    files = [str(s.path) for s in sources().values() if kernel in s.entries]
    if len(files) < 2:
        return None
    return InputError(f"kernel {kernel} is defined in {' and in '.join(files)}; rename one of them")


def _read(path: Path) -> Source:
    texts = _with_includes(path, {})
    text, structs = texts[path.name], _Structs(texts)
    entries: dict[str, Entry] = {}
    begun = {found.start(): found[1] for found in _BEGINS.finditer(text)}
    for found in _ENTRY.finditer(text):
        kind, name = found[1], found[2]
        begun.pop(found.start())
        if name in entries:
            raise _slip(path.name, text, found.start(), f"kernel {name} is defined before")
        entries[name] = Entry(
            name, kind, tuple(_parameters(path.name, text, name, *found.span(3), structs))
        )
        for p in entries[name].parameters:
            if p.type in structs:
                structs.fields(p.type)
    for at, name in begun.items():
        what = f"kernel {name or '?'} does not go on as NAME, parameters) {{"
        raise _slip(path.name, text, at, what)
    return Source(path.stem, path, texts, entries, structs.read)


def _with_includes(path: Path, found: dict[str, str]) -> dict[str, str]:
    """The file's text and, before it, those of its includes, each once."""
    if path.name not in found:
        text = path.read_text(encoding="utf-8")
        for name in _INCLUDE.findall(text):
            for place in (path.parent / name, folder() / name):
                if place.is_file():
                    _with_includes(place, found)
                    break
        found[path.name] = text
    return found


class _Structs:
    """The structs of some texts; only those that a kernel points to must be of doubles."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.read: dict[str, tuple[str, ...]] = {}
        self.found = {
            struct[1]: (file, text, struct)
            for file, text in texts.items()
            for struct in _STRUCT.finditer(text)
        }

    def fields(self, name: str) -> tuple[str, ...]:
        """The names in its lines ``double a, b;`` and, before them, those of its base."""
        if name in self.read:
            return self.read[name]
        self.read[name] = ()  # so that a struct which is its own base comes to an end
        file, text, struct = self.found[name]
        base = re.sub(r"^public\s+", "", (struct[2] or "").strip())
        if base and base not in self.found:
            what = f"struct {name} is made from '{base}', but there is no struct of this name"
            raise _slip(file, text, struct.start(), what)
        names = [*(self.fields(base) if base else ())]
        code = re.sub(r"//.*", lambda comment: " " * len(comment[0]), struct[3])
        for line in re.finditer(r"[^;]*[^;\s][^;]*", code):
            declared = " ".join(line[0].split())
            if not re.fullmatch(r"double \w+(?: ?, ?\w+)*", declared):
                at = struct.start(3) + line.end() - len(line[0].lstrip())
                what = f"struct {name} has '{declared}', but a kernel's numbers are 'double a, b;'"
                raise _slip(file, text, at, what)
            names += re.findall(r"\w+", declared)[1:]
        self.read[name] = tuple(names)
        return self.read[name]

    def __contains__(self, name: str) -> bool:
        return name in self.found


def _parameters(
    file: str, text: str, kernel: str, start: int, stop: int, structs: _Structs
) -> Iterator[Parameter]:
    """The parameters in ``text[start:stop]``, each line with its comment."""

    def slip(what: str) -> InputError:
        return _slip(file, text, start, f"kernel {kernel}: {what}")

    last = None
    for line in text[start:stop].split("\n"):
        code, _, comment = line.partition("//")
        for declared in filter(None, (part.strip() for part in code.split(","))):
            if not (found := _PARAMETER.fullmatch(declared)):
                raise slip(f"'{declared}' is not TYPE name, TYPE* name or const TYPE* name")
            const, type_, star, name = found.groups()
            if type_ not in _NUMBERS and not (star and (type_ in _DTYPES or type_ in structs)):
                raise slip(_unknown_type(name, type_, bool(star)))
            shape = _SHAPE.match(comment)
            axes = [axis.strip() for axis in shape[1].split(",")] if star and shape else []
            if star and type_ not in structs and not any(axes):
                raise slip(f"'{name}' has no shape beside it: write // (n) or // (rows, 32)")
            if not all(re.fullmatch(r"[A-Za-z_]\w*|\d+", axis) for axis in axes):
                raise slip(f"the shape of '{name}' holds more than names of counts, and numbers")
            optional = "or null" in comment
            last = Parameter(name, type_, bool(star), bool(const), optional, tuple(axes))
            yield last
        start += len(line) + 1
    if last is None or last.pointer or last.type != "i64":
        start = stop
        raise slip("its last parameter must be the count that the grid covers, i64")


def _unknown_type(name: str, type_: str, pointer: bool) -> str:
    if not pointer:
        return f"'{name}' is of type {type_}, but a number must be one of {', '.join(_NUMBERS)}"
    known = ", ".join(("real", *_DTYPES))
    return f"'{name}' points to {type_}, but must to one of {known} or a struct in this file"


def _slip(file: str, text: str, at: int, what: str) -> InputError:
    line = text.count("\n", 0, at) + 1
    return InputError(f"{file}:{line}: {what}")
