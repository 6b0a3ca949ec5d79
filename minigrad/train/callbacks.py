"""What happens beside the loop: checkpoints, logs, a progress bar, stopping."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from minigrad import checkpoint
from minigrad.distributed.data_parallel import DataParallel
from minigrad.errors import InputError, require
from minigrad.train.loop import Callback, Run

__all__ = [
    "Checkpoints",
    "EarlyStopping",
    "Interrupts",
    "JsonLog",
    "Progress",
    "TensorBoard",
    "restore",
]


class Checkpoints(Callback):
    """Rank 0 writes everything a run needs to go on to ``path``, every ``every`` epochs and where
    the run ends or is interrupted. ``config`` goes along with it."""

    def __init__(self, path: Path, config: Mapping[str, Any], every: int = 1) -> None:
        self.path = path
        self.config = dict(config)
        self.every = every

    def on_epoch(self, run: Run) -> None:
        if run.epoch % self.every == 0:
            self._save(run)

    def on_end(self, run: Run) -> None:
        if run.batch or run.epoch % self.every:
            self._save(run)

    def _save(self, run: Run) -> None:
        state = run.parallel.state_dict()
        if run.comm.rank == 0:
            checkpoint.save(self.path, state, {"config": self.config, "run": run.position()})


def restore(
    path: Path, parallel: DataParallel, config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Load a checkpoint into model and optimizer; the result is ``fit``'s ``resume``.

    With ``config``, a checkpoint of a run with another configuration raises :class:`InputError`,
    which lists the differences. Nothing is changed where anything does not fit.
    """
    state, meta = checkpoint.load(path)
    if not {"config", "run"} <= meta.keys():
        raise InputError(f"{path} holds no training run, so there is nothing to go on with")
    theirs = meta["config"]
    different = [
        f"{key} was {theirs.get(key)!r}, now {value!r}"
        for key, value in (config or {}).items()
        if theirs.get(key) != value
    ]
    if different:
        raise InputError(
            f"{path} is from a run with other settings: {'; '.join(different)}; give the same "
            "settings, or start anew without --resume"
        )
    try:
        parallel.load_state_dict(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    position: dict[str, Any] = meta["run"]
    return position


class JsonLog(Callback):
    """Rank 0 writes each epoch's record to ``path``, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, run: Run) -> None:
        if run.comm.rank == 0:  # a run that goes on drops lines from after its checkpoint
            self.path.write_text("".join(json.dumps(record) + "\n" for record in run.history))

    def on_epoch(self, run: Run) -> None:
        if run.comm.rank == 0:
            with self.path.open("a") as file:
                file.write(json.dumps(run.history[-1]) + "\n")


class TensorBoard(Callback):
    """Rank 0 writes each epoch's record for TensorBoard, through tensorboardX."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    @staticmethod
    def available() -> bool:
        """Whether tensorboardX is installed."""
        return importlib.util.find_spec("tensorboardX") is not None

    def on_start(self, run: Run) -> None:
        if run.comm.rank == 0:
            self._writer = require("tensorboardX", "tensorboard").SummaryWriter(str(self.folder))

    def on_epoch(self, run: Run) -> None:
        if run.comm.rank == 0:
            for key, value in run.history[-1].items():
                self._writer.add_scalar(key, value, run.epoch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class EarlyStopping(Callback):
    """Stops when ``key`` (of the records; the smaller the better) has not fallen below its best
    for ``patience`` epochs. It keeps nothing itself: the history says it all, after a restart too.
    """

    def __init__(self, patience: int, key: str = "val_loss") -> None:
        if patience < 1:
            raise InputError(f"early stopping: patience must be at least 1 epoch, not {patience}")
        self.patience = patience
        self.key = key

    def on_epoch(self, run: Run) -> None:
        if self.key not in run.history[-1]:
            raise InputError(
                f"early stopping follows '{self.key}', but the records hold "
                f"{', '.join(run.history[-1])}: give fit validation=(x, y), or choose another key"
            )
        values = [record[self.key] for record in run.history]
        since_best = len(values) - 1 - values.index(min(values))
        if since_best >= self.patience:
            run.stop = run.stop or f"{self.key} has not improved for {since_best} epochs"


class Interrupts(Callback):
    """Turns the first SIGTERM or Ctrl-C into ``run.stop = "SIGTERM"`` or ``"SIGINT"``, so that the
    run ends after a whole step, with a checkpoint. A second one ends it at once."""

    def __init__(self) -> None:
        self._caught = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught = signal.Signals(number).name
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_step(self, run: Run) -> None:
        run.stop = self._caught or run.stop

    on_epoch = on_step


_COLUMNS = (
    ("epoch", "epoch", "d"),
    ("loss", "loss", ".4f"),
    ("accuracy", "accuracy", ".4f"),
    ("val_loss", "val. loss", ".4f"),
    ("val_accuracy", "val. accuracy", ".4f"),
    ("lr", "learning rate", ".3g"),
    ("grad_norm", "gradient norm", ".3g"),
    ("samples_per_s", "samples/s", ",.0f"),
)


class Progress(Callback):
    """Rank 0 shows each epoch's record: behind a progress bar on a terminal (with tqdm), as plain
    lines elsewhere."""

    def __init__(self, steps_per_epoch: int, stream: TextIO | None = None) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.stream = sys.stdout if stream is None else stream
        self._bar: Any = None

    def on_start(self, run: Run) -> None:
        if run.comm.rank:
            return
        if self.stream.isatty() and importlib.util.find_spec("tqdm"):
            self._bar = require("tqdm", "demo").tqdm(
                total=run.epochs * self.steps_per_epoch,
                initial=run.epoch * self.steps_per_epoch + run.batch,
                unit="step",
                file=self.stream,
                leave=False,
                dynamic_ncols=True,
            )
        self._shown = False

    def on_step(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.update()

    def on_epoch(self, run: Run) -> None:
        if run.comm.rank:
            return
        record = run.history[-1]
        columns = [column for column in _COLUMNS if column[0] in record]
        if not self._shown:
            self._line("  ".join(title.rjust(7) for _, title, _ in columns))
            self._shown = True
        cells = [format(record[key], form).rjust(max(7, len(t))) for key, t, form in columns]
        self._line("  ".join(cells))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)
