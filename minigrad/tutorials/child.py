"""Runs a tutorial and saves its figures: ``python -m minigrad.tutorials.child FILE FOLDER``."""

from __future__ import annotations

import runpy
import sys
import warnings
from pathlib import Path

from minigrad.errors import InputError, MissingExtra
from minigrad.figure import save_figure

__all__ = ["run"]


def run(path: Path, folder: Path) -> None:
    """Run the file at ``path``; figures go to ``folder``/NAME-1.png, NAME-2.png, …"""
    import matplotlib.pyplot as plt

    warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive", UserWarning)
    sys.argv = [str(path)]
    runpy.run_path(str(path), run_name="__main__")
    for number, figure in enumerate(plt.get_fignums(), 1):
        save_figure(plt.figure(figure), folder / f"{path.stem}-{number}.png", dpi=150)


if __name__ == "__main__":
    try:
        run(Path(sys.argv[1]), Path(sys.argv[2]))
    except (InputError, MissingExtra) as error:
        print(f"minigrad: {error}", file=sys.stderr)
        raise SystemExit(2) from None
