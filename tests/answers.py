"""What every answer of ``minigrad ask`` must be: ``answer = answered("D1-2")``."""

from __future__ import annotations

import importlib
import re

import pytest

from minigrad.ask import QUESTIONS, Answer

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

_NUMBER = re.compile(r"\d(?:[\d,]*\d)?(?:\.\d+)?(?:e[+-]?\d+)?%?")


def answered(id: str) -> Answer:
    """The quick answer to a question: three sentences in each language with the same numbers,
    among them all that were measured, as they were measured, and a picture."""
    answer: Answer = importlib.import_module(f"minigrad.ask.{QUESTIONS[id].module}").answer(True)
    assert len(answer.en) == len(answer.zh) == 3
    for en, zh in zip(answer.en, answer.zh):
        assert en.endswith(".")
        assert zh.endswith("。")
        assert sorted(_NUMBER.findall(en)) == sorted(_NUMBER.findall(zh)), f"{en}\n{zh}"
    texts = _NUMBER.findall(" ".join(answer.en))
    for name, value in answer.numbers.items():
        assert any(_shows(text, value) for text in texts), f"{name}: {value}\n{answer.en}"
    assert answer.figure.axes
    return answer


def _shows(text: str, value: float) -> bool:
    """Whether ``text`` is ``value`` rounded to the digits that it has."""
    digits = text.rstrip("%").replace(",", "")
    shown, unit = (float(digits) / 100, 0.01) if text.endswith("%") else (float(digits), 1.0)
    mantissa, _, exponent = digits.partition("e")
    unit *= 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(shown - abs(value)) <= 0.5001 * unit
