"""``minigrad demo NAME``: one idea of distributed training each, measured and drawn on the spot."""

from minigrad.demos.command import DEMOS, main

__all__ = ["DEMOS", "main"]
