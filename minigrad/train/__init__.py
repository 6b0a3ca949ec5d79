"""Training: the loop, callbacks, interrupts."""

from minigrad.train.callbacks import (
    Checkpoints,
    EarlyStopping,
    Interrupts,
    JsonLog,
    Progress,
    TensorBoard,
    restore,
)
from minigrad.train.loop import Callback, Evaluation, Loss, Run, evaluate, fit
from minigrad.train.together import together

__all__ = [
    "Callback",
    "Checkpoints",
    "EarlyStopping",
    "Evaluation",
    "Interrupts",
    "JsonLog",
    "Loss",
    "Progress",
    "Run",
    "TensorBoard",
    "evaluate",
    "fit",
    "restore",
    "together",
]
