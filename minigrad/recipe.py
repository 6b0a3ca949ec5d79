"""``minigrad train``: from settings to a trained model and a folder of results."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad import nn, ops, optim, plot
from minigrad.autograd import Tensor
from minigrad.backend import Array, to_device
from minigrad.data import DataLoader, Dataset, from_csv, load
from minigrad.distributed import Communicator
from minigrad.errors import InputError, unknown
from minigrad.metrics import Average
from minigrad.train import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Evaluation,
    Interrupts,
    JsonLog,
    Loss,
    Progress,
    TensorBoard,
    evaluate,
    fit,
    restore,
    together,
)

__all__ = ["ACTIVATIONS", "Settings", "build_model", "build_optimizer", "train"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
_INTERRUPTED = {"SIGTERM": 143, "SIGINT": 130}


def _option(default: Any, text: str, metavar: str = "VALUE") -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "metavar": metavar})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides a run. The defaults train the articles' network (D4 §4)."""

    data: str
    path: str = ""
    target: str = _option("", "csv: the column with the classes", "COLUMN")
    missing: str = _option("error", "csv: missing values are an error, or drop the row, or mean")
    delimiter: str = _option("", "csv: what separates the columns; found out if not given")
    test_size: float = _option(0.2, "the share of the samples that is kept for testing", "SHARE")
    hidden: tuple[int, ...] = _option((128, 64), "sizes of the hidden layers", "SIZES")
    activation: str = _option("relu", "after each hidden layer", "NAME")
    init: str = _option("he_uniform", "initialiser of the hidden layers", "NAME")
    dropout: float = _option(0.0, "rate of dropout after each hidden layer", "RATE")
    batch_norm: bool = _option(False, "batch normalisation before each activation")
    balanced: bool = _option(False, "weight the loss so that every class counts alike")
    optimizer: str = _option("adam", "sgd, adam, adamw, rmsprop, adagrad, lion, lamb", "NAME")
    lr: float = _option(2e-3, "learning rate at the start", "RATE")
    schedule: str = _option("cosine", "constant, cosine, linear or plateau", "NAME")
    weight_decay: float = _option(0.0, "decoupled weight decay", "λ")
    l1: float = _option(0.0, "L1 penalty on weights", "λ")
    l2: float = _option(0.0, "L2 penalty on weights", "λ")
    clip_norm: float = _option(0.0, "clip the gradient to this global norm; 0 is off", "NORM")
    batch_size: int = _option(32, "samples in a batch, over all ranks", "N")
    micro_batches: int = _option(1, "accumulate the gradient over so many parts of a batch", "N")
    epochs: int = _option(30, "how often all samples are seen", "N")
    patience: int = _option(0, "stop after so many epochs without better test loss; 0 is off", "N")
    seed: int = _option(0, "of weights, split, order and dropout", "N")
    dtype: str = _option("float32", "float32 or float64", "NAME")
    device: str = _option("cpu", "cpu, cuda or cuda:N", "NAME")
    out: str = _option("", "folder for the results (default: runs/ and the data's name)", "FOLDER")
    check_every: int = _option(100, "compare the ranks' weights each so many steps; 0 is off", "N")

    def __post_init__(self) -> None:
        at_least = {
            "batch_size": 1, "micro_batches": 1, "epochs": 1, "seed": 0, "patience": 0,
            "check_every": 0, "clip_norm": 0, "weight_decay": 0, "l1": 0, "l2": 0,
        }  # fmt: skip
        for name, least in at_least.items():
            if not least <= getattr(self, name) < math.inf:
                raise InputError(
                    f"--{name.replace('_', '-')} {getattr(self, name)}: at least {least}"
                )
        if not 0 < self.lr < math.inf:
            raise InputError(f"--lr {self.lr}: a learning rate must be above 0, for example 0.001")
        if any(size < 1 for size in self.hidden):
            raise InputError(f"--hidden {self.hidden}: give sizes of at least 1, such as 128,64")
        for name, choices in (("activation", ACTIVATIONS), ("dtype", ("float32", "float64"))):
            if getattr(self, name) not in choices:
                raise unknown(name, getattr(self, name), choices)
        if self.data == "csv" and not (self.path and self.target):
            raise InputError(
                "csv needs a file and a column: minigrad train csv FILE --target COLUMN"
            )
        if self.data != "csv" and (self.path or self.target):
            raise InputError(f"a path or --target goes with csv only, not with {self.data}")

    @property
    def folder(self) -> Path:
        """Where results go: ``out``, or runs/ and the name of the data."""
        name = Path(self.path).stem if self.data == "csv" else self.data
        return Path(self.out) if self.out else Path("runs") / name

    def deciding(self) -> dict[str, Any]:
        """The settings that must be the same when a run goes on; more epochs may be asked for
        only where the schedule does not depend on their number."""
        free = {"out", "check_every", "device"} | (
            {"epochs"} if self.schedule == "constant" else set()
        )
        return {key: value for key, value in _plain(self).items() if key not in free}


