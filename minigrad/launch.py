"""``minigrad launch -n N …``: start N ranks with the launcher that belongs to mpi4py's MPI.

    minigrad launch -n 2 train digits        mpiexec -n 2 python -m minigrad train digits
    minigrad launch -n 2 script.py --lr 0.1  mpiexec -n 2 python script.py --lr 0.1

A launcher of another MPI starts N processes that each believe they are alone. With ``--restarts``
a job that dies is started again; with ``--elastic`` ranks go on without those that are killed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minigrad.distributed.host import core_count, outside_mpi, thread_caps
from minigrad.errors import InputError, MissingExtra, require
from minigrad.parser import Parser

__all__ = [
    "Launcher",
    "Parser",
    "candidates",
    "command",
    "family",
    "find_launcher",
    "job",
    "launcher_at",
    "library_version",
    "main",
    "outside_mpi",
    "short_name",
]

_FAMILIES = {
    # what `mpiexec --version` and MPI_Get_library_version say; the relatives of MPICH share its
    # protocol (Hydra, PMI), so that the launcher of one starts programs of the other
    "Open MPI": ("open mpi", "openrte", "prrte", "prterun"),
    "MPICH": ("mpich", "hydra", "intel(r) mpi", "mvapich", "cray mpi"),
    "Microsoft MPI": ("microsoft mpi",),
}
_ASK_LIBRARY = """
import mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
print(MPI.Get_library_version().strip(chr(0)).strip())
"""


@dataclass(frozen=True)
class Launcher:
    """An ``mpiexec`` and the family of MPI ("MPICH", "Open MPI", …; "" if unknown) it is of."""

    path: str
    family: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; without ``--restarts`` this process becomes mpiexec (on POSIX), which takes its
    signals and exit code."""
    parser = Parser(
        prog="minigrad launch",
        description="Start N ranks with the mpiexec that belongs to mpi4py's MPI.",
    )
    parser.add_argument("-n", type=int, required=True, metavar="N", help="the number of ranks")
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        metavar="N",
        help="start a job that dies up to N times again; 'train' goes on from its checkpoint, a "
        "script finds in MINIGRAD_RESTART how often it has been started before",
    )
    parser.add_argument(
        "--elastic",
        action="store_true",
        help="ranks go on without those that are killed; needs Open MPI (extra mpi-elastic)",
    )
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="…",
        help="a minigrad command (train digits …) or a script (script.py …), with its arguments",
    )
    given = parser.parse_args(argv)
    words = given.words[1:] if given.words[:1] == ["--"] else given.words
    _check_job(given.n, words)
    if given.restarts < 0:
        raise InputError(f"--restarts {given.restarts}: at least 0")
    training = words[0] == "train"
    if given.elastic and training and "--elastic" not in words:
        words = [*words, "--elastic"]
    arguments, environ = job(given.n, words, os.environ, elastic=given.elastic)
    cores = core_count()
    if given.n > cores:
        print(
            f"minigrad launch: {given.n} ranks share {cores} core{'s' * (cores > 1)}: "
            "this works, but brings no speed-up",
            file=sys.stderr,
        )
    sys.stderr.flush()
    if given.restarts:
        from minigrad.restarts import with_restarts

        again = [] if "--resume" in words else ["--resume"]
        return with_restarts(
            lambda resume: (arguments + again * resume, environ),
            given.restarts,
            _checkpoint_of(words[1:]) if training else None,
        )
    if os.name == "posix":
        os.execve(arguments[0], arguments, environ)
    return subprocess.run(arguments, env=environ, check=False).returncode


def _check_job(n: int, words: Sequence[str]) -> None:
    """Raise :class:`InputError` where no job can come of ``-n n words``."""
    if n < 1:
        raise InputError(f"-n {n} asks for {n} ranks; give 1 or more")
    if not words:
        raise InputError(
            "nothing to run; say what, for example "
            f"'minigrad launch -n {n} train digits' or 'minigrad launch -n {n} script.py'"
        )
    if _is_script(words[0]) and not Path(words[0]).is_file():
        raise InputError(f"there is no script '{words[0]}' in {Path.cwd()}")


def _checkpoint_of(words: Sequence[str]) -> Path | None:
    """Where ``train`` with these ``words`` saves its checkpoints; None where it takes no such."""
    from minigrad.settings import add_options, checkpoint_path

    parser = Parser(add_help=False)
    add_options(parser)
    try:
        given = vars(parser.parse_known_args(words)[0])
    except InputError:  # train itself will say so, better
        return None
    return checkpoint_path(given["data"], given.get("path", ""), given.get("out", ""))


def _is_script(word: str) -> bool:
    return word.endswith(".py") or os.path.dirname(word) != ""


