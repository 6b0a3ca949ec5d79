"""What is read from the kernels' text, and that indices have 64 bits throughout."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
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
    with pytest.raises(InputError, match=r"unknown kernel 'to_halv'.*'to_half'"):
        source.find("to_halv")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("const real *x,", ("real", True)),
        ("const real * x,", ("real", True)),
        ("const  real*x,", ("real", True)),
        ("i64 *x,", ("i64", False)),
        ("u8  * x,", ("u8", False)),
    ],
)
def test_a_star_may_stand_where_it_likes(
    declared: str, expected: tuple[str, bool], tmp_path: Path
) -> None:
    file = written(tmp_path, f"ELEMENTS(f,\n    {declared} // (n)\n    i64 n) {{\n}}\n")
    type_, const = expected
    assert file.entries["f"].parameters[0] == Parameter("x", type_, True, const, False, ("n",))


REST = "    i64 n) {\n}\n"
SLIPS = {
    "no shape": ("    real* x,\n" + REST, r"2: kernel f: 'x' has no shape .* write // \(n\)"),
    "no parentheses": ("    real* x, // n\n" + REST, "2: kernel f: 'x' has no shape"),
    "empty": ("    real* x, // ()\n" + REST, "2: kernel f: 'x' has no shape"),
    "later": ("    real* x, // (n)\n    u8* y,\n" + REST, "3: kernel f: 'y' has no shape"),
    "sum": ("    real* x, // (n + 1)\n" + REST, "2: kernel f: the shape of 'x' holds more"),
    "int": ("    int n,\n" + REST, "2: kernel f: 'n' is of type int, .* one of real, .*i64"),
    "half": ("    half s,\n" + REST, "2: kernel f: 's' is of type half, but a number must be"),
    "long": ("    long* x, // (n)\n" + REST, "2: kernel f: 'x' points to long, .*half.* struct"),
    "unknown struct": ("    const Other* x,\n" + REST, "2: kernel f: 'x' points to Other"),
    "struct by value": ("    Base x,\n" + REST, "2: kernel f: 'x' is of type Base"),
    "two stars": ("    real** x, // (n)\n" + REST, r"2: kernel f: 'real\*\* x' is not TYPE name"),
    "two words": ("    unsigned int x,\n" + REST, "2: kernel f: 'unsigned int x' is not"),
    "no comma": ("    real* x // (n)\n    real y,\n    real* n) {\n}\n", "4: kernel f: 'n' has"),
    "no count": ("    real* x) { // (n)\n}\n", "2: kernel f: 'x' has no shape"),
    "last": ("    real* x, // (n)\n    double n) {\n}\n", "3: kernel f: its last .* i64"),
    "last a pointer": ("    i64* n // (n)\n) {\n}\n", "3: kernel f: its last parameter"),
    "nothing": (") {\n}\n", "1: kernel f: its last parameter"),
    "no end": ("    i64 n);\n", r"1: kernel f does not go on as NAME, parameters\) \{"),
    "twice": (REST + "ELEMENTS(f,\n" + REST, "4: kernel f is defined before"),
    "floats": (
        "    const S* s, //\n" + REST + "struct S { // two\n    double a;\n    float b;\n};\n",
        "7: struct S has 'float b', but a kernel's numbers are 'double a, b;'",
    ),
    "an array": (
        "    const S* s, //\n" + REST + "struct S { double a[3]; };\n",
        r"5: struct S has 'double a\[3\]'",
    ),
    "no such base": (
        "    const S* s, //\n" + REST + "struct S : Bass {\n    double a;\n};\n",
        "5: struct S is made from 'Bass', but there is no struct of this name",
    ),
    "its own base": (
        "    const S* s, //\n    float x,\n    char y,\n" + REST + "struct S : S { };\n",
        "4: kernel f: 'y' is of type char",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_slips_are_named_with_file_line_and_entry(slip: str, tmp_path: Path) -> None:
    text, says = SLIPS[slip]
    between = "" if text.startswith(")") else "\n"
    with pytest.raises(InputError, match=rf"^one\.cu:{says}"):
        written(tmp_path, f"ELEMENTS(f,{between}{text}")


def test_a_struct_in_one_line_ends_there(tmp_path: Path) -> None:
    text = "struct A { i64 i; };\nstruct A2 { double a; };\nstruct B : public A2 {\n"
    file = written(
        tmp_path, text + "    double c;\n};\n" + "ELEMENTS(f,\n    const B* b,\n    i64 n) {\n}\n"
    )
    assert file.structs == {"A2": ("a",), "B": ("a", "c")}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of kernels in the place of minigrad's."""
    monkeypatch.setattr(source, "folder", lambda: tmp_path)
    for cached in (source._all, source.find):
        cached.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    for cached in (source._all, source.find):
        cached.cache_clear()


def test_a_bad_file_stops_no_other(own: Path) -> None:
    (own / "bad.cu").write_text("ELEMENTS(f,\n    int n) {\n}\n")
    (own / "binary.cu").write_bytes(b"ELEMENTS(b,\n\xff")
    (own / "good.cu").write_text("ELEMENTS(g,\n    i64 n) {\n}\n")
    assert list(source.sources()) == ["good"]
    assert source.find("g").name == "good"
    for name, says in {"f": r"bad\.cu:2: kernel f", "b": r"binary\.cu: cannot be read"}.items():
        with pytest.raises(InputError, match=says):
            source.find(name)
    with pytest.raises(InputError, match="unknown kernel 'h'"):
        source.find("h")
    assert [str(error).split(": ")[0].split("/")[-1] for error in source.faults()] == [
        "bad.cu:2", "binary.cu",
    ]  # fmt: skip


def test_an_entry_in_two_files_names_both(own: Path) -> None:
    for name in ("one", "two"):
        text = f"ELEMENTS(f,\n    i64 n) {{\n}}\nELEMENTS({name},\n    i64 n) {{\n}}\n"
        (own / f"{name}.cu").write_text(text)
    assert source.find("two").name == "two"
    with pytest.raises(InputError, match=r"kernel f is defined in .*one\.cu and in .*two\.cu"):
        source.find("f")
    assert any("two.cu" in str(error) for error in source.faults())


def test_no_file_here_has_a_slip() -> None:
    assert source.faults() == []
    assert {s.path for s in source.sources().values()} == set(source.folder().glob("*.cu"))


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
