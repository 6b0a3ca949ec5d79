"""Hypothesis profiles: `pytest --hypothesis-profile=deep` looks ten times harder."""

from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile("deep", deadline=None, max_examples=1000)
settings.load_profile("default")