def job(
    n: int, words: Sequence[str], environ: Mapping[str, str], *, elastic: bool = False
) -> tuple[list[str], dict[str, str]]:
    """:func:`command` for this machine, its cores and user, with the launcher that fits."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return command(
        n, words, launcher=find_launcher(), cores=core_count(), environ=environ, root=root,
        elastic=elastic,
    )  # fmt: skip


def command(
    n: int,
    words: Sequence[str],
    *,
    launcher: Launcher,
    cores: int,
    environ: Mapping[str, str],
    root: bool = False,
    elastic: bool = False,
) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of the job of ``n`` ranks that ``words`` ask for.

    ``words`` are a script (a name ending in .py or with a folder, ``./train``), options and
    arguments for Python itself (``-c``, ``-m``, …), or else a minigrad command. Threads of BLAS and
    OpenMP are capped at each rank's share of ``cores``, unless ``environ`` says otherwise.
    ``elastic`` lets ranks outlive others, and raises :class:`InputError` where the launcher cannot.
    """
    flags = []
    if elastic and launcher.family != "Open MPI":
        raise InputError(
            f"--elastic: {launcher.family or launcher.path} ends the job when a rank is killed; "
            "Open MPI does not, so make a new environment with it: in minigrad's folder run "
            "python -m pip install -e '.[mpi-elastic]'"
        )
    if launcher.family == "Open MPI":
        # it counts physical cores as slots, and ties each of two ranks to a single core
        flags = ["--oversubscribe", "--bind-to", "none"] + ["--allow-run-as-root"] * root
        flags += ["--with-ft", "ulfm"] * elastic
    for_python = words[0].startswith("-") or _is_script(words[0])
    program = [sys.executable, *([] if for_python else ["-m", "minigrad"]), *words]
    settings = dict(environ) | thread_caps(n, cores, environ)
    return [launcher.path, *flags, "-n", str(n), *program], settings


def find_launcher() -> Launcher:
    """The ``mpiexec`` of the MPI that mpi4py is linked with.

    Looks beside this Python first, where a wheel puts it, then along PATH. Raises
    :class:`MissingExtra` where mpi4py or any launcher is missing, :class:`InputError` where all
    launchers belong to other MPIs.
    """
    library = library_version()
    wanted = family(library)
    found = [launcher_at(path) for path in candidates()]
    for launcher in found:
        if launcher.family == wanted:
            return launcher
    name = short_name(library)
    if not found:
        raise MissingExtra(
            f"there is no mpiexec beside {sys.executable} or on PATH, and mpi4py uses {name}; "
            "in minigrad's folder run: python -m pip install -e '.[mpi]'"
        )
    others = ", ".join(f"{one.path} ({one.family or 'of an unknown MPI'})" for one in found)
    raise InputError(
        f"mpi4py uses {name}, and no launcher of that MPI was found, only {others}; "
        "install the MPI that mpi4py uses, or in minigrad's folder run: "
        "python -m pip install -e '.[mpi]'"
    )


def candidates() -> list[str]:
    """Each ``mpiexec`` and ``mpirun`` beside this Python and first on PATH, without repetition."""
    places = (str(Path(sys.executable).parent), None)
    paths = [shutil.which(name, path=at) for at in places for name in ("mpiexec", "mpirun")]
    return list(dict.fromkeys(path for path in paths if path))


def launcher_at(path: str) -> Launcher:
    """The launcher at ``path``, with its family, which it is asked for."""
    try:
        answer = _run([path, "--version"], timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return Launcher(path, "")
    return Launcher(path, family(answer.stdout + answer.stderr))


def library_version() -> str:
    """What the MPI library of mpi4py calls itself; MPI is not initialised for it."""
    require("mpi4py", "mpi")
    answer = _run([sys.executable, "-c", _ASK_LIBRARY], timeout=60)
    if answer.returncode:
        raise MissingExtra(
            f"mpi4py cannot load an MPI library ({(answer.stderr.strip() or '?').splitlines()[-1]})"
            "; in minigrad's folder run: python -m pip install -e '.[mpi]'"
        )
    return answer.stdout.strip()


def family(text: str) -> str:
    """Which family of MPI a version text speaks of; "" if it is none that is known."""
    text = text.lower()
    return next(
        (name for name, signs in _FAMILIES.items() if any(sign in text for sign in signs)), ""
    )


def short_name(library: str) -> str:
    """The name and version in what an MPI library says of itself: "MPICH 5.0.2"."""
    first = library.partition("\n")[0].partition(",")[0]
    return " ".join(first.replace("Version:", "").split())


def _run(arguments: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        env=outside_mpi(os.environ),
        check=False,
    )
