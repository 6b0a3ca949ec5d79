"""The tutorials' exercises: what a learner's file is asked, and ``minigrad check``."""

from minigrad.exercises.check import Exercise, Wrong, agree, exercise, exercises
from minigrad.exercises.command import main

__all__ = ["Exercise", "Wrong", "agree", "exercise", "exercises", "main"]
