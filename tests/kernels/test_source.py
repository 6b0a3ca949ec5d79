"""What is read from the kernels' text, and that indices have 64 bits throughout."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from minigrad.errors import InputError
from minigrad.kernels import source
from minigrad.kernels.build import compiler
from minigrad.kernels.launch import grid_of
from minigrad.kernels.source import Entry, Parameter

ENTRIES = [(s, e) for s in source.sources().values() for e in s.entries.values()]
every_entry = pytest.mark.parametrize(
    ("file", "entry"), ENTRIES, ids=[entry.name for _, entry in ENTRIES]
)


def written(folder: Path, text: str) -> source.Source:
    (folder / "some.cuh").write_text("struct Base {\n    double a, b; // first\n};\n")
    path = folder / "one.cu"
    path.write_text(text)
    return source._read(path)


def test_an_entry_is_read_as_it_is_written(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '#include "some.cuh"\n'
        "struct Mine : Base {\n    double c; // more\n};\n\n"
        "BLOCKS(f,\n"
        "       const real* x, // (rows, 32): what is read\n"
        "       u8* y,         // (rows) or null\n"
        "       const Mine* m, //\n"
        "       double scale,  //\n"
        "       i64 rows) {\n}\n",
    )
    (entry,) = file.entries.values()
    assert entry == Entry(
        "f",
        "BLOCKS",
        (
            Parameter("x", "real", True, True, False, ("rows", "32")),
            Parameter("y", "u8", True, False, True, ("rows",)),
            Parameter("m", "Mine", True, True, False, ()),
            Parameter("scale", "double", False, False, False, ()),
            Parameter("rows", "i64", False, False, False, ()),
        ),
    )
    assert file.structs == {"Base": ("a", "b"), "Mine": ("a", "b", "c")}
    assert list(file.files) == ["some.cuh", "one.cu"]
    assert [p.dtype("float64") for p in entry.parameters] == [
        "float64", "uint8", "float64", "float64", "int64",
    ]  # fmt: skip


def test_a_change_in_an_include_is_a_change_of_the_text(tmp_path: Path) -> None:
    before = written(tmp_path, '#include "some.cuh"\n').text
    (tmp_path / "some.cuh").write_text("// other\n")
    assert source._read(tmp_path / "one.cu").text != before


@every_entry
def test_the_rules_that_every_entry_keeps(file: source.Source, entry: Entry) -> None:
    last = entry.parameters[-1]
    assert (last.type, last.pointer) == ("i64", False), "the count that the grid covers"
    for p in entry.parameters:
        if p.pointer and p.type not in file.structs:
            assert p.shape, f"{p.name} has no shape beside it"
        assert all(axis.isidentifier() or axis.isdigit() for axis in p.shape), p
        assert p.pointer or p.type != "i32", f"{p.name}: counts and indices have 64 bits"
        assert p.type in file.structs or p.type == "real" or p.type in source._DTYPES, p


def test_names_are_given_once() -> None:
    names = [entry.name for _, entry in ENTRIES]
    assert len(set(names)) == len(names)


def test_an_unknown_kernel_is_named_with_its_neighbour() -> None:
    with pytest.raises(InputError, match=r"unknown kernel 'halv'.*'to_half'"):
        source.find("halv")


@pytest.mark.parametrize("path", sorted(source.folder().glob("*.cu*")), ids=lambda path: path.name)
def test_no_index_has_32_bits(path: Path) -> None:
    """Loops over what i64 counts are in i64; CUDA's own numbers are widened before multiplying."""
    code = re.sub(r"//.*", "", path.read_text())
    wide = set(re.findall(r"\bi64 (\w+)", code))
    loops = re.findall(r"for \((?:int|i32|u32) \w+ = ([^;]*); \w+ [<>]=? ([^;&]+)", code)
    assert [loop for loop in loops if wide & set(re.findall(r"\w+", " ".join(loop)))] == []
    assert re.findall(r"(?<!\(i64\))\bblockIdx\.[xyz] \*", code) == []
    assert re.findall(r"(?<!\(i64\))\bgridDim\.[xyz] \*", code) == []


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
def test_index_arithmetic_past_two_to_the_31(tmp_path: Path) -> None:
    """On paper: the loops' own index arithmetic, compiled for the CPU."""
    check = tmp_path / "check.cu"
    check.write_text("""
#include "common.cuh"
static_assert(sizeof(i64) == 8 && sizeof(u64) == 8 && sizeof(u32) == 4 && sizeof(i32) == 4, "");
constexpr i64 blocks = 2147483647, threads = 1024, n = blocks * threads;
static_assert(n > 0 && n / threads == blocks, "a whole grid's elements can be counted");
int main() {
    i64 at = 0;
    FOR_BLOCKS(b, (i64)1, 1) at = b + n;
    block_each(n, n + 3, [&](i64 i) { at = i; });
    const i64 sum = block_sum<i64>(n, n + 2, [](i64 i) { return i; });
    return at == n + 2 && sum == 2 * n + 1 ? 0 : 1;
}
""")
    command = compiler()
    assert command is not None
    program = tmp_path / "check"
    subprocess.run(
        [*command, "-std=c++17", "-O1", f"-I{source.folder()}", "-Wno-unknown-pragmas",
         "-x", "c++", str(check), "-o", str(program)],
        check=True,
    )  # fmt: skip
    assert subprocess.run([program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "count", "threads", "grid"),
    [
        ("ELEMENTS", 0, 256, 0),
        ("ELEMENTS", 1, 256, 1),
        ("ELEMENTS", 1024, 256, 1),
        ("ELEMENTS", 1025, 256, 2),
        ("ELEMENTS", 2**31, 256, 2**21),
        ("ELEMENTS", 2**31 * 1024, 256, 2**31 - 1),
        ("BLOCKS", 5, 32, 5),
        ("BLOCKS", 2**31 + 5, 32, 2**31 - 1),
    ],
)
def test_the_grid_covers_any_count(kind: str, count: int, threads: int, grid: int) -> None:
    assert grid_of(Entry("f", kind, ()), count, threads) == grid


@pytest.mark.parametrize("inside", [False, True])
def test_found_in_a_checkout_and_in_a_wheel(
    inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "minigrad" / "kernels"
    place = package / "source" if inside else tmp_path / "kernels"
    package.mkdir(parents=True)
    monkeypatch.setattr(source, "__file__", str(package / "source.py"))
    with pytest.raises(InputError, match="this installation is damaged"):
        source.folder()
    shutil.copytree(Path(source.sources()["cast"].path).parent, place)
    assert source.folder() == place
