"""What README.md shows runs as it stands there."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_python_in_the_readme_runs(number, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f"README.md, block {number}", "exec"), {"__name__": "readme"})
    said = capsys.readouterr().out.splitlines()
    if "6θ" in BLOCKS[number]:
        loss, second = said
        assert float(loss) < 0.2  # it has learned
        assert second == "[Tensor([ 6., 12.])]"
    elif "norm.value" in BLOCKS[number]:
        (norm,) = said
        assert 0 < float(norm) < 10
    else:
        assert said == []


def test_the_two_commands_stand_alone_on_their_lines():
    commands = [line for line in README.splitlines() if line.startswith("python -m pip install")]
    assert commands == [
        'python -m pip install -e ".[demo]" && mpirun -n 2 minigrad train digits',
        'python -m pip install -e ".[test]" && pytest',
    ]
