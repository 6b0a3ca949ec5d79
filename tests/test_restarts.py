"""`minigrad launch --restarts`: which ends are failures, what a job is told, and a killed rank."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from mpirun import kill_rank, until_epoch
from test_launch import start
from tiny import facts

from minigrad import checkpoint, launch, restarts
from minigrad.errors import InputError
from minigrad.restarts import with_restarts


def job(code: str, *words: str) -> tuple[list[str], dict[str, str]]:
    """A process that runs ``code``, where k is the number of restarts."""
    begin = f"import os, sys, time; k = int(os.environ['{restarts.VARIABLE}']); "
    return [sys.executable, "-S", "-c", begin + code, *words], dict(os.environ)


@pytest.mark.parametrize(
    ("ends", "allowed", "result", "starts"),
    [
        ([0], 3, 0, 1),
        ([1, 9, 0], 3, 0, 3),
        ([1, 1, 1], 2, 1, 3),
        ([5], 0, 5, 1),
        ([2], 3, 2, 1),
        ([130], 3, 130, 1),
        ([143], 3, 143, 1),
        ([1, 2], 3, 2, 2),
    ],
)
def test_how_often_a_job_is_started(
    ends: list[int], allowed: int, result: int, starts: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    code = f"open(sys.argv[1], 'a').write(str(k)); sys.exit({ends}[k])"
    assert with_restarts(lambda resume: job(code, str(log)), allowed) == result
    assert log.read_text() == "".join(map(str, range(starts)))


def save(path: Path, epoch: int) -> None:
    checkpoint.save(path, {}, {"run": {"epoch": epoch}})


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize(
    ("saves", "resumes", "says"),
    [
        ([], [False, False, False], ["begins anew", "begins anew"]),
        ([1], [False, False, True], ["begins anew", "goes on after epoch 11"]),
        ([0, 1], [False, True, True], ["goes on after epoch 10", "goes on after epoch 11"]),
    ],
)
def test_only_a_checkpoint_of_this_job_is_gone_on_from(
    earlier: bool,
    saves: list[int],
    resumes: list[bool],
    says: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "checkpoint"
    if earlier:
        save(path, 99)
    for k in saves:
        save(tmp_path / str(k), 10 + k)
    given = []
    code = f"(k in {saves}) and os.replace(sys.argv[1] + str(k), sys.argv[2]); sys.exit(9)"

    def begin(resume: bool) -> tuple[list[str], dict[str, str]]:
        given.append(resume)
        return job(code, f"{tmp_path}{os.sep}", str(path))

    assert with_restarts(begin, 2, path) == 9
    assert given == resumes
    wanted = [
        f"minigrad launch: the job ended with code 9; attempt {number} of 3 {what}"
        for number, what in enumerate(says, 2)
    ]
    assert capfd.readouterr().err.splitlines() == wanted


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_once_and_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        f"import signal; heard = []; signal.signal({int(number)}, lambda *_: heard.append(1)); "
        "open(sys.argv[1], 'a').write('ready '); deadline = time.monotonic() + 20\n"
        "while not heard and time.monotonic() < deadline: time.sleep(0.01)\n"
        "time.sleep(0.1); open(sys.argv[1], 'a').write(f'{k} {len(heard)}'); sys.exit(7)"
    )

    def send() -> None:
        give_up = time.monotonic() + 20
        while not log.exists() and time.monotonic() < give_up:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=send)
    thread.start()
    assert with_restarts(lambda resume: job(code, str(log)), 3) == 7
    thread.join()
    assert log.read_text() == "ready 0 1"
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ("digits --epochs 3", "runs/digits"),
        ("csv a/table.csv --target kind --hidden 3,4", "runs/table"),
        ("wine --out=x/y --batch-norm", "x/y"),
        ("wine --hidden nonsense", None),
        ("--epochs 3", None),
    ],
)
def test_where_the_checkpoint_is(words: str, where: str | None) -> None:
    wanted = where and Path(where) / "checkpoint.safetensors"
    assert launch._checkpoint_of(words.split()) == wanted


def test_a_number_of_restarts_that_cannot_be() -> None:
    with pytest.raises(InputError, match="--restarts -1: at least 0"):
        launch.main(["-n", "2", "--restarts", "-1", "train", "digits"])


@pytest.mark.mpi
def test_a_killed_rank_changes_nothing_of_the_result(tmp_path: Path) -> None:
    words = "train digits --epochs 8 --hidden 32 --batch-size 100 --dropout 0.2 --out"
    cut, whole = str(tmp_path / "cut"), str(tmp_path / "whole")
    disturbed = start(*f"-n 2 --restarts 2 {words} {cut}".split())
    undisturbed = start(*f"-n 2 {words} {whole}".split())
    try:
        until_epoch(3, Path(cut), disturbed)
        kill_rank(1, cut)
        _, err = disturbed.communicate(timeout=60)
        undisturbed.communicate(timeout=60)
    finally:
        disturbed.kill()
        undisturbed.kill()
    assert (disturbed.returncode, undisturbed.returncode) == (0, 0), err
    assert err.count("attempt 2 of 3 goes on after epoch") == 1, err
    assert "attempt 3" not in err

    def found(folder: str, name: str) -> str:
        return Path(folder, name).read_text()

    assert found(cut, "metrics.json") == found(whole, "metrics.json")
    histories = [
        facts([json.loads(line) for line in found(folder, "history.jsonl").splitlines()])
        for folder in (cut, whole)
    ]
    assert histories[0] == histories[1]
    state, twin = (
        checkpoint.load(Path(folder, "checkpoint.safetensors"))[0] for folder in (cut, whole)
    )
    assert state.keys() == twin.keys()
    for name in state:
        np.testing.assert_array_equal(state[name], twin[name], err_msg=name)
