"""Training: the loop, callbacks, interrupts."""

from minigrad.distributed.data_parallel import DataParallel
from minigrad.train.callbacks import (
    Checkpoints,
    EarlyStopping,
    Interrupts,
    JsonLog,
    Progress,
    TensorBoard,
    restore,
)
from minigrad.train.elastic import Replica
from minigrad.train.evaluation import CLASSIFICATION, Loss, Metric, classify, evaluate
from minigrad.train.loop import Callback, Run, fit
from minigrad.train.together import together

__all__ = [
    "CLASSIFICATION",
    "Callback",
    "Checkpoints",
    "DataParallel",
    "EarlyStopping",
    "Interrupts",
    "JsonLog",
    "Loss",
    "Metric",
    "Progress",
    "Replica",
    "Run",
    "TensorBoard",
    "classify",
    "evaluate",
    "fit",
    "restore",
    "together",
]
