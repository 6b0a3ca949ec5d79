"""Hypothesis profiles: `pytest --hypothesis-profile=deep` looks ten times harder."""

import pytest
from hypothesis import settings

from minigrad.autograd import functions

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile("deep", deadline=None, max_examples=1000)
settings.load_profile("default")


@pytest.fixture
def own_ops():
    """``op`` registers by name; what a test defines is gone after it."""
    before = dict(vars(functions))
    yield
    vars(functions).clear()
    vars(functions).update(before)
