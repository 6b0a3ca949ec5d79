"""What an exercise is: a function that the learner writes, a check of it, and hints.

The checks of tutorial 4 are in the module e04, one function for each that the learner writes, of
the same name, in the order of the page::

    @exercise(
        hints_en=("v keeps a share β of itself.", "Add −ηg to that share."),
        hints_zh=("v 保留自身的 β 倍。", "再加上 −ηg。"),
    )
    def velocity(answer: Answer, rng: np.random.Generator) -> None:
        v, g = rng.normal(size=(2, 3))
        agree(answer(v, g, 0.1, 0.9), 0.9 * v - 0.1 * g, "the new velocity", "新的速度")
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Answer", "Exercise", "Wrong", "agree", "exercise", "exercises", "require_that"]

Answer = Callable[..., Any]
"""A function that a learner has written."""

Check = Callable[[Answer, np.random.Generator], None]


class Wrong(Exception):
    """An answer is wrong; ``en`` and ``zh`` are the sentence that says in which way."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.en, self.zh = en, zh

    def text(self, language: str) -> str:
        """The sentence in ``"en"`` or ``"zh"``."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True)
class Exercise:
    """``check(answer, rng)`` raises :class:`Wrong` unless ``answer`` is right."""

    name: str
    check: Check
    hints_en: tuple[str, ...]
    hints_zh: tuple[str, ...]

    def hints(self, language: str) -> tuple[str, ...]:
        """The hints in ``"en"`` or ``"zh"``, the first that is shown first."""
        return self.hints_zh if language == "zh" else self.hints_en


def exercise(
    *, hints_en: tuple[str, ...], hints_zh: tuple[str, ...]
) -> Callable[[Check], Exercise]:
    """Make a check of the learner's function of the same name; hints go from vague to plain."""
    if not hints_en or len(hints_en) != len(hints_zh):
        raise ValueError(f"{len(hints_en)} hints in English, {len(hints_zh)} in Chinese")
    return lambda check: Exercise(check.__name__, check, hints_en, hints_zh)


def exercises(number: int) -> tuple[Exercise, ...]:
    """The exercises of a tutorial, in the order of its page."""
    module = importlib.import_module(f"minigrad.exercises.e{number:02}")
    return tuple(value for value in vars(module).values() if isinstance(value, Exercise))


def agree(found: Any, expected: Any, en: str, zh: str, *, tolerance: float = 1e-9) -> None:
    """Raise :class:`Wrong` unless ``found``, a number or an array, has the shape of ``expected``
    and differs by ``tolerance`` at most, relative to the largest number expected.

    ``en`` and ``zh`` say what it is and for what: "the velocity after one step from v = 1".
    """
    wanted = np.asarray(expected, dtype=float)
    try:
        got = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        raise Wrong(
            f"{en} should be {_show(wanted)}, and the answer is {_cut(repr(found))}",
            f"{zh}应为 {_show(wanted)}，而答案是 {_cut(repr(found))}",
        ) from None
    if got.shape != wanted.shape:
        raise Wrong(
            f"{en} should have the shape {wanted.shape}, and the answer has {got.shape}",
            f"{zh}的形状应为 {wanted.shape}，而答案的形状是 {got.shape}",
        )
    scale = max(1e-300, np.abs(wanted).max(initial=0.0))
    if not (np.abs(got - wanted) <= tolerance * scale).all():
        raise Wrong(
            f"{en} should be {_show(wanted)}, and the answer is {_show(got)}",
            f"{zh}应为 {_show(wanted)}，而答案是 {_show(got)}",
        )


def require_that(holds: bool, en: str, zh: str) -> None:
    """Raise :class:`Wrong` with this sentence unless it ``holds``."""
    if not holds:
        raise Wrong(en, zh)


def _show(values: np.ndarray[Any, Any]) -> str:
    return _cut(np.array2string(values, precision=6, threshold=12, separator=", "))


def _cut(text: str, most: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]}…"