def train(settings: Settings, comm: Communicator, *, resume: bool = False) -> int:
    """Train as ``settings`` say; the result is the exit code. Files are written by rank 0."""
    checkpoint = settings.folder / "checkpoint.safetensors"
    with together(comm):
        data = _data(settings)
        model = build_model(settings, data)
        loader = DataLoader(
            to_device(data.x_train, settings.device),
            to_device(data.y_train, settings.device),
            batch_size=settings.batch_size,
            seed=settings.seed,
            rank=comm.rank,
            size=comm.size,
        )
        optimizer = build_optimizer(settings, model, settings.epochs * len(loader))
        position = restore(checkpoint, model, optimizer, settings.deciding()) if resume else None
    validation = (to_device(data.x_test, settings.device), to_device(data.y_test, settings.device))
    with together(comm):
        if comm.rank == 0:
            _prepare(settings, comm, keep=resume)
            _announce(settings, data, model, comm, position)
    loss = _loss(settings, data)
    with Interrupts() as interrupts:
        callbacks: list[Callback] = [
            interrupts,
            Progress(len(loader)),
            JsonLog(settings.folder / "history.jsonl"),
            Checkpoints(checkpoint, settings.deciding()),
        ]
        if settings.patience:
            callbacks.append(EarlyStopping(settings.patience))
        if TensorBoard.available():
            callbacks.append(TensorBoard(settings.folder / "tensorboard"))
        began = time.perf_counter()
        run = fit(
            model, optimizer, loss, loader, epochs=settings.epochs, comm=comm,
            validation=validation, clip_norm=settings.clip_norm or None,
            micro_batches=settings.micro_batches, check_every=settings.check_every,
            callbacks=callbacks, resume=position,
        )  # fmt: skip
        seconds = time.perf_counter() - began
    if run.stop in _INTERRUPTED:
        if comm.rank == 0:
            print(
                f"{run.stop}: stopped after step {optimizer.steps}; {checkpoint} is saved, "
                "go on with --resume"
            )
        return _INTERRUPTED[run.stop]
    result = evaluate(model, loss, *validation, comm=comm, classes=data.classes)
    with together(comm):
        if comm.rank == 0:
            if run.stop:
                print(f"stopped early: {run.stop}")
            _report(settings.folder, data, result, run.history, seconds)
    return 0


def build_model(settings: Settings, data: Dataset) -> nn.Sequential:
    """Dense layers of the ``hidden`` sizes with their activation, then one of ``classes``."""
    rng = np.random.default_rng(settings.seed)
    layers: list[nn.Module] = []
    inputs = data.features
    for size in settings.hidden:
        layers.append(nn.Dense(inputs, size, rng=rng, init=settings.init, dtype=settings.dtype))
        if settings.batch_norm:
            layers.append(nn.BatchNorm1d(size, dtype=settings.dtype))
        layers.append(ACTIVATIONS[settings.activation]())
        if settings.dropout:
            layers.append(nn.Dropout(settings.dropout, rng=rng))
        inputs = size
    layers.append(nn.Dense(inputs, data.classes, rng=rng, dtype=settings.dtype))
    return nn.Sequential(*layers).to(settings.device)  # type: ignore[return-value]


def build_optimizer(settings: Settings, model: nn.Module, steps: int) -> optim.Optimizer:
    """The optimizer with its schedule over ``steps`` updates."""
    schedules: dict[str, Callable[[], optim.Schedule]] = {
        "constant": lambda: optim.Constant(settings.lr),
        "cosine": lambda: optim.Cosine(settings.lr, T=steps),
        "linear": lambda: optim.Polynomial(settings.lr, T=steps, alpha=1.0),
        "plateau": lambda: optim.ReduceOnPlateau(settings.lr),
    }
    if settings.schedule not in schedules:
        raise unknown("schedule", settings.schedule, schedules)
    return optim.class_by_name(settings.optimizer)(
        model,
        schedules[settings.schedule](),
        weight_decay=settings.weight_decay,
        l1=settings.l1,
        l2=settings.l2,
    )


