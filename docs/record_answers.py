"""Answers the articles' questions here, and keeps the answers: ``python -m docs.record_answers``.

Each experiment runs once and gives its sentences in both languages, so that they hold the same
numbers. They go to docs/answers.json with the date and the machine. ``D1-2 …`` renews some alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["FILE", "main", "record"]

FILE = Path(__file__).parent / "answers.json"


def main() -> int:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # before NumPy is imported
    from minigrad.ask.questions import QUESTIONS, find

    parser = argparse.ArgumentParser(prog="python -m docs.record_answers", description=__doc__)
    parser.add_argument("id", nargs="*", help="questions, by id or name; all, if none is given")
    asked = [find(id).id for id in parser.parse_args().id] or list(QUESTIONS)
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    for number, id in enumerate(asked, 1):
        kept[id] = record(id)
        print(f"{number}/{len(asked)} {id}: {kept[id]['en'][0]}", flush=True)
        ordered = {id: kept[id] for id in QUESTIONS if id in kept}
        text = json.dumps(ordered, ensure_ascii=False, indent=1) + "\n"
        FILE.write_text(text, encoding="utf-8")
    return 0


def record(id: str) -> dict[str, Any]:
    """The answer to a question, run now: sentences in ``en`` and ``zh``, and on what."""
    from benchmarks.machine import describe
    from minigrad.ask.questions import QUESTIONS

    machine = describe()
    answer = importlib.import_module(f"minigrad.ask.{QUESTIONS[id].module}").answer()
    told = ("date", "commit", "cpu", "cores", "system", "python", "numpy", "blas", "mpi4py")
    return {
        "en": list(answer.en),
        "zh": list(answer.zh),
        "machine": {name: machine[name] for name in told} | {"threads": 1},
    }


if __name__ == "__main__":
    sys.exit(main())
