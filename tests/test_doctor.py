"""Each line of `minigrad doctor`, and the exit code for what contradicts itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from test_launch import fake_launcher, need_mpi, posix

from minigrad import doctor, launch
from minigrad.doctor import Check
from minigrad.errors import InputError, MissingExtra
from minigrad.kernels import report
from minigrad.kernels.build import compiler
from minigrad.kernels.source import sources
from minigrad.launch import Launcher


def raiser(error: Exception) -> Callable[..., None]:
    def f(*_: object) -> None:
        raise error

    return f


@pytest.mark.parametrize(
    ("check", "name", "says"),
    [
        (doctor.check_python, "Python", f"{sys.version_info.major}.{sys.version_info.minor}."),
        (doctor.check_numpy, "NumPy", "BLAS"),
        (doctor.check_threads, "cores", f"of {os.cpu_count()} usable"),
    ],
)
def test_what_is_always_there(check: Callable[[], list[Check]], name: str, says: str) -> None:
    (result,) = check()
    assert (result.name, result.state, result.advice) == (name, "ok", "")
    assert says in result.text


def test_thread_variables_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    assert "MKL_NUM_THREADS=3" in doctor.check_threads()[0].text


@pytest.mark.parametrize(("states", "code"), [(["ok", "missing"], 0), (["ok", "wrong"], 1)])
def test_exit_code(
    states: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checks = tuple(
        lambda state=state: [Check("part", state, "it is so", "do this")] for state in states
    )
    monkeypatch.setattr(doctor, "_CHECKS", checks)
    assert doctor.main([]) == code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(states)]] == states
    assert lines[0].endswith("it is so; do this")


@posix
@pytest.mark.parametrize(
    ("version", "state"), [("HYDRA", "ok"), ("Open MPI", "wrong"), ("???", "wrong"), ("", "wrong")]
)
def test_the_launcher_on_path(
    version: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fake_launcher(tmp_path, version)
    monkeypatch.setenv("PATH", str(tmp_path))
    (result,) = doctor.check_launchers("MPICH")
    assert (result.name, result.state) == ("mpiexec", state)
    assert path in result.text
    assert ("minigrad launch -n N" in result.advice) == (state == "wrong")


def test_no_launcher_on_path_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (result,) = doctor.check_launchers("MPICH")
    assert result.state == "missing"
    assert "minigrad launch" in result.advice


ALONE = "echo ranks 1; echo ranks 1"


@posix
@pytest.mark.parametrize(
    ("run", "state", "says"),
    [
        ("echo ranks 2; echo ranks 2", "ok", "see each other"),
        (ALONE, "wrong", "ranks that are alone"),
        ("echo no slots >&2; exit 4", "wrong", "exit code 4 and said: no slots"),
        ("exec sleep 30", "wrong", "hung for 0.3 s"),
    ],
)
def test_two_ranks(
    run: str, state: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = Launcher(fake_launcher(tmp_path, "HYDRA", run=run), "MPICH")
    monkeypatch.setattr(launch, "find_launcher", lambda: launcher)
    (result,) = doctor.check_ranks(timeout=0.3 if "sleep" in run else 30)
    assert result.state == state
    assert says in result.text


@pytest.mark.parametrize(
    ("error", "state"), [(MissingExtra("install it"), "missing"), (InputError("other"), "wrong")]
)
def test_two_ranks_without_a_launcher(
    error: Exception, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "find_launcher", raiser(error))
    (result,) = doctor.check_ranks()
    assert (result.state, result.advice) == (state, str(error))


def test_without_mpi4py_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "library_version", raiser(MissingExtra("install the extra mpi")))
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    (result,) = doctor.check_mpi()
    assert (result.state, result.advice) == ("missing", "install the extra mpi")


@pytest.mark.parametrize(
    ("packages", "driver", "devices", "state", "says"),
    [
        ({}, 0, 0, "missing", "no GPU and no CuPy"),
        ({"cupy-cuda13x": "14.2"}, 0, 0, "missing", "no usable device"),
        ({"cupy-cuda13x": "14.2"}, 13000, 1, "ok", "CUDA 13: Some GPU"),
        ({"cupy-cuda13x": "14.2"}, 12080, 1, "wrong", "needs CUDA 13, the driver has 12"),
        ({"cupy-cuda12x": "14.2", "cupy-cuda13x": "14.2"}, 13000, 1, "wrong", "overwrite"),
        ({"cupy-cuda13x": "14.2"}, None, 1, "wrong", "cannot be used (broken"),
    ],
)
def test_gpu(
    packages: dict[str, str],
    driver: int | None,
    devices: int,
    state: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = types.SimpleNamespace(
        runtimeGetVersion=lambda: 13000,
        driverGetVersion=lambda: driver,
        getDeviceProperties=lambda index: {"name": b"Some GPU"},
    )
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
    broken = raiser(ImportError("broken\nat length"))
    monkeypatch.setattr(doctor, "_version", lambda name: packages.get(name, ""))
    monkeypatch.setattr(doctor, "device_count", lambda: devices)
    monkeypatch.setattr(doctor, "module_for", broken if driver is None else lambda device: cupy)
    monkeypatch.setenv("PATH", "")
    (result,) = doctor.check_gpu()
    assert result.state == state
    assert says in result.text
    assert result.state != "wrong" or "python -m pip" in result.advice


@pytest.mark.parametrize(
    ("version", "aware", "state", "says"),
    [
        (22707, "0", "ok", "NCCL 2.27.7 where each rank has a GPU of its own, else through MPI by"),
        (0, "1", "missing", "no NCCL; through MPI as they are"),
        (0, "yes", "wrong", "no way found"),
    ],
)
def test_gpu_arrays(
    version: int, aware: str, state: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mpi4py")
    library = types.SimpleNamespace(get_version=lambda: version) if version else None
    monkeypatch.setattr(doctor, "device_count", lambda: 1)
    monkeypatch.setattr(doctor, "nccl_library", lambda: library)
    monkeypatch.setenv("MINIGRAD_CUDA_AWARE", aware)
    (result,) = doctor.check_gpu_arrays()
    assert (result.state, result.text.startswith(says)) == (state, True)
    assert (result.advice == "") == (state == "ok")
    monkeypatch.setattr(doctor, "device_count", lambda: 0)
    assert doctor.check_gpu_arrays() == []


@posix
def test_a_gpu_without_cupy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_launcher(tmp_path, "", "nvidia-smi", "echo GPU 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "_version", lambda name: "")
    (result,) = doctor.check_gpu()
    assert (result.state, result.text) == ("missing", "a GPU, but no CuPy")
    assert "'.[cuda13]'" in result.advice


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing but what the test adds: an empty PATH, no CXX, a cache of its own, no GPU.

    Of the kernels' files there are two, which compile in a second.
    """
    some = {name: sources()[name] for name in ("adam", "cast")}
    monkeypatch.setattr(report, "sources", lambda: some)
    monkeypatch.setattr(report, "device_count", lambda: 0)
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CXX", "MINIGRAD_CPU_KERNELS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("word", ["0", "off"])
def test_kernels_switched_off(word: str, no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGRAD_CPU_KERNELS", word)
    (result,) = doctor.check_kernels()
    assert (result.name, result.state) == ("kernels", "missing")
    assert result.text == "NumPy does their work, for MINIGRAD_CPU_KERNELS is 0"


def test_a_switch_that_says_neither(no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGRAD_CPU_KERNELS", "maybe")
    (result,) = doctor.check_kernels()
    assert (result.state, result.advice) == ("wrong", "set it to 0 or 1, or unset it")
    assert "MINIGRAD_CPU_KERNELS is 'maybe'" in result.text


def test_kernels_without_a_compiler(no_gpu: Path) -> None:
    (result,) = doctor.check_kernels()
    assert result.state == "missing"
    assert result.text == "there is no C++ compiler, so NumPy does their work, more slowly"
    assert result.advice == "install g++ or clang++ to have them compiled"


@pytest.mark.parametrize("given", ["nonexistent++", "nonexistent++ -O2", "g++ 'unclosed"])
def test_a_compiler_that_is_not_there(
    given: str, no_gpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", given)
    result, other = doctor.check_kernels()
    assert (result.state, other.state) == ("wrong", "missing")
    assert result.text == f"CXX is '{given}', which names nothing that can be run"
    assert result.advice.startswith("unset it")


@posix
def test_kernels_and_a_compiler_that_fails(no_gpu: Path) -> None:
    path = fake_launcher(no_gpu, "", "clang++", "echo it is broken; echo at length; exit 1")
    (result,) = doctor.check_kernels()
    assert result.state == "wrong"
    assert result.text == f"{path} cannot compile the kernels and said: it is broken"
    assert "NumPy does this work" in result.advice


def test_a_file_with_a_slip(no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slip = InputError("bad.cu:2: kernel f: its last parameter must be …")
    monkeypatch.setattr(report, "faults", lambda: [slip])
    result, _ = doctor.check_kernels()
    assert (result.name, result.state, result.text) == ("kernels", "wrong", str(slip))


HERE, PATH = compiler(), os.environ.get("PATH", "")
needs_compiler = pytest.mark.skipif(HERE is None, reason="needs a C++ compiler")


def wrapped(folder: Path, first: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The compiler of a test: a script that runs ``first``, then the one that is here."""
    assert HERE is not None
    path = fake_launcher(folder, "", "c++", f'{first} exec {HERE[0]} "$@"')
    monkeypatch.setenv("CXX", path)
    monkeypatch.setenv("PATH", PATH)
    return path


@posix
@needs_compiler
@pytest.mark.parametrize("openmp", [True, False])
@pytest.mark.parametrize("writable", [True, False])
def test_compiled_kernels(
    openmp: bool, writable: bool, no_gpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = 'for word; do [ "$word" = -fopenmp ] && exit 1; done;'
    path = wrapped(no_gpu, "" if openmp else refuse, monkeypatch)
    folder = no_gpu / ("cache" if writable else "c++/cache")
    monkeypatch.setenv("MINIGRAD_CACHE", str(folder))
    (result,) = doctor.check_kernels()
    assert (result.state, result.advice) == ("ok", "")
    threads = r"OpenMP threads: \d+" if openmp else "one thread, for lack of OpenMP"
    kept = f"kept in {folder}" if writable else f"by each process anew: {folder} is not writable"
    expected = f"2 of 2 files compiled by {re.escape(path)}; {threads}; {re.escape(kept)}"
    assert re.fullmatch(expected, result.text)


@posix
@needs_compiler
def test_a_compiler_that_fails_at_one_file(no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = 'case "$*" in *cast.cu*) echo no _Float16; exit 1;; esac;'
    path = wrapped(no_gpu, refuse, monkeypatch)
    failed, made = doctor.check_kernels()
    assert (failed.state, made.state) == ("wrong", "ok")
    assert failed.text == f"{path} cannot compile cast.cu and said: no _Float16"
    assert made.text.startswith(f"1 of 2 files compiled by {path}")


@pytest.mark.parametrize("fails", [False, True])
def test_kernels_of_each_gpu(fails: bool, no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "device_count", lambda: 2)
    broken = raiser(RuntimeError("no NVRTC\nat length"))
    monkeypatch.setattr(report, "gpu_module", broken if fails else lambda *given: None)
    _, first, second = doctor.check_kernels()
    assert (first.state, second.state) == ("wrong" if fails else "ok",) * 2
    said = "NVRTC failed for cuda:1 and said: no NVRTC"
    assert second.text == (said if fails else "2 files compiled by NVRTC for cuda:1")


def test_kernels_of_a_gpu_that_is_too_old(no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "device_count", lambda: 1)
    monkeypatch.setattr(report, "gpu_module", raiser(InputError("cuda:0 has …; use --device cpu")))
    _, result = doctor.check_kernels()
    assert (result.state, result.text) == ("wrong", "cuda:0 has …; use --device cpu")


def test_kernels_and_a_broken_cupy(no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "device_count", raiser(ImportError("broken")))
    (result,) = doctor.check_kernels()
    assert "NumPy" in result.text


def test_extras_name_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name == "tqdm" else "")
    results = {result.name: result for result in doctor.check_extras()}
    assert results["tqdm"] == Check("tqdm", "ok", "1.0")
    assert results["scikit-learn"].state == "missing"
    assert "pip install -e '.[data]'" in results["scikit-learn"].advice


@pytest.mark.mpi
@posix
def test_a_foreign_mpiexec_first_on_path(tmp_path: Path) -> None:
    need_mpi()
    code = "import sys; from minigrad.doctor import main; sys.exit(main([]))"
    fake_launcher(tmp_path, "mpiexec (FOREIGN) 1.0", run=ALONE)
    folders = [str(tmp_path), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    report = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PATH": os.pathsep.join(folders), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert report.returncode == 1, report.stdout + report.stderr
    assert "starts ranks that see each other" in report.stdout
    (wrong,) = [line for line in report.stdout.splitlines() if line.startswith("wrong")]
    assert str(tmp_path) in wrong
    assert "minigrad launch -n N" in wrong
