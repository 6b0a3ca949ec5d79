"""Compiling for the CPU: the cache, who shares it, and what becomes of compilers that fail."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad.kernels import build, source
from minigrad.kernels.build import compile_host, compiler
from minigrad.kernels.cache import CompileError, cache_folder

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
FORK = """
import os, sys, numpy as np, minigrad as mg
from minigrad import nn, optim
model = nn.Dense(600, 600, rng=np.random.default_rng(0))
optimizer = optim.AdamW(model, 0.01)
def step():
    for p in model.parameters():
        p.grad = np.ones(p.shape, p.dtype)
    optimizer.step()
    return sum(float(np.abs(p.data).sum()) for p in model.parameters())
step()
child = os.fork()
last = step()
os.write(1, f"{last:.6f}\\n".encode())  # in one go: both write to the same pipe
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
posix = pytest.mark.skipif(os.name != "posix", reason="the fake compilers are shell scripts")


def start(code: str, **environ: str) -> subprocess.Popen[str]:
    """A Python process of its own, with minigrad from this checkout."""
    return subprocess.Popen(
        [sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environ,
        start_new_session=True,
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
    for cached in (build.host_library, build.own_folder):
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
    assert made(place, "*") == [library], "no parts and no locks are left"
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
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_of_a_fork_can_step() -> None:
    """OpenMP's threads do not survive a fork: the child must not wait for them."""
    process = start(FORK, OMP_NUM_THREADS="2")
    try:
        out, errors = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, errors
    first, second = out.split()
    assert first == second


@posix
def test_one_at_a_time_though_locks_are_removed(tmp_path: Path) -> None:
    """Whoever waits for a lock that is removed meanwhile must not share the work with another."""
    code = f"""
import time
from pathlib import Path
from minigrad.kernels.cache import one_at_a_time
here, place = Path({str(tmp_path / "here")!r}), Path({str(tmp_path)!r})
for _ in range(30):
    with one_at_a_time(place / "x.lock"):
        here.touch(exist_ok=False)
        time.sleep(0.001)
        here.unlink()
"""
    processes = [start(code) for _ in range(4)]
    assert [process.communicate(timeout=60) for process in processes] == [("", "")] * 4
    assert made(tmp_path, "*") == []


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
def test_a_failure_is_remembered_for_a_while(place: Path, tmp_path: Path) -> None:
    """One of many processes tries, all say why, and of the ranks on a node the first alone."""
    log = tmp_path / "log"
    fake = script(tmp_path / "fake", f"echo >> {log}; echo cannot do it >&2; exit 1")
    processes = [start(SCALE, CXX=fake) for _ in range(4)]
    for out, errors in (process.communicate(timeout=60) for process in processes):
        assert (out, errors.count("cannot do it")) == ("numpy\n", 1)
    tries = len(["-fopenmp", "-fopenmp-simd"])
    assert len(log.read_text()) == tries
    (failed,) = made(place, "*")
    assert failed.read_text() == "cannot do it"
    for rank, times in (("0", 1), ("3", 0)):
        for name in ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK"):
            assert run(SCALE, CXX=fake, **{name: rank})[1].count("cannot do it") == times
    assert len(log.read_text()) == tries
    with pytest.raises(CompileError, match="cannot do it"):
        build.library_file((fake,), source.find("to_half"), "float32", again=True)
    assert len(log.read_text()) == 2 * tries
    old = time.time() - 601
    os.utime(failed, (old, old))
    run(SCALE, CXX=fake)
    assert len(log.read_text()) == 3 * tries


@needs_compiler
@posix
def test_a_failure_that_is_mended_is_forgotten(place: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    fake = script(tmp_path / "fake", f'[ -e {good} ] || exit 1; exec {real_compiler()} "$@"')
    file = source.find("to_half")
    for again in (False, True):
        with pytest.raises(CompileError, match="exit code 1"):
            build.library_file((fake,), file, "float32", again)
    good.touch()
    with pytest.raises(CompileError, match="exit code 1"):
        build.library_file((fake,), file, "float32")
    library = build.library_file((fake,), file, "float32", again=True)
    assert build.library_file((fake,), file, "float32") == library
    assert made(place, "*") == [library]


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
    names: list[str] = []

    def key(file: source.Source = file, real: str = "float32", *words: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(build, "cached", lambda name, *rest: names.append(name))
            build.library_file((*command, *words), file, real)
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


def test_what_a_gpus_key_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text with its includes, the dtype, NVRTC's version and options, and the capability."""
    (tmp_path / "kept").write_bytes(b"cubin")
    file = source.find("to_half")
    names: list[str] = []
    found: dict[str, Any] = {"version": (13, 0), "headers": "/here", "capability": "90"}
    modules: dict[str, Any] = {
        "cupy_backends.cuda.libs.nvrtc": types.SimpleNamespace(getVersion=lambda: found["version"]),
        "cuda.pathfinder": types.SimpleNamespace(
            find_nvidia_header_directory=lambda name: found["headers"]
        ),
    }
    cupy = types.SimpleNamespace(
        RawModule=lambda *, path: path,
        cuda=types.SimpleNamespace(
            Device=lambda index: types.SimpleNamespace(compute_capability=found["capability"])
        ),
    )

    def cached(name: str, *rest: object) -> Path:
        names.append(name)
        return tmp_path / "kept"

    monkeypatch.setattr(build, "require", lambda name, extra: modules[name])
    monkeypatch.setattr(build, "module_for", lambda device: cupy)
    monkeypatch.setattr(build, "cached", cached)

    def key(file: source.Source = file, real: str = "float32", **changed: Any) -> str:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in changed.items():
                patch.setitem(found, name, value)
            build.gpu_module.__wrapped__(file, real, 0)
        return names[-1]

    base = key()
    assert key() == base
    changed = {"common.cuh": file.files["common.cuh"] + "\n"}
    assert key(replace(file, files=file.files | changed)) != base
    assert key(real="float64") != base
    assert key(version=(13, 1)) != base
    assert key(headers="/there") != base
    assert key(headers=None) != base
    assert key(capability="80") != base
    options = build.gpu_options
    monkeypatch.setattr(build, "gpu_options", lambda real: (*options(real), "-G"))
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
