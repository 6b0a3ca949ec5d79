"""The wheel works without the checkout, and importing minigrad imports NumPy and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from mpirun import ROOT

from minigrad.kernels.build import compiler

OPTIONAL = (
    "cupy", "mpi4py", "matplotlib", "sklearn", "safetensors", "tqdm", "scipy", "torch",
    "tensorboardX", "threadpoolctl", "hypothesis", "pytest",
)  # fmt: skip


def run(*words: str, folder: Path | str, **environ: str) -> str:
    job = subprocess.run(
        [sys.executable, *words], cwd=folder, env=os.environ | environ, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert job.returncode == 0, job.stdout + job.stderr
    return job.stdout


def test_the_core_needs_numpy_alone(tmp_path: Path) -> None:
    code = f"""
import sys
import minigrad, minigrad.nn, minigrad.optim, minigrad.train, minigrad.distributed, minigrad.cli
import minigrad.checkpoint, minigrad.data, minigrad.metrics, minigrad.plot, minigrad.recipe
import minigrad.testing, minigrad.launch, minigrad.doctor
print(*({{name.partition('.')[0] for name in sys.modules}} & set({OPTIONAL})))
"""
    assert run("-c", code, folder=tmp_path, PYTHONPATH=ROOT).split() == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("wheel")
    run(
        "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index",
        "--disable-pip-version-check", "-w", str(folder), ROOT, folder=folder,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


def test_what_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("/METADATA"))).decode()
        scripts = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    sources = {str(p.relative_to(ROOT)) for p in Path(ROOT, "minigrad").rglob("*.py")}
    packed = {name for name in names if ".dist-info/" not in name}
    python = {name for name in packed if name.endswith(".py")}
    lessons = Path(ROOT, "tutorials")
    tutorials = {
        f"minigrad/tutorials/source/{path.relative_to(lessons)}" for path in lessons.rglob("*.py")
    }
    assert python == sources | tutorials
    assert {p for p in packed if p.endswith(".toml")} == {
        str(p.relative_to(ROOT)) for p in Path(ROOT, "minigrad").rglob("*.toml")
    }
    assert all(name.startswith("minigrad/") for name in packed)
    kernels = {f"minigrad/kernels/source/{path.name}" for path in Path(ROOT).glob("kernels/*.cu*")}
    assert {name for name in packed if "/kernels/source/" in name} == kernels
    assert "minigrad/py.typed" in packed
    lines = metadata.splitlines()
    assert "Name: minigrad-mpi" in lines
    assert "Requires-Python: >=3.11" in lines
    assert "License-Expression: MIT" in lines
    required = [line for line in lines if line.startswith("Requires-Dist") and "extra" not in line]
    assert required == ["Requires-Dist: numpy>=2"]
    assert not [line for line in lines if line.startswith("Requires-Dist") and "==" in
                line.partition(";")[0]]  # fmt: skip
    assert "minigrad = minigrad.cli:main" in scripts


def test_an_editable_wheel_and_an_sdist(tmp_path: Path) -> None:
    """The first holds a path to the checkout, and no copy of kernels that would go stale."""
    pytest.importorskip("hatchling")
    code = "import hatchling.build as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"
    editable, sdist = (
        tmp_path / run("-c", code, what, str(tmp_path), folder=ROOT).split()[-1]
        for what in ("build_editable", "build_sdist")
    )
    with zipfile.ZipFile(editable) as archive:
        names = archive.namelist()
        (path,) = (name for name in names if ".dist-info/" not in name)
        assert archive.read(path).decode().strip() == ROOT
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"kernels/{path.name}" for path in Path(ROOT).glob("kernels/*.cu*")} <= packed


def test_the_wheel_trains(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "site"
    run(
        "-m", "pip", "install", "--no-deps", "--no-index", "--disable-pip-version-check",
        "--target", str(place), str(wheel), folder=tmp_path,
    )  # fmt: skip
    where = run("-c", "import minigrad; print(minigrad.__file__)", folder=tmp_path,
                PYTHONPATH=str(place))  # fmt: skip
    assert Path(where.strip()).is_relative_to(place)
    code = "from minigrad.kernels.source import find; print(find('adam').path)"
    kernels = run("-c", code, folder=tmp_path, PYTHONPATH=str(place)).strip()
    assert kernels == str(place / "minigrad" / "kernels" / "source" / "adam.cu")
    said = run("-m", "minigrad", "train", "digits", "--epochs", "1", folder=tmp_path,
               PYTHONPATH=str(place), MINIGRAD_CACHE=str(tmp_path / "cache"))  # fmt: skip
    assert "results in runs/digits/" in said
    if compiler() is not None:
        assert list((tmp_path / "cache").glob("*.so")), "its kernels were not compiled"
    assert (tmp_path / "runs" / "digits" / "checkpoint.safetensors").exists()