def _data(settings: Settings) -> Dataset:
    options: dict[str, Any] = {
        "test_size": settings.test_size, "seed": settings.seed, "dtype": settings.dtype,
    }  # fmt: skip
    if settings.data == "csv":
        return from_csv(
            settings.path, settings.target, missing=settings.missing,
            delimiter=settings.delimiter or None, **options,
        )  # fmt: skip
    data = load(settings.data, **options)
    if not data.classes:
        raise InputError(f"{settings.data} has no classes: it is a regression, train classifies")
    return data


def _loss(settings: Settings, data: Dataset) -> Loss:
    """Cross-entropy summed over samples; ``balanced`` weights every class alike in sum."""
    counts = np.bincount(data.y_train, minlength=data.classes)
    weights = (len(data.y_train) / (data.classes * np.maximum(counts, 1))).astype(settings.dtype)
    weights = to_device(weights, settings.device)

    def loss(outputs: Tensor, labels: Array) -> Tensor:
        chosen = weights[labels] if settings.balanced else None
        return ops.cross_entropy(outputs, labels, weights=chosen, reduction="sum")

    return loss


def _prepare(settings: Settings, comm: Communicator, keep: bool) -> None:
    """Make the folder and write config.json; an earlier run there is moved aside."""
    folder = settings.folder
    try:
        if not keep and (folder / "config.json").exists():
            previous = folder.with_name(folder.name + ".previous")
            shutil.rmtree(previous, ignore_errors=True)
            folder.rename(previous)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            **_plain(settings),
            "ranks": comm.size,
            "minigrad": minigrad.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    except OSError as error:
        raise InputError(
            f"the folder '{folder}' for the results cannot be written ({error.strerror}); "
            "name another with --out"
        ) from error


def _announce(
    settings: Settings, data: Dataset, model: nn.Module, comm: Communicator, position: Any
) -> None:
    ranks = f"{comm.size} rank{'s' if comm.size > 1 else ''}"
    print(
        f"{data.name}: {len(data.y_train)} samples to train on, {len(data.y_test)} to test, "
        f"{data.features} features, {data.classes} classes; {ranks}, batches of "
        f"{settings.batch_size}, {settings.optimizer}"
    )
    print(nn.summary(model, (data.features,)))
    if position:
        print(f"going on after epoch {position['epoch']}, batch {position['batch']}")


def _report(
    folder: Path,
    data: Dataset,
    result: Evaluation,
    history: Sequence[dict[str, Any]],
    seconds: float,
) -> None:
    """Print the final table, write metrics.json, draw the pictures."""
    confusion, scores = result.confusion, result.scores
    average: Average = "binary" if data.classes == 2 else "macro"
    auc = scores.one_vs_rest_auc()
    table = {
        "accuracy": confusion.accuracy(),
        "precision": confusion.precision(average),
        "recall": confusion.recall(average),
        "F1": confusion.f1(average),
        "AUC, one-vs-rest": auc,
    }
    (folder / "metrics.json").write_text(json.dumps(table, indent=2) + "\n")
    print(f"\ntrained in {seconds:.1f} s; on {len(data.y_test)} test samples ({average} averages):")
    for name, value in table.items():
        print(f"  {name:<17} {value:.4f}")
    pictures = ["curves.png", "confusion.png"]
    plot.curves(history, folder / pictures[0])
    plot.confusion(confusion.matrix, folder / pictures[1], data.class_names)
    if data.classes == 2:
        pictures.append("roc.png")
        plot.roc(*scores.roc_curve()[:2], float(auc), folder / pictures[2])
    files = ["history.jsonl", "config.json", "metrics.json", "checkpoint.safetensors", *pictures]
    print(f"results in {folder}{'/' if not str(folder).endswith('/') else ''}: {', '.join(files)}")


def _plain(settings: Settings) -> dict[str, Any]:
    return {**dataclasses.asdict(settings), "hidden": list(settings.hidden)}
