"""The job that `minigrad launch` builds, the launcher it finds, and real jobs through it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
from mpirun import ROOT, mpirun

from minigrad import cli, launch
from minigrad.errors import InputError, MissingExtra
from minigrad.launch import Launcher, command, family, find_launcher

MPICH = Launcher("/opt/mpich/bin/mpiexec", "MPICH")
OPEN_MPI = Launcher("/opt/openmpi/bin/mpiexec", "Open MPI")
posix = pytest.mark.skipif(os.name != "posix", reason="the fake launchers are shell scripts")


def fake_launcher(folder: Path, version: str, name: str = "mpiexec", run: str = "") -> str:
    """A shell script that gives ``version`` when asked, and else does ``run``."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    ask = f'if [ "$1" = --version ]; then echo "{version}"; exit 0; fi'
    path.write_text(f"#!/bin/sh\n{ask}\n{run}\n")
    path.chmod(0o755)
    return str(path)


@cache
def need_mpi() -> None:
    """Skip the test where no job can be started; asked once."""
    mpirun(1, "-c", "")


def start(*words: str) -> subprocess.Popen[str]:
    """`minigrad launch WORDS` in a process of its own; skips without an MPI."""
    need_mpi()
    return subprocess.Popen(
        [sys.executable, "-m", "minigrad", "launch", *words],
        env=launch.outside_mpi(os.environ) | {"PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["train", "digits", "-n", "5"], ["-m", "minigrad", "train", "digits", "-n", "5"]),
        (["script.py", "--lr", "1"], ["script.py", "--lr", "1"]),
        (["-c", "pass"], ["-c", "pass"]),
        (["./train", "a b"], ["./train", "a b"]),
    ],
)
def test_what_is_run(
    words: list[str], program: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train").write_text("a file that is named like a command")
    arguments, _ = command(3, words, launcher=MPICH, cores=4, environ={})
    assert arguments == ["/opt/mpich/bin/mpiexec", "-n", "3", sys.executable, *program]


@pytest.mark.parametrize(
    ("launcher", "root", "flags"),
    [
        (MPICH, True, []),
        (OPEN_MPI, False, ["--oversubscribe", "--bind-to", "none"]),
        (OPEN_MPI, True, ["--oversubscribe", "--bind-to", "none", "--allow-run-as-root"]),
    ],
)
def test_what_root_and_containers_need(launcher: Launcher, root: bool, flags: list[str]) -> None:
    arguments, _ = command(2, ["train"], launcher=launcher, cores=2, environ={}, root=root)
    assert arguments[1 : arguments.index("-n")] == flags


@pytest.mark.parametrize(
    ("n", "cores", "environ", "threads"),
    [
        (2, 8, {}, ("4", "4", "4")),
        (3, 8, {}, ("2", "2", "2")),
        (5, 2, {}, ("1", "1", "1")),
        (2, 8, {"OMP_NUM_THREADS": "7"}, ("7", "4", "4")),
    ],
)
def test_threads_are_shared(n: int, cores: int, environ: dict[str, str], threads: tuple) -> None:
    _, settings = command(
        n, ["train"], launcher=MPICH, cores=cores, environ=environ | {"HOME": "/here"}
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert tuple(settings[name] for name in names) == threads
    assert settings["HOME"] == "/here"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["-n", "0", "train"], "-n 0 asks for 0 ranks; give 1 or more"),
        (["-n", "2"], "nothing to run"),
        (["-n", "2", "nowhere.py"], r"no script 'nowhere\.py'"),
        (["-n", "2", "./nowhere"], r"no script '\./nowhere'"),
        (["-n", "two", "train"], r"invalid int value: 'two' \(see 'minigrad launch --help'\)"),
    ],
)
def test_a_job_that_cannot_be(argv: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        launch.main(argv)


@pytest.mark.parametrize("words", [["--debug", "launch"], ["launch", "--debug"]])
def test_debug_before_the_job_is_for_launch(words: list[str]) -> None:
    with pytest.raises(InputError, match="-n 0"):
        cli.main([*words, "-n", "0", "train"])
    assert cli.main(["launch", "-n", "0", "train", "--debug"]) == 2


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("HYDRA build details:\n Version: 5.0.2", "MPICH"),
        ("MPICH Version:      5.0.2\nMPICH ABI: 18", "MPICH"),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.13", "MPICH"),
        ("mpiexec (Open MPI) 5.0.11", "Open MPI"),
        ("mpirun (OpenRTE) 3.1.3", "Open MPI"),
        ("Microsoft MPI Startup Program [Version 10.1]", "Microsoft MPI"),
        ("something else", ""),
    ],
)
def test_family(text: str, name: str) -> None:
    assert family(text) == name


