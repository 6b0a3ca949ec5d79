"""Settings of ``minigrad train``: their defaults, what each means, what is out of range."""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

from minigrad import nn
from minigrad.errors import InputError, unknown

__all__ = [
    "ACTIVATIONS",
    "CARRIED_OUT",
    "CHECKPOINT",
    "Settings",
    "add_options",
    "checkpoint_path",
    "results_folder",
]

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


CHECKPOINT = "checkpoint.safetensors"
CARRIED_OUT = frozenset({
    "algorithm", "check_collectives", "check_every", "device", "elastic", "out", "pipeline",
    "pipeline_schedule", "reducer", "tensor", "timeout", "trace", "zero",
})  # fmt: skip
"""Settings that say how a run is carried out, not what comes of it: they may be others when it goes
on."""


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
    patience: int = _option(
        0,
        "stop after so many epochs without a better loss on the test part, "
        "which then is no independent judge; 0 is off",
        "N",
    )
    seed: int = _option(0, "of weights, split, order and dropout", "N")
    dtype: str = _option("float32", "float32 or float64", "NAME")
    device: str = _option("cpu", "cpu, cuda or cuda:N", "NAME")
    out: str = _option(
        "",
        "folder for the results (default: runs/ and the data's name); an earlier run's are "
        "moved to FOLDER.1, FOLDER.2, …",
        "FOLDER",
    )
    check_every: int = _option(100, "compare the ranks' weights each so many steps; 0 is off", "N")
    tensor: int = _option(1, "divide each layer's weights among so many ranks", "T")
    pipeline: int = _option(1, "divide the layers among so many ranks, as stages", "P")
    pipeline_schedule: str = _option("1f1b", "naive, gpipe or 1f1b", "NAME")
    zero: int = _option(
        0, "ZeRO stage: 1 divides the optimizer's state among ranks, 2 the gradients too", "STAGE"
    )
    reducer: str = _option(
        "bucketed",
        "how ranks' work is added up: naive, flat or bucketed gradients, or parameters on a server",
        "NAME",
    )
    compress: str = _option(
        "none", "send less than the gradients: float16, topk or powersgd", "NAME"
    )
    local_steps: int = _option(
        0, "average parameters each so many steps, instead of gradients in each; 0 is off", "N"
    )
    algorithm: str = _option(
        "mpi",
        "who adds up over ranks: mpi, or one that is written out: ring, rabenseifner, doubling, "
        "tree, root, hierarchical, ordered",
        "NAME",
    )
    timeout: float = _option(
        300.0, "end the job when a rank has been waited for so many seconds; 0 is never", "SECONDS"
    )
    check_collectives: bool = _option(
        False, "compare what ranks call before they carry it out, and show who called what"
    )
    trace: str = _option("", "write when ranks computed and waited, for Perfetto", "FILE")
    elastic: bool = _option(
        False, "ranks go on without those that are killed; start with minigrad launch --elastic"
    )

    def __post_init__(self) -> None:
        at_least = {
            "batch_size": 1, "micro_batches": 1, "epochs": 1, "seed": 0, "patience": 0,
            "check_every": 0, "clip_norm": 0, "tensor": 1, "pipeline": 1, "zero": 0,
            "local_steps": 0, "timeout": 0, "weight_decay": 0, "l1": 0, "l2": 0,
        }  # fmt: skip
        for name, least in at_least.items():
            if not least <= getattr(self, name) < math.inf:
                raise InputError(
                    f"--{name.replace('_', '-')} {getattr(self, name)}: at least {least}"
                )
        if self.micro_batches > self.batch_size:
            raise InputError(
                f"--micro-batches {self.micro_batches}: a batch of {self.batch_size} samples has "
                f"at most {self.batch_size} parts; give fewer, or a larger --batch-size"
            )
        if self.zero > 2:
            raise InputError(f"--zero {self.zero}: 1 and 2 are ZeRO's stages here, 0 is off")
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
        """Where results go."""
        return results_folder(self.data, self.path, self.out)

    def plain(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return {**dataclasses.asdict(self), "hidden": list(self.hidden)}

    def deciding(self) -> dict[str, Any]:
        """The settings that must be the same when a run goes on; more epochs may be asked for
        only where the schedule does not depend on their number."""
        free = CARRIED_OUT | ({"epochs"} if self.schedule == "constant" else set())
        return {key: value for key, value in self.plain().items() if key not in free}


def results_folder(data: str, path: str = "", out: str = "") -> Path:
    """Where a run's results go: ``out``, or runs/ and the name of the data."""
    return Path(out) if out else Path("runs") / (Path(path).stem if data == "csv" else data)


def checkpoint_path(data: str, path: str = "", out: str = "") -> Path:
    """The file in :func:`results_folder` from which ``--resume`` goes on."""
    return results_folder(data, path, out) / CHECKPOINT


def add_options(parser: argparse.ArgumentParser) -> None:
    """What ``minigrad train`` takes; what is not given is left out of the result."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("data", help="digits, breast_cancer, wine, iris, or csv")
    parser.add_argument("path", nargs="?", help="the file, where data is csv")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    for field in dataclasses.fields(Settings):
        if field.name in ("data", "path"):
            continue
        option = "--" + field.name.replace("_", "-")
        text = field.metadata["help"]
        if isinstance(field.default, bool):
            parser.add_argument(option, action="store_true", help=text)
        else:
            default = field.default
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
            parser.add_argument(
                option,
                type=_sizes if isinstance(default, tuple) else type(default),
                metavar=field.metadata.get("metavar", type(default).__name__.upper()),
                help=f"{text} (default: {shown})" if shown not in ("", 0) else text,
            )


def _sizes(text: str) -> tuple[int, ...]:
    """``"128,64"`` as (128, 64); ``""`` as ()."""
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}': give whole numbers, such as 128,64") from error
