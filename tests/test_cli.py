"""The command line: what a run leaves behind, and the sentence that each mistake gets."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpirun import ROOT, mpirun

from minigrad import __version__, checkpoint, cli, doctor, plot, recipe
from minigrad.data import load
from minigrad.distributed import Communicator
from minigrad.errors import InputError, SharedError
from minigrad.settings import ACTIVATIONS, Settings
from minigrad.testing import run_ranks
from minigrad.train import Callback

RECORD = {
    "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "grad_norm",
    "samples_per_s", "seconds",
}  # fmt: skip
ROWS = "1,2,x\n3,4,y\n5,6,x\n7,8,y\n9,9,x\n8,7,y\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures, and no waiting for the disk: for tests of something else."""
    for picture in ("curves", "confusion"):
        monkeypatch.setattr(plot, picture, lambda *data: None)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def train(*words: str) -> int:
    return cli.main(["train", *words])


def history(folder: str | Path) -> list[dict[str, Any]]:
    lines = (Path(folder) / "history.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert all(record.keys() == RECORD for record in records)
    for record in records:
        del record["seconds"], record["samples_per_s"]
    return records


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


# --- what a run leaves --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of ``minigrad train digits``, as a person would start it."""
    folder = tmp_path_factory.mktemp("digits")
    job = subprocess.run(
        [sys.executable, "-m", "minigrad", "train", "digits"],
        cwd=folder, env=os.environ | {"PYTHONPATH": ROOT}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (job.returncode, job.stderr) == (0, "")
    return folder / "runs" / "digits", job.stdout


def forward(tensors: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The articles' network in plain NumPy."""
    for layer in (0, 2, 4):
        w, b = (tensors[f"model/layers.{layer}.{name}"] for name in ("weight", "bias"))
        x = x @ w + b if layer == 4 else np.maximum(x @ w + b, 0)
    return x


def test_digits_is_learned_and_what_is_told_is_so(digits: tuple[Path, str]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    folder, said = digits
    table = json.loads((folder / "metrics.json").read_text())
    assert table["accuracy"] >= 0.97
    data = load("digits")
    tensors, meta = checkpoint.load(folder / "checkpoint.safetensors")
    logits = forward(tensors, data.x_test)
    guess = logits.argmax(1)
    p = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    y = data.y_test
    expected = {
        "accuracy": sklearn.accuracy_score(y, guess),
        "precision": sklearn.precision_score(y, guess, average="macro"),
        "recall": sklearn.recall_score(y, guess, average="macro"),
        "F1": sklearn.f1_score(y, guess, average="macro"),
        "AUC, one-vs-rest": sklearn.roc_auc_score(y, p, multi_class="ovr"),
    }
    assert table == pytest.approx(expected, abs=1e-6)
    for name, value in table.items():
        assert re.search(rf"{name} +{value:.4f}\n", said)
    records = history(folder)
    assert [record["epoch"] for record in records] == [*range(1, 31)]
    assert records[-1]["val_accuracy"] == table["accuracy"]
    assert records[-1]["loss"] < records[0]["loss"] / 20
    assert meta["run"]["epoch"] == 30
    assert len(re.findall(r"^ +\d+ +\d\.\d{4}", said, re.M)) == 30


def test_digits_leaves_its_files(digits: tuple[Path, str]) -> None:
    folder, said = digits
    wanted = [
        "history.jsonl", "config.json", "metrics.json", "checkpoint.safetensors", "curves.png",
        "confusion.png",
    ]  # fmt: skip
    assert {path.name for path in folder.iterdir()} - {"tensorboard"} == set(wanted)
    assert f"results in runs/digits/: {', '.join(wanted)}" in said
    assert all(is_picture(folder / name) for name in ("curves.png", "confusion.png"))
    config = json.loads((folder / "config.json").read_text())
    assert config["hidden"] == [128, 64]
    assert (config["ranks"], config["minigrad"]) == (1, __version__)


def test_most_seeds_learn_digits(here: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "Checkpoints", lambda *options: Callback())
    reached = []
    for seed in range(1, 6):
        assert train("digits", "--seed", str(seed)) == 0
        reached.append(json.loads(Path("runs/digits/metrics.json").read_text())["accuracy"])
    assert sorted(reached)[1] >= 0.97


def test_two_classes_get_a_roc_curve(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("breast_cancer", "--balanced", "--epochs", "8") == 0
    folder = here / "runs" / "breast_cancer"
    table = json.loads((folder / "metrics.json").read_text())
    assert is_picture(folder / "roc.png")
    assert "AUC" in table
    assert min(table.values()) > 0.93
    assert "roc.png" in capsys.readouterr().out


def test_a_persons_own_file(here: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f};{b:.3f};{'up' if a > b else 'down'}" for a, b in rng.normal(size=(80, 2))]
    Path("my table.csv").write_text("a;b;way\n" + "\n".join(lines))
    assert train("csv", "my table.csv", "--target", "way", "--epochs", "20", "--lr", "0.01") == 0
    table = json.loads(Path("runs/my table/metrics.json").read_text())
    assert table["accuracy"] > 0.9


EVERYTHING = {
    "hidden": [16], "activation": "prelu", "init": "xavier_normal", "dropout": 0.2,
    "batch_norm": True, "balanced": True, "optimizer": "lamb", "lr": 0.01, "schedule": "plateau",
    "weight_decay": 0.01, "l1": 1e-4, "l2": 1e-4, "clip_norm": 1.0, "batch_size": 50,
    "micro_batches": 2, "patience": 2, "seed": 3, "dtype": "float64", "check_every": 1,
    "test_size": 0.3, "epochs": 4, "out": "a/b", "device": "cpu",
    "elastic": True, "tensor": 1, "pipeline": 1, "pipeline_schedule": "gpipe", "zero": 0,
    "reducer": "flat", "compress": "none", "local_steps": 0, "algorithm": "ring", "timeout": 60.0,
    "check_collectives": True, "trace": "trace.json",
}  # fmt: skip


def test_every_setting_is_heard(here: Path) -> None:
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert fields - EVERYTHING.keys() == {"data", "path", "target", "missing", "delimiter"}
    words = []
    for name, value in EVERYTHING.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words += ["--" + name.replace("_", "-")] + [text] * (value is not True)
    assert train("wine", *words) == 0
    config = json.loads(Path("a/b/config.json").read_text())
    assert config | EVERYTHING == config
    tensors, _ = checkpoint.load("a/b/checkpoint.safetensors")
    assert {a.dtype.name for a in tensors.values() if a.dtype.kind == "f"} == {"float64"}
    assert tensors["model/layers.0.weight"].shape == (13, 16)
    assert "model/layers.0.bias" not in tensors  # batch norm would take it away again


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_keeps_the_dtype(activation: str) -> None:
    settings = Settings("wine", activation=activation, dtype="float64", batch_norm=True)
    model = recipe.build_model(settings, load("wine", dtype="float64"))
    optimizer = recipe.build_optimizer(settings, model, 10)
    assert [arena.data.dtype for arena in optimizer.arenas] == [np.float64]


def test_going_on_gives_the_same_history(
    here: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["iris", "--schedule", "constant", "--dropout", "0.2"]
    assert train(*options, "--epochs", "4", "--out", "whole") == 0
    assert train(*options, "--epochs", "2", "--out", "cut") == 0
    assert len(history("cut")) == 2
    assert train(*options, "--epochs", "4", "--out", "cut", "--resume") == 0
    assert "going on after epoch 2" in capsys.readouterr().out
    assert history("cut") == history("whole")
    assert files(Path("cut"))["metrics.json"] == files(Path("whole"))["metrics.json"]


def test_what_is_not_said_again_comes_from_the_run(here: Path, quick: None) -> None:
    words = "--epochs 2 --schedule constant --lr 0.01 --hidden 7 --out run"
    assert train("iris", *words.split()) == 0
    assert train("iris", "--resume", "--epochs", "4", "--out", "run") == 0
    assert [record["lr"] for record in history("run")] == [0.01] * 4
    assert train("iris", "--resume", "--lr", "0.02", "--out", "run") == 2


def test_early_stopping_says_so(
    here: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("iris", "--lr", "1e-30", "--patience", "3", "--epochs", "50") == 0
    said = "stopped early: val_loss has not improved for 3 epochs"
    assert said in capsys.readouterr().out
    assert len(history("runs/iris")) == 4


def seed_of(folder: Path) -> int:
    return json.loads((folder / "config.json").read_text())["seed"]


def test_an_earlier_run_is_moved_aside_and_nothing_else(tmp_path: Path, quick: None) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    for seed in ("1", "2", "3"):
        assert train("iris", "--epochs", "1", "--seed", seed, "--out", str(folder)) == 0
    places = [folder, tmp_path / "mine.1", tmp_path / "mine.2"]
    assert sorted(tmp_path.iterdir()) == places
    assert [seed_of(place) for place in places] == [3, 1, 2]
    assert [place for place in places if (place / "mine.txt").exists()] == [folder]
    assert {*os.listdir(places[1])} == {*os.listdir(folder)} - {"mine.txt"}


def test_runs_that_fail_push_no_good_one_out(here: Path, quick: None) -> None:
    words = ["iris", "--epochs", "1", "--dtype", "float64"]
    assert train(*words) == 0
    good = files(Path("runs/iris"))
    for seed in "123":
        assert train(*words, "--lr", "1e300", "--seed", seed) == 2
    assert train(*words) == 0
    assert sorted(os.listdir("runs")) == ["iris", "iris.1"]
    assert files(Path("runs/iris.1")) == good


# --- what bad input gets ------------------------------------------------------------------------

# words after "train": what the sentence must hold
MISTAKES: dict[str, str] = {
    "": "the following arguments are required: data",
    "digts": "unknown data set 'digts': did you mean 'digits'? choose one of breast_cancer, csv, d",
    "diabetes": "diabetes has no classes",
    "digits --bogus 1": "unrecognized arguments: --bogus 1",
    "digits --optimiser adam": "--optimiser adam: did you mean --optimizer?",
    "digits --optimizer adm": "unknown optimizer 'adm': did you mean 'adam'? choose one of adagra",
    "digits --schedule cosin": "unknown schedule 'cosin': did you mean 'cosine'? choose one of",
    "digits --activation rlu": "unknown activation 'rlu': did you mean 'relu'? choose one of elu",
    "digits --init he_norml": "unknown initialiser 'he_norml': did you mean 'he_normal'? choose",
    "digits --dtype float16": "unknown dtype 'float16': did you mean 'float64'? choose one of",
    "digits --device gpu": "unknown device 'gpu': give 'cpu', 'cuda' or 'cuda:0'",
    "digits --lr 0": "--lr 0.0: a learning rate must be above 0, for example 0.001",
    "digits --lr -1": "--lr -1.0: a learning rate must be above 0",
    "digits --lr nan": "--lr nan: a learning rate must be above 0",
    "digits --lr inf": "--lr inf: a learning rate must be above 0",
    "digits --lr fast": "argument --lr: invalid float value: 'fast'",
    "digits --epochs 0": "--epochs 0: at least 1",
    "digits --epochs 1.5": "argument --epochs: invalid int value: '1.5'",
    "digits --batch-size 0": "--batch-size 0: at least 1",
    "digits --micro-batches 0": "--micro-batches 0: at least 1",
    "digits --micro-batches 33": "has at most 32 parts",
    "digits --trace /proc/none/t.json": "folder '/proc/none' for the trace cannot be written",
    "digits --clip-norm -1": "--clip-norm -1.0: at least 0",
    "digits --l1 nan": "--l1 nan: at least 0",
    "digits --patience -1": "--patience -1: at least 0",
    "digits --seed -1": "--seed -1: at least 0",
    "digits --seed 5000000000": "give a whole number from 0 to 4294967295",
    "digits --hidden 12,0": "--hidden (12, 0): give sizes of at least 1, such as 128,64",
    "digits --hidden 12,x": "argument --hidden: '12,x': give whole numbers, such as 128,64",
    "digits --dropout 1": "rate must be in [0, 1), 1.0 was given",
    "digits --dropout -0.5": "rate must be in [0, 1), -0.5 was given",
    "digits --test-size 1.5": "give a number between 0 and 1, such as 0.2",
    "digits --test-size 0.001": "each part needs at least 10, one for every class",
    "digits --out file": "the folder 'file' for the results cannot be written (File exists); name",
    "digits --out file/x": "'file/x' for the results cannot be written (Not a directory); name",
    "digits --resume": "there is no runs/digits/checkpoint.safetensors to go on from; leave --res",
    "digits table.csv": "a path or --target goes with csv only, not with digits",
    "csv": "csv needs a file and a column: minigrad train csv FILE --target COLUMN",
    "csv table.csv": "minigrad train csv FILE --target COLUMN",
    "csv nowhere.csv --target c": "nowhere.csv cannot be read (No such file or directory); give",
    "csv . --target c": ". cannot be read (Is a directory); give the path of a CSV file",
    "csv table.csv --target clas": "line 1: unknown target column 'clas': did you mean 'class'?",
    "csv table.csv --target class --delimiter ::": "give a single character, such as ',' or ';'",
    "csv table.csv --target class --missing skip": "unknown way to treat missing values 'skip'",
    "csv missing.csv --target class": "1 missing value(s), the first on line 3 in column 'b'",
    "csv text.csv --target class": "text.csv, line 4, column 'a': 'five' is not a finite number",
    "csv ragged.csv --target class": "ragged.csv, line 3: 2 cells, but line 1 names 3 columns",
    "csv norows.csv --target class": "norows.csv: there are no rows below the column names",
    "csv empty.csv --target class": "empty.csv is empty: its first line must name the columns",
    "csv one.csv --target class": "every row is of class 'x', but telling classes apart needs",
    "csv binary.csv --target class": "binary.csv, line 2: byte 0xff is not UTF-8 text; save",
    "csv few.csv --target class": "fewer than two rows in class 'y'",
    "csv number.csv --target b": "different numbers with fractions look like a quantity",
    "csv table.csv --target class --test-size 0.01": "each part needs at least 2, one for every",
}  # fmt: skip
TABLES = {
    "table.csv": ROWS,
    "missing.csv": ROWS.replace("3,4,y", "3,,y"),
    "text.csv": ROWS.replace("5,6", "five,6"),
    "ragged.csv": ROWS.replace("3,4,y", "3,4"),
    "norows.csv": "",
    "one.csv": ROWS.replace("y", "x"),
    "binary.csv": ROWS.replace("1,2", "1,\udcff"),
    "few.csv": "1,2,x\n3,4,y\n5,6,x\n",
    "number.csv": "".join(f"1,{i}.5,0\n" for i in range(40)),
}


def fails(
    words: Sequence[str], says: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """Assert that a command ends with one sentence and code 2, and changes no file."""
    before = files(folder)
    capsys.readouterr()
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert err.startswith("minigrad: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert out == ""
    assert files(folder) == before


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_gets_a_sentence(
    words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rows in TABLES.items():
        Path(name).write_text("a,b,class\n" + rows, errors="surrogateescape")
    Path("empty.csv").write_text("")
    Path("file").write_text("in the way")
    fails(["train", *words.split()], MISTAKES[words], capsys, here)


def damage(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def flip(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 4]) + data[-8:]


def older_format(data: bytes) -> bytes:
    return data.replace(b'\\"version\\":1', b'\\"version\\":9')


# options of the run that goes on, what happens to the checkpoint, and the sentence
RESUMES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "settings": ("--lr 0.5 --seed 1", Path, "lr was 0.002, now 0.5; seed was 0, now 1; give the"),
    "epochs": ("--epochs 9", Path, "from a run with other settings: epochs was 1, now 9"),
    "truncated": ("", damage(lambda data: data[:-100]), "is damaged: it was cut short or altered"),
    "one byte": ("", damage(flip), "is damaged: it was cut short or altered after it was saved"),
    "version": ("", damage(older_format), "has format version 9, and this minigrad reads version"),
    "empty": ("", damage(lambda data: b""), "is empty; give a checkpoint that minigrad has saved"),
    "pickle": (
        "", damage(lambda data: pickle.dumps({"model": 1})),
        "looks like a pickle or an archive of pickles, as PyTorch writes them; minigrad never load",
    ),
    "no run": ("", lambda p: checkpoint.save(p, {"w": np.ones(2)}, {}), "holds no training run"),
    "folder": ("", lambda p: (p.unlink(), p.mkdir()), "cannot be read (Is a directory)"),
}  # fmt: skip


@pytest.mark.parametrize("case", RESUMES)
def test_a_checkpoint_to_resume_that_is_no_good(
    case: str, here: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    options, spoil, says = RESUMES[case]
    words = ["iris", "--hidden", "4"]
    assert train(*words, "--epochs", "1") == 0
    spoil(here / "runs" / "iris" / "checkpoint.safetensors")
    again = ["train", *words, "--epochs", "1", "--resume", *options.split()]
    fails(again, says, capsys, here)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("", "step 2 (epoch 1, batch 2): the loss is nan and the gradient's norm nan; the first "
         "layer with such an output is layers.2, Dense(128, 64). Try a smaller learning rate, cl"),
        ("--optimizer sgd", "step 2 (epoch 1, batch 2): the loss is nan"),
        ("--dtype float64 --schedule constant --lr 1e300", "step 2 (epoch 1, batch 2): the loss"),
        ("--batch-size 2000", "the loss on samples not learned from is nan; the first layer with "
         "such an output is layers.2, Dense(128, 64). Try a smaller learning rate"),
    ],
)  # fmt: skip
def test_a_loss_that_is_not_finite(
    options: str, says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("digits", "--lr", "1e30", *options.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"minigrad: {says}")
    assert err.count("\n") == 1
    assert history("runs/digits") == []
    assert not Path("runs/digits/checkpoint.safetensors").exists()


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX can")
def test_a_full_disk_leaves_the_old_checkpoint(here: Path, quick: None) -> None:
    words = ["train", "iris", "--schedule", "constant"]
    assert cli.main([*words, "--epochs", "1"]) == 0
    path = here / "runs" / "iris" / "checkpoint.safetensors"
    old = path.read_bytes()
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    job = subprocess.run(
        [sys.executable, "-c", limited, "-m", "minigrad", *words, "--epochs", "3", "--resume"],
        env=os.environ | {"PYTHONPATH": ROOT}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert job.returncode == 2
    assert re.fullmatch(
        r"minigrad: \S+checkpoint\.safetensors could not be written \(File too large\), and "
        r"whatever was there before is unchanged; make room, or name a folder that exists .*\n",
        job.stderr,
    )
    assert path.read_bytes() == old
    assert not [p for p in path.parent.iterdir() if p.name.endswith(".tmp")]
    assert cli.main([*words, "--epochs", "3", "--resume"]) == 0
    assert len(history(path.parent)) == 3


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("ranks", "words", "says"),
    [
        (2, "digts", "unknown data set 'digts': did you mean 'digits'?"),
        (2, "digits --lr 0", "--lr 0.0: a learning rate must be above 0"),
        (3, "csv table.csv --target class --batch-size 2", "a batch of 2 is shared among 3 ranks"),
        (2, "digits --lr 1e30", "step 2 (epoch 1, batch 2): the loss is nan"),
    ],
)
def test_ranks_tell_a_mistake_once(ranks: int, words: str, says: str, here: Path) -> None:
    Path("table.csv").write_text("a,b,class\n" + ROWS)
    job = mpirun(ranks, "-m", "minigrad", "train", *words.split())
    assert job.returncode == 2
    assert job.stderr.count("minigrad: ") == 1
    assert says in job.stderr
    assert "Traceback" not in job.stderr


@pytest.mark.parametrize(
    ("ranks", "options", "says"),
    [
        (5, {}, "5 ranks share 4 samples, but each needs at least one; start at most 4 ranks"),
        (4, {"batch_size": 3}, "a batch of 3 is shared among 4 ranks, but each needs at least one r"
         "ow; give a batch size of at least 4, or start fewer ranks"),
        (2, {"out": "table.csv"}, "the folder 'table.csv' for the results cannot be written"),
    ],
)  # fmt: skip
def test_every_rank_raises_a_mistake(
    ranks: int, options: dict[str, Any], says: str, here: Path
) -> None:
    Path("table.csv").write_text("a,b,class\n" + ROWS)
    settings = Settings("csv", "table.csv", "class", **options)

    def job(comm: Communicator) -> str:
        with pytest.raises(SharedError) as caught:
            recipe.train(settings, comm)
        return str(caught.value)

    assert all(said.startswith(says) for said in run_ranks(ranks, job))
    assert os.listdir() == ["table.csv"]


# --- the command itself -------------------------------------------------------------------------


def test_debug_shows_the_traceback(here: Path) -> None:
    for place in (["--debug", "train", "digts"], ["train", "digts", "--debug"]):
        with pytest.raises(InputError, match="unknown data set"):
            cli.main(place)


def test_as_a_process(here: Path) -> None:
    for words, code, shown in ((["digts"], 2, False), (["digts", "--debug"], 1, True)):
        job = subprocess.run(
            [sys.executable, "-m", "minigrad", "train", *words],
            env=os.environ | {"PYTHONPATH": ROOT}, capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip
        assert (job.returncode, "Traceback" in job.stderr) == (code, shown)
        assert "unknown data set 'digts'" in job.stderr


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["train", "--help"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 0
    out = capsys.readouterr().out
    for text in ["--optimizer", "--resume", "(default: 128,64)"] if "train" in words else [
        "train", "launch", "doctor", "--version",
    ]:  # fmt: skip
        assert text in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert (end.value.code, capsys.readouterr().out) == (0, f"minigrad {__version__}\n")


def test_commands_beside_train(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "main", lambda words: len(words) + 40)
    assert cli.main(["doctor", "a", "b"]) == 42
    fails(["launch", "-n", "0", "train", "digits"], "-n 0 asks for 0 ranks", capsys, tmp_path)
    fails(["trian"], "unknown command 'trian': did you mean 'train'?", capsys, tmp_path)
