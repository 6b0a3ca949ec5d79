"""Pictures as files: made without a screen, written whole or not at all."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

from minigrad.errors import require, unknown
from minigrad.files import write_whole

__all__ = ["new_figure", "save_figure"]


def new_figure(width: float, height: float, layout: str | None = "constrained") -> Any:
    """A matplotlib Figure of so many inches. Raises :class:`MissingExtra` without matplotlib."""
    figure = require("matplotlib.figure", "viz").Figure
    return figure(figsize=(width, height), dpi=150, layout=layout)


def save_figure(figure: Any, path: str | os.PathLike[str], **options: Any) -> None:
    """Write ``figure`` to ``path``, which ends in .png, .svg or .pdf; ``options`` are savefig's.

    Raises :class:`InputError` for another ending, and where the file cannot be written.
    """
    suffix = Path(path).suffix
    if suffix not in (".pdf", ".png", ".svg"):
        raise unknown("picture format", suffix, (".pdf", ".png", ".svg"))
    picture = BytesIO()
    figure.savefig(picture, format=suffix[1:], **options)
    write_whole(path, picture.getvalue())
