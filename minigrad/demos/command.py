"""``minigrad demo``: the list of demos, and how one is run on whatever ranks there are."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from minigrad.distributed import Communicator, world
from minigrad.distributed.host import cap_threads, core_count, launched_rank
from minigrad.distributed.threads import run_ranks
from minigrad.errors import require, unknown
from minigrad.files import make_folder
from minigrad.launch import Parser
from minigrad.train.together import or_end_the_job, together

__all__ = ["DEMOS", "main"]

DEMOS = {
    "ring": ("an all-reduce along a ring sends the least that any can (D2 §2.5)", "ring"),
    "collectives": ("which all-reduce is fastest, measured and predicted (D2 §2.5)", "collectives"),
    "data-parallel": ("three ways to add up the ranks' gradients (D3 §3.1.2)", "sending"),
    "average": ("parameters averaged, each step or now and then (D4 §3.3)", "average"),
    "compression": (
        "gradients sent as fewer bytes, and what that costs (D3 §3.1.2)",
        "compression",
    ),
    "zero": ("what every rank holds, divided among the ranks (D3 §3.1.2)", "zero"),
    "tensor": (
        "a layer's weights divided by columns, the next one's by rows (D3 §3.1.3)",
        "tensor",
    ),
    "pipeline": ("micro-batches keep the stages of a pipeline busy (D3 §3.1.3)", "pipeline"),
    "mesh": ("data, tensor and pipeline parallelism at once (D3 §3.1)", "mesh"),
    "same": ("any number of ranks train what one process trains (D3 §3.1.2)", "same"),
}
"""Name: what it shows, and the module here whose function demo(comm, folder) shows it."""

_THREADS = 4


def main(words: Sequence[str] | None = None) -> int:
    """List the demos, or run one; the result is the exit code."""
    parser = Parser(
        prog="minigrad demo",
        description="Run a demo of distributed training; without a name, list them.",
        epilog="for example: mpirun -n 2 minigrad demo ring",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help=", ".join(DEMOS))
    parser.add_argument(
        "--out",
        default=str(Path("runs", "demo")),
        metavar="FOLDER",
        help="where the picture goes (default: %(default)s)",
    )
    given = parser.parse_args(words)
    if given.name is None:
        if launched_rank(os.environ) == 0:
            print(_listing())
        return 0
    if given.name not in DEMOS:
        raise unknown("demo", given.name, DEMOS)
    require("matplotlib", "viz")
    comm = world()
    with or_end_the_job(comm):
        _run(given.name, comm, Path(given.out))
    return 0


def _run(name: str, comm: Communicator, folder: Path) -> None:
    with together(comm):
        if comm.rank == 0:
            make_folder(folder, "picture")
    text, module = DEMOS[name]
    demo = importlib.import_module(f"minigrad.demos.{module}").demo
    if comm.rank == 0:
        for line in (f"{name}: {text}", *_notes(name, comm)):
            print(line)
        print()
    if comm.size == 1:
        cap_threads(_THREADS)
        run_ranks(_THREADS, lambda rank: demo(rank, folder))
    else:
        demo(comm, folder)
    if comm.rank == 0:
        print(f"\npicture: {folder / name}.png")


def _listing() -> str:
    lines = [f"  {name:<14} {text}" for name, (text, _) in DEMOS.items()]
    return "\n".join(["demos, each run by 'mpirun -n N minigrad demo NAME':", *lines])


def _notes(name: str, comm: Communicator) -> list[str]:
    notes, ranks = [], comm.local_size
    if comm.size == 1:
        ranks = _THREADS
        notes.append(
            f"note: one process: {ranks} ranks as threads of it; for processes: "
            f"mpirun -n {ranks} minigrad demo {name}"
        )
    if ranks > (cores := core_count()):
        notes.append(
            f"note: {ranks} ranks share {cores} core{'s' * (cores > 1)}: times show them taking "
            "turns, not what as many cores would do"
        )
    return notes
