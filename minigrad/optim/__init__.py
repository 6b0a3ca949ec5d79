"""Optimizers over arena blocks, gradient clipping and learning-rate schedules."""

from __future__ import annotations

from minigrad.errors import unknown
from minigrad.optim.adam import Adam, AdamW, adam_step, adam_step_hat
from minigrad.optim.adaptive import Adagrad, RMSprop, adagrad_step, rmsprop_step
from minigrad.optim.base import Optimizer
from minigrad.optim.clipping import clip_by_global_norm, clip_by_value, clip_scale, global_norm
from minigrad.optim.conventions import ConventionTable, compare_conventions
from minigrad.optim.explained import StepExplanation, explain_step
from minigrad.optim.lamb import LAMB, lamb_step
from minigrad.optim.lion import Lion, lion_step
from minigrad.optim.norm import GradientNorm
from minigrad.optim.regularisation import decayed, l1_penalty, l2_penalty, soft_threshold
from minigrad.optim.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    Linear,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    Warmup,
    schedule_from,
)
from minigrad.optim.sgd import SGD, momentum_step, sgd_step

__all__ = [
    "LAMB",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "ConventionTable",
    "Cosine",
    "Exponential",
    "GradientNorm",
    "InverseTime",
    "Linear",
    "Lion",
    "Optimizer",
    "Polynomial",
    "RMSprop",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "StepExplanation",
    "Warmup",
    "adagrad_step",
    "adam_step",
    "adam_step_hat",
    "class_by_name",
    "clip_by_global_norm",
    "clip_by_value",
    "clip_scale",
    "compare_conventions",
    "decayed",
    "explain_step",
    "global_norm",
    "l1_penalty",
    "l2_penalty",
    "lamb_step",
    "lion_step",
    "momentum_step",
    "rmsprop_step",
    "schedule_from",
    "sgd_step",
    "soft_threshold",
]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    cls.__name__.lower(): cls for cls in (SGD, Adagrad, RMSprop, Adam, AdamW, Lion, LAMB)
}
"""Optimizers by the name that the command line uses."""


def class_by_name(name: str) -> type[Optimizer]:
    """The optimizer class called ``name``; :class:`InputError` suggests the nearest name.

    >>> optim.class_by_name("adamw")
    <class 'minigrad.optim.adam.AdamW'>
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name]
