"""README's two commands stand in it word for word: .ci/run takes them from there."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = [
    'python -m pip install -e ".[demo]" && mpirun -n 2 minigrad train digits',
    'python -m pip install -e ".[test]" && pytest',
]
PAGES = [*ROOT.glob("README*.md"), *ROOT.glob("docs/start.md")]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_two_commands_stand_alone_on_their_lines(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("python -m pip install")] == COMMANDS
