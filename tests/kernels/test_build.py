"""Compiling for the CPU: the cache, who shares it, and what becomes of compilers that fail."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minigrad.kernels import build, source
from minigrad.kernels.build import CompileError, cache_folder, compile_host, compiler

ROOT = Path(__file__).parent.parent.parent
SCALE = """
import sys, numpy as np
from minigrad.kernels import kernel
x = np.arange(5, dtype=np.float16)
k = kernel("scale_half", like=x, dtype=np.dtype("float32"))
if k: k(x, 2.0)
print("numpy" if k is None else x.tolist())
"""
TWICE = "[0.0, 2.0, 4.0, 6.0, 8.0]\n"
TRAIN = """
import numpy as np, minigrad as mg
from minigrad import nn, ops, optim
rng = np.random.default_rng(0)
model = nn.Sequential(nn.Dense(8, 16, rng=rng), nn.ReLU(), nn.Dense(16, 3, rng=rng))
optimizer = optim.AdamW(model, 0.01)
x, labels = mg.Tensor(rng.normal(size=(32, 8))), mg.Tensor(rng.integers(0, 3, 32))
for _ in range(20):
    optimizer.zero_grad()
    loss = ops.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
    print(f"{loss.item():.5f}")
"""
needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
posix = pytest.mark.skipif(os.name != "posix", reason="the fake compilers are shell scripts")


def start(code: str, **environ: str) -> subprocess.Popen[str]:
    """A Python process of its own, with minigrad from this checkout."""
    return subprocess.Popen(
        [sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environ,
    )  # fmt: skip


def run(code: str, **environ: str) -> tuple[str, str]:
    """What it wrote to its two outputs."""
    process = start(code, **environ)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out, errors


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache for this process and those it starts."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MINIGRAD_CACHE", str(folder))
    for cached in (build.host_library, build._own_folder):
        cached.cache_clear()
    build._complained.clear()
    yield folder
    build.host_library.cache_clear()


def made(folder: Path, pattern: str = "*.so") -> list[Path]:
    return sorted(folder.glob(pattern))


@needs_compiler
def test_sixteen_processes_at_once_on_an_empty_cache(place: Path) -> None:
    processes = [start(SCALE) for _ in range(16)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert answers == [(TWICE, "")] * 16
    (library,) = made(place)
    assert made(place, "*.part") == []
    assert library.name.startswith("cast-float-")
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


@needs_compiler
def test_many_processes_where_files_cannot_be_locked(place: Path) -> None:
    code = f"import sys; sys.modules['fcntl'] = None\n{SCALE}"
    processes = [start(code) for _ in range(4)]
    assert [process.communicate(timeout=120) for process in processes] == [(TWICE, "")] * 4
    assert len(made(place)) == 1
    assert made(place, "*.part") == []


@needs_compiler
def test_compiled_once_and_found_again(place: Path) -> None:
    run(SCALE)
    (library,) = made(place)
    before = library.stat()
    assert run(SCALE, PATH=os.environ["PATH"]) == (TWICE, "")
    assert library.stat() == before


@needs_compiler
@pytest.mark.parametrize("size", [0, 10, 100, -1000, -21, -1])
def test_a_damaged_library_is_compiled_anew(place: Path, size: int) -> None:
    run(SCALE)
    (library,) = made(place)
    whole = library.read_bytes()
    library.write_bytes(whole[:size])
    assert run(SCALE) == (TWICE, "")
    assert library.stat().st_size == len(whole)


@needs_compiler
@pytest.mark.parametrize("kind", ["below a file", "a file", "full or read-only"])
def test_a_cache_that_cannot_be_written(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels are compiled for this process alone, and nothing is left of them."""
    code, temporary = SCALE, tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "file").write_text("in the way")
    cache = tmp_path / {"below a file": "file/cache", "a file": "file"}.get(kind, "cache")
    if kind == "full or read-only":  # the root user may write anywhere: the writing itself fails
        code = (
            "import tempfile\nmake = tempfile.mkstemp\n"
            "def refuse(*words, dir=None, **names):\n"
            f"    if str(dir).startswith({str(cache)!r}): raise OSError(28, 'no space left')\n"
            "    return make(*words, dir=dir, **names)\n"
            f"tempfile.mkstemp = refuse\n{SCALE}"
        )
    answer = run(code, MINIGRAD_CACHE=str(cache), TMPDIR=str(temporary))
    assert answer == (TWICE, "")
    assert made(cache) == made(temporary, "*") == []


@needs_compiler
def test_a_cache_that_has_it_is_only_read(place: Path) -> None:
    run(SCALE)
    refuse = "import subprocess, tempfile\nsubprocess.run = tempfile.mkstemp = None\n"
    assert run(refuse + SCALE) == (TWICE, "")


@posix
@pytest.mark.parametrize(
    ("words", "says"),
    [("echo cannot do it >&2; exit 1", "cannot do it"), ("exit 3", "exit code 3"),
     ("exit 0", "made nothing")],
)  # fmt: skip
def test_a_compiler_that_fails_says_so_once(
    place: Path, words: str, says: str, tmp_path: Path
) -> None:
    fake = script(tmp_path / "fake", words)
    both = SCALE + SCALE.replace("scale_half", "lion") + SCALE.replace("float32", "float64")
    code = both.replace("if k: k(x, 2.0)", "")
    out, errors = run(code, CXX=fake)
    assert out == "numpy\n" * 3
    assert errors.count("could not compile") == errors.count(says) == 1
    assert f"{fake} could not compile cast.cu" in errors
    assert "MINIGRAD_CPU_KERNELS=0" in errors
    assert made(place, "*.so") == made(place, "*.part") == []


