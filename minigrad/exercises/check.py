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

__all__ = [
    "Answer",
    "Exercise",
    "Wrong",
    "agree",
    "exercise",
    "exercises",
    "refuse",
    "require_that",
    "returned",
    "show",
]

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
    wanted, got = np.asarray(expected, dtype=float), _numbers(found)
    if got is None:
        raise Wrong(
            f"{en} should be {show(wanted)}, and the answer is {show(found)}",
            f"{zh}应为 {show(wanted)}，而答案是 {show(found)}",
        )
    if got.shape != wanted.shape:
        raise Wrong(
            f"{en} should have the shape {wanted.shape}, and the answer has {got.shape}",
            f"{zh}的形状应为 {wanted.shape}，而答案的形状是 {got.shape}",
        )
    if not _equal(got, wanted, tolerance):
        off, alike = np.abs(got - wanted).max(), _digits(got) == _digits(wanted)
        raise Wrong(
            f"{en} should be {show(wanted)}, and the answer is {show(got)}"
            + alike * f" (rounded: it is off by up to {off:.1g})",
            f"{zh}应为 {show(wanted)}，而答案是 {show(got)}"
            + alike * f"（显示的是舍入值，最大相差 {off:.1g}）",
        )


def refuse(found: Any, mistake: Any, en: str, zh: str) -> None:
    """Raise :class:`Wrong` if ``found`` is what a known ``mistake`` gives, as in :func:`agree`.

    Whatever is no number, or has another shape, is left to :func:`agree`, which comes after.
    """
    wrong, got = np.asarray(mistake, dtype=float), _numbers(found)
    if got is not None and got.shape == wrong.shape and _equal(got, wrong, 1e-9):
        raise Wrong(en, zh)


def returned(found: Any, names: str) -> tuple[Any, ...]:
    """``found``, if it has as many parts as there are ``names``, such as ``"theta, v"``."""
    count = names.count(",") + 1
    if not isinstance(found, tuple | list) or len(found) != count:
        raise Wrong(
            f"the answer should be {count} values: return {names}; it is {show(found)}",
            f"应返回 {count} 个值：return {names}；而答案是 {show(found)}",
        )
    return tuple(found)


def require_that(holds: bool, en: str, zh: str) -> None:
    """Raise :class:`Wrong` with this sentence unless it ``holds``."""
    if not holds:
        raise Wrong(en, zh)


def show(value: object, most: int = 160) -> str:
    """A value, or the message of an error, on one line that is not too long."""
    try:
        if isinstance(value, np.ndarray):
            whole = (np.abs(value) < 1e15).all() and (value == np.round(value)).all()
            text = _digits(value.astype(np.int64) if whole else value)
        else:
            text = str(value) if isinstance(value, BaseException) else repr(value)
    except Exception:  # a class of the learner's, whose __repr__ fails
        text = type(value).__name__
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]}…"


def _digits(values: np.ndarray[Any, Any]) -> str:
    return np.array2string(values, precision=6, threshold=12, separator=", ")


def _numbers(found: Any) -> np.ndarray[Any, Any] | None:
    try:
        array = np.asarray(found)
    except (TypeError, ValueError):  # lists of different lengths
        return None
    return array.astype(float) if array.dtype.kind in "biuf" else None


def _equal(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tolerance: float) -> bool:
    scale = max(1e-300, np.abs(expected).max(initial=0.0))
    return bool((np.abs(found - expected) <= tolerance * scale).all())
