"""The fourteen tutorials: where they are, how one is run, and how it becomes a notebook."""

from minigrad.tutorials.command import main
from minigrad.tutorials.listing import TUTORIALS, Tutorial, find, folder

__all__ = ["TUTORIALS", "Tutorial", "find", "folder", "main"]
