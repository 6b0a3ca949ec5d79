"""Every demo, on ranks as processes and as threads: what it claims, and the picture it leaves."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from mpirun import mpirun

from minigrad import cli
from minigrad.demos import DEMOS

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# what is printed whatever the machine does; numbers that follow are compared with the bound
EXACT: dict[str, list[str]] = {
    "ring": [
        r"each rank sent (\d+) messages, ([\d,]+) bytes; the lower bound is \2",
        r": 0 for whole numbers",
    ],
    "collectives": [r"fitted: α = [\d.e+-]+ µs", r"4 MiB: \w+ was the fastest"],
    "data-parallel": [r"naive +8 ", r"flat +1 ", r"bucketed +4 "],
    "average": [r"parameter server +(\d+\.\d+) ", r"local SGD, every 8 +(\d+\.\d+) "],
    "compression": [r"none +(\d+\.\d+) +100\.0% ", r"float16 +(\d+\.\d+) +50\.\d% "],
    "zero": [r"(?m)^0 .* 0$", r"(?m)^1 .* 0$", r"(?m)^2 .* 0$"],
    "tensor": [r"forward: +1 all-reduce and 0 other", r"backward: +1 all-reduce and 0 other"],
    "pipeline": [r"naive +\d\d\.\d% ", r"gpipe .*(8( 8)+)  +\1 ", r"1f1b .*( 4 3)? 2 1  .* 2 1 "],
    "mesh": [r"1 × 2 × (1|2) "],
    "same": [r"(?m)^6 "],
}
ROUNDING = {
    # the column or line whose numbers are differences, none larger than rounding explains
    "data-parallel": r"(?m)^(?:naive|flat|bucketed) .* (\S+)$",
    "average": r"(?m)^(?:parameter server|local SGD, every step) .* (\S+)$",
    "tensor": r"(?m)^  (?:outputs|gradient).* (\S+)$",
    "pipeline": r"± (\S+)",
    "mesh": r"(?m)^\d+ × \d+ × \d+ +(\S+)",
    "same": r"(?m)^\d +\S+ +\S+ +(\S+)",
}


def holds(name: str, said: str, folder: Path) -> None:
    """Assert that a demo said what is true on any machine, and drew its picture."""
    for pattern in EXACT[name]:
        assert re.search(pattern, said), f"{name} did not say {pattern!r}:\n{said}"
    if name in ROUNDING:
        found = [float(text) for text in re.findall(ROUNDING[name], said)]
        assert found, said
        assert max(found) < 1e-12, said
    assert len(said.splitlines()) <= 33, said
    picture = folder / f"{name}.png"
    assert said.endswith(f"\npicture: {picture}\n")
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert 600 <= width <= 2400
    assert 400 <= height <= 2400
    assert len(data) > 5000, "an empty picture"


@pytest.fixture
def capped(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS threads as a person has set them, which a demo leaves alone."""
    for name in THREADS:
        monkeypatch.setenv(name, "1")


@pytest.mark.mpi
def test_every_demo_on_two_processes(tmp_path: Path) -> None:
    # in one job: a job a demo would spend its time on starting Python
    code = (
        "from minigrad import demos\n"
        f"for name in {list(DEMOS)}:\n"
        f"    demos.main([name, '--out', {str(tmp_path)!r}])\n"
    )
    done = mpirun(2, "-W", "error", "-c", code, timeout=120)
    assert done.returncode == 0, done.stderr
    parts = re.split(r"(?<=\.png\n)(?=\S)", done.stdout)
    assert [part.partition(":")[0] for part in parts] == list(DEMOS)
    for name, said in zip(DEMOS, parts, strict=True):
        assert "threads of it" not in said
        holds(name, said, tmp_path)


@pytest.mark.usefixtures("capped")
@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_in_one_process(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    assert cli.main(["demo", name, "--out", str(folder)]) == 0
    said, complaints = capsys.readouterr()
    assert complaints == ""
    assert f"for processes: mpirun -n 4 minigrad demo {name}\n" in said
    holds(name, said, folder)


@pytest.mark.mpi
def test_more_ranks_than_cores_are_said_to_take_turns(tmp_path: Path) -> None:
    code = (
        "from minigrad.demos import command\n"
        "command.core_count = lambda: 1\n"
        f"command.main(['tensor', '--out', {str(tmp_path)!r}])\n"
    )
    done = mpirun(3, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("note: 3 ranks share 1 core: times show") == 1
    holds("tensor", done.stdout, tmp_path)


@pytest.mark.usefixtures("capped")
def test_where_no_rank_shares_a_core_nothing_is_said_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minigrad.demos.command.core_count", lambda: 4)
    assert cli.main(["demo", "tensor", "--out", str(tmp_path)]) == 0
    assert "ranks share" not in capsys.readouterr().out


def test_without_a_name_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo"]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[1:]] == list(DEMOS)
    assert max(map(len, said.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rings"], "unknown demo 'rings': did you mean 'ring'?"),
        (["ring", "--ou", "x", "--loud"], "unrecognized arguments: --loud"),
    ],
)
def test_what_is_not_known(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["demo", "ring", "--out", str(tmp_path / "file" / "folder")]) == 2
    said, complaint = capsys.readouterr()
    assert said == ""
    assert "cannot be written" in complaint
    assert "--out" in complaint


@pytest.mark.mpi
def test_a_folder_that_rank_0_cannot_make_ends_all_ranks_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = mpirun(2, "-m", "minigrad", "demo", "ring", "--out", str(tmp_path / "file"))
    assert done.returncode != 0
    assert done.stderr.count("cannot be written") == 1, done.stderr
    assert "Traceback" not in done.stderr