@posix
@pytest.mark.parametrize(
    ("library", "beside", "on_path", "found"),
    [
        ("MPICH Version: 4", "HYDRA", "Open MPI", "beside"),
        ("MPICH Version: 4", None, "HYDRA", "on_path"),
        ("Open MPI v5", "HYDRA", "Open MPI", "on_path"),
        ("MPICH Version: 4", None, "Open MPI", r"install the MPI .* uses|mpi4py uses MPICH 4, and"),
        ("Open MPI v5, x", None, None, "no mpiexec beside .* mpi4py uses Open MPI v5;"),
    ],
)
def test_the_launcher_of_the_library_is_found(
    library: str,
    beside: str | None,
    on_path: str | None,
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = {}
    for name, version in (("beside", beside), ("on_path", on_path)):
        if version is not None:
            paths[name] = fake_launcher(tmp_path / name, version)
    monkeypatch.setenv("PATH", str(tmp_path / "on_path"))
    monkeypatch.setattr(launch, "library_version", lambda: library)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    if found in paths:
        assert find_launcher() == Launcher(paths[found], family(library))
    else:
        with pytest.raises((InputError, MissingExtra), match=found):
            find_launcher()


@posix
def test_an_mpi4py_without_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mpi4py")
    run = "echo 'RuntimeError: cannot load MPI library' >&2; exit 1"
    monkeypatch.setattr(sys, "executable", fake_launcher(tmp_path, "", "python", run))
    with pytest.raises(MissingExtra, match=r"\(RuntimeError: cannot load MPI library\); in mini"):
        launch.library_version()


@posix
@pytest.mark.parametrize(("n", "warns"), [(2, False), (3, True)])
def test_more_ranks_than_cores_is_said(
    n: int, warns: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = []
    monkeypatch.setattr(launch, "find_launcher", lambda: MPICH)
    monkeypatch.setattr(launch, "core_count", lambda: 2)
    monkeypatch.setattr(os, "execve", lambda path, *given: started.append((path, *given)))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("started twice"))
    monkeypatch.setattr(os, "name", "posix")
    with pytest.raises(pytest.fail.Exception):
        launch.main(["-n", str(n), "--", "train", "digits"])
    ((path, arguments, _),) = started
    assert path == MPICH.path
    assert arguments[-4:] == ["-m", "minigrad", "train", "digits"]
    assert ("brings no speed-up" in capsys.readouterr().err) == warns


def test_a_child_does_not_take_itself_for_a_rank() -> None:
    environ = {"PMI_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "1", "HOME": "/x"}
    assert launch.outside_mpi(environ | {"OMPI_MCA_btl": "tcp"}) == {
        "HOME": "/x",
        "OMPI_MCA_btl": "tcp",
    }


@pytest.mark.mpi
@pytest.mark.parametrize(("n", "code"), [(1, 7), (3, 0)])
def test_a_script_and_its_exit_code(n: int, code: int, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom minigrad.distributed import world\ncomm = world()\n"
        "print(comm.all_gather_text(' '.join(sys.argv[2:])))\nsys.exit(int(sys.argv[1]))\n"
    )
    job = start("-n", str(n), str(script), str(code), "-n α", "--debug")
    out, err = job.communicate(timeout=60)
    assert (job.returncode, out.splitlines()) == (code, [str(["-n α --debug"] * n)] * n), err


@pytest.mark.mpi
@posix
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_job(sent: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import time\nfrom minigrad.distributed import world\ncomm = world()\ncomm.barrier()\n"
        "if comm.rank == 0: print('ready')\ntime.sleep(100)\n"
    )
    job = start("-n", "2", str(script))
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    begin = time.monotonic()
    job.send_signal(sent)
    job.communicate(timeout=30)
    assert time.monotonic() - begin < 10
    assert job.returncode != 0