@posix
def test_what_a_compiler_makes_may_be_no_library(place: Path, tmp_path: Path) -> None:
    out = 'while [ "$1" != -o ]; do shift; done; echo junk > "$2"'
    answer, errors = run(SCALE, CXX=script(tmp_path / "fake", out))
    assert answer == "numpy\n"
    assert errors.count("could not compile cast.cu") == 1


@needs_compiler
@posix
def test_training_is_the_same_whoever_computes(place: Path, tmp_path: Path) -> None:
    fake = script(tmp_path / "fake", "exit 1")
    with_kernels, errors = run(TRAIN)
    assert errors == ""
    assert made(place)
    losses = np.array(with_kernels.split(), float)
    assert losses[-1] < losses[0]
    for environ in ({"CXX": fake}, {"PATH": "", "CXX": ""}, {"MINIGRAD_CPU_KERNELS": "0"}):
        answer, errors = run(TRAIN, **environ)
        np.testing.assert_allclose(np.array(answer.split(), float), losses, atol=1.1e-5)
        assert ("could not compile" in errors) == (environ == {"CXX": fake})


@pytest.mark.parametrize("environ", [{"PATH": "", "CXX": ""}, {"MINIGRAD_CPU_KERNELS": "0"}])
def test_numpy_without_a_word(place: Path, environ: dict[str, str]) -> None:
    assert run(SCALE, **environ) == ("numpy\n", "")
    assert not place.exists()


def real_compiler() -> str:
    command = compiler()
    assert command is not None
    return command[0]


@needs_compiler
@posix
def test_a_compiler_without_openmp(place: Path, tmp_path: Path) -> None:
    refuse = 'for word; do [ "$word" = -fopenmp ] && { echo no OpenMP >&2; exit 1; }; done'
    fake = script(tmp_path / "fake", f'{refuse}\nexec {real_compiler()} "$@"')
    assert run(SCALE, CXX=fake) == (TWICE, "")


@needs_compiler
@posix
def test_a_compiler_with_arguments(place: Path, tmp_path: Path) -> None:
    """``CXX="ccache g++"``: and both programs are in the key."""
    log = tmp_path / "log"
    front = script(tmp_path / "front", f'echo "$1" >> {log}\nexec "$@"')
    assert run(SCALE, CXX=f"{front} {real_compiler()}") == (TWICE, "")
    assert log.read_text() == f"{real_compiler()}\n"
    assert run(SCALE, CXX=f"'{front}' {real_compiler()} -DMORE") == (TWICE, "")
    assert len(made(place)) == 2


@posix
def test_which_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert compiler() is None
    clang = script(tmp_path / "clang++", "")
    assert compiler() == (clang,)
    gcc = script(tmp_path / "g++", "")
    assert compiler() == (gcc,)
    spaced = script(tmp_path / "my own c++", "")
    monkeypatch.setenv("CXX", spaced)
    assert compiler() == (spaced,)
    monkeypatch.setenv("CXX", "clang++ -v")
    assert compiler() == (clang, "-v")
    for wrong in ("not-there", "g++ 'unclosed"):
        monkeypatch.setenv("CXX", wrong)
        assert compiler() == (gcc,)


@needs_compiler
def test_what_the_key_depends_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text with its includes, the dtype, the compiler, its flags, and this processor."""
    command, file = compiler(), source.find("to_half")
    assert command is not None
    names = []

    def key(file: source.Source = file, real: str = "float32", *words: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(build, "_cached", lambda name, make: names.append(name))
            patch.setattr(build.ctypes, "CDLL", lambda path: None)
            compile_host((*command, *words), file, real)
        return names[-1]

    base = key()
    assert key() == base
    changed = {"common.cuh": file.files["common.cuh"] + "\n"}
    assert key(replace(file, files=file.files | changed)) != base
    assert key(file, "float64") != base
    assert key(file, "float32", "-O1") != base
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-g"))
    assert key() != base
    monkeypatch.undo()
    monkeypatch.setattr(build, "_processor", lambda: "another machine")
    assert key() != base
    monkeypatch.undo()
    monkeypatch.setattr(build, "_identity", lambda word: "another version")
    assert key() != base
    assert len(set(names)) == len(names) - 1


def test_a_processor_is_known_by_what_it_can() -> None:
    """A virtual machine that moves: its name may stay while its instructions change."""
    text = build._processor()
    assert text
    if Path("/proc/cpuinfo").exists():
        assert any(line.startswith(("flags", "Features")) for line in text.splitlines())
        assert "MHz" not in text, "what changes by itself would compile anew"


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MINIGRAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "minigrad"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "minigrad"


@needs_compiler
def test_nan_and_infinity_keep_their_meaning() -> None:
    assert not {"-ffast-math", "-ffinite-math-only", "-Ofast"} & set(build.FLAGS)
    assert {"-O3", "-march=native", "-fno-math-errno"} <= set(build.FLAGS)


@needs_compiler
def test_what_does_not_compile_is_quoted(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.cu"
    path.write_text("int f() { return nothing; }\n")
    command = compiler()
    assert command is not None
    with pytest.raises(CompileError, match="nothing"):
        compile_host(command, source._read(path), "float32")
    assert made(place) == []
