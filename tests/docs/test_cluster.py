"""What the pages on clusters show exists, and minigrad takes the words that it is given there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from minigrad.cli import main
from minigrad.launch import Parser
from minigrad.settings import Settings, add_options

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs" / "howto"
if not HOWTO.is_dir():
    pytest.skip("the documentation is not in this distribution", allow_module_level=True)
PAGE = "".join(
    (HOWTO / f"{name}.md").read_text(encoding="utf-8")
    for name in ("cluster", "slurm", "kubernetes")
)
FILES = {path.name: path.read_text(encoding="utf-8") for path in (HOWTO / "cluster").iterdir()}


def commands() -> list[list[str]]:
    """All words after "minigrad" in the pages' blocks and in the files."""
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    shown = re.findall(r"^(?:.* )?minigrad (\w.*)$", blocks, re.MULTILINE)
    shown += re.findall(r"`(?:[^`\n]* )?minigrad (train [^`\n]*)`", PAGE)
    shown += re.findall(r"^words=\((.*)\)$", FILES["train.sbatch"], re.MULTILINE)
    lists = re.findall(r"(?:args:|CMD) (\[.*\"minigrad\".*\])", "".join(FILES.values()))
    words = [json.loads(found) for found in lists]
    return [text.split() for text in shown] + [w[w.index("minigrad") + 1 :] for w in words]


def test_the_pages_refer_to_files_that_exist_and_to_all_examples() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert {f"cluster/{name}" for name in FILES} <= set(links)
    for path in re.findall(r"\b(?:docs|tests)/[\w/.]+\w", PAGE + "".join(FILES.values())):
        assert (ROOT / path).is_file(), path


def test_minigrad_takes_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    known = re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE)
    found = commands()
    assert len(found) > 7
    for command, *words in found:
        assert command in known
        if command == "train":
            parser = Parser()
            add_options(parser)
            given = vars(parser.parse_args(words))
            given.pop("resume", None)
            assert Settings(**given).data == "digits"


def test_the_batch_script_is_a_script() -> None:
    bash = shutil.which("bash") or pytest.skip("needs bash")
    subprocess.run([bash, "-n", str(HOWTO / "cluster" / "train.sbatch")], check=True)


def test_the_kubernetes_job_is_yaml() -> None:
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load(FILES["mpijob.yaml"])
    ranks, slots = (
        job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"],
        job["spec"]["slotsPerWorker"],
    )
    (launcher,) = job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"]
    assert launcher["args"][:2] == ["-n", str(ranks * slots)]
