"""A state fits, or the sentence lists all that does not."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad.backend import Array
from minigrad.errors import InputError
from minigrad.state import check_names

EXPECTED = {"w": np.zeros((2, 3), np.float32), "b": np.zeros(3), "step": np.array(7)}


def test_a_state_that_fits() -> None:
    check_names(EXPECTED, {name: EXPECTED[name] + 1 for name in reversed(EXPECTED)}, "it")
    check_names({}, {}, "it")


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"b": None, "w": None}, "missing: w; missing: b"),
        ({"u": np.zeros(1), "v": np.zeros(1)}, "unexpected: u; unexpected: v"),
        ({"b": np.zeros((1, 3))}, "b: shape (1, 3) given, (3,) expected"),
        ({"w": np.zeros((2, 3))}, "w: float64 given, float32 expected"),
        (
            {"b": None, "v": np.zeros(1), "step": np.zeros(2)},
            "missing: b; unexpected: v; step: shape (2,) given, () expected; "
            "step: float64 given, int64 expected",
        ),
    ],
)
def test_all_that_differs_is_listed(changes: dict[str, Array | None], faults: str) -> None:
    given = {name: array for name, array in (EXPECTED | changes).items() if array is not None}
    with pytest.raises(InputError) as caught:
        check_names(EXPECTED, given, "this is another's")
    assert str(caught.value) == f"this is another's: {faults}; load it into what it was saved from"
