"""Run benchmarks by name, print their tables and write benchmarks/results.

``report`` measures nothing: it writes the pages' tables anew from benchmarks/results.

One thread for each library: BLAS and OpenMP read these variables when they are loaded, so they are
set before anything imports NumPy. Child processes inherit them.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
MODULES = {
    "chain": "chain",
    "ranks": "ranks",
    "collectives": "collectives",
    "depth": "depth",
    "import": "startup",
    "optimizers": "optimizers",
    "memory": "memory",
    "ladder": "ladder",
    "thresholds": "thresholds",
    "plan": "plan",
    "bandwidth": "bandwidth",
    "checks": "checks",
    "step": "step",  # after the others: JAX, once it is loaded, has a part in every collection
    "keras": "parity",
    "gpu": "gpu",
    "staging": "staging",
}
ON_A_GPU = ("gpu", "staging")


def main() -> int:
    """The exit code: 0, or 2 for a name that is unknown or cannot be measured here. A missed goal
    is a finding, not a failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODULES)}")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", help="folder for results"
    )
    given = parser.parse_args()
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))

    from benchmarks import pages, report
    from minigrad.errors import InputError, unknown

    if given.names == ["report"]:
        pages.publish()
        return 0
    for name in given.names:
        if name not in MODULES:
            print(unknown("benchmark", name, MODULES), file=sys.stderr)
            return 2
    for name in given.names or default_names():
        try:
            module = import_module(f"benchmarks.{MODULES[name]}")
            result = module.run()
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
        print(report.table(result), end="\n\n", flush=True)
        report.write(given.out, name, result)
        if hasattr(module, "publish"):
            module.publish(given.out / f"{name}.json")
    if given.out.resolve() == pages.RESULTS:
        pages.publish()
    return 0


def default_names() -> list[str]:
    """All benchmarks that this machine can run."""
    from minigrad.backend import device_count

    absent = set(() if device_count() else ON_A_GPU)
    if None in (find_spec("keras"), find_spec("jax")):
        absent.add("keras")
    return [name for name in MODULES if name not in absent]


if __name__ == "__main__":
    sys.exit(main())
