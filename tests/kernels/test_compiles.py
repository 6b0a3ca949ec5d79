"""Every kernel compiles for every GPU that CUDA still knows, without one; and without spills."""

from __future__ import annotations

import re
import shutil
import subprocess
import types
from functools import cache
from pathlib import Path

import pytest

from minigrad.kernels import build, source
from minigrad.kernels.build import REAL
from minigrad.kernels.cache import CompileError

FILES = sorted(source.sources())
CAPABILITIES = [75, 80, 90, 100]
ELF = b"\x7fELF"


@cache
def without_nvrtc() -> str:
    """Why NVRTC cannot be used; empty where it can."""
    try:
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
    except Exception as error:  # no CuPy, or CuPy without the library
        return f"needs NVRTC, from the extra 'nvrtc': {type(error).__name__}"
    return ""


@pytest.fixture
def nvrtc() -> None:
    if without_nvrtc():
        pytest.skip(without_nvrtc())


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("real", REAL)
@pytest.mark.parametrize("name", FILES)
def test_nvrtc(name: str, real: str, capability: int) -> None:
    file = source.sources()[name]
    binary = build.gpu_binary(file, real, capability)
    assert binary.startswith(ELF)
    assert all(b".text." + entry.encode() in binary for entry in file.entries)


@pytest.mark.usefixtures("nvrtc")
def test_a_gpu_newer_than_nvrtc_is_given_ptx() -> None:
    text = build.gpu_binary(source.find("to_half"), "float32", 999).decode()
    assert ".visible .entry to_half" in text
    assert ".ftz" not in text, "denormals are numbers like others"


@pytest.mark.usefixtures("nvrtc")
def test_a_module_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU would be given, without one: the file that RawModule would load."""
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    device = types.SimpleNamespace(compute_capability="90")
    fake = types.SimpleNamespace(
        cuda=types.SimpleNamespace(Device=lambda index: device),
        RawModule=lambda *, path: Path(path).read_bytes(),
    )
    monkeypatch.setattr(build, "module_for", lambda name: fake)
    module, file = build.gpu_module.__wrapped__, source.find("to_half")
    first = module(file, "float32", 0)
    assert first == build.gpu_binary(file, "float32", 90)
    (kept,) = tmp_path.glob("*.cubin")
    with monkeypatch.context() as patch:
        patch.setattr(build, "gpu_binary", None)
        assert module(file, "float32", 1) == first
    kept.write_bytes(kept.read_bytes()[:-1])
    assert module(file, "float32", 0) == first


@pytest.mark.usefixtures("nvrtc")
def test_what_does_not_compile_is_an_error_with_the_compilers_words(tmp_path: Path) -> None:
    path = tmp_path / "broken.cu"
    path.write_text("__global__ void f() { nothing(); }\n")
    with pytest.raises(CompileError, match=r"broken\.cu does not compile.*\n.*\"nothing\""):
        build.gpu_binary(source._read(path), "float32", 90)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("real", REAL)
@pytest.mark.parametrize("name", FILES)
def test_registers_suffice(name: str, real: str, tmp_path: Path) -> None:
    """nvcc's resource report for each entry: no spills and no local stack."""
    file = source.sources()[name]
    report = subprocess.run(
        ["nvcc", "-std=c++17", "-arch=sm_90", f"-DREAL={REAL[real]}", "-cubin", "-Xptxas", "-v",
         "-o", str(tmp_path / "x.cubin"), str(file.path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert report.returncode == 0, report.stderr
    found = re.findall(
        r"Function properties for (\w+)\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads", report.stderr,
    )  # fmt: skip
    assert sorted(entry for entry, *_ in found) == sorted(file.entries)
    assert {entry: numbers for entry, *numbers in found if numbers != ["0", "0", "0"]} == {}
    assert "warning" not in report.stderr
