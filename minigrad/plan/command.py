"""``minigrad plan``: which computers do I need? (D0 §6)"""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.errors import InputError
from minigrad.launch import Parser
from minigrad.plan import report
from minigrad.plan.costs import NETWORKS, PRECISIONS, STATES, Job
from minigrad.plan.search import options, smallest
from minigrad.plan.shape import shape
from minigrad.plan.units import quantity

__all__ = ["job_of", "main"]

_OPTIONS = {
    # name: (what stands for its value, default or None where it is worked out, help)
    "latency": ("TIME", "5us", "that each message takes, however short"),
    "node-bandwidth": ("RATE", None, "of a rank within its node (default: that of --bandwidth)"),
    "ranks-per-node": ("N", "8", "how many ranks a node has; tensor groups stay within one"),
    "flops": ("SPEED", "300T", "peak operations a second of a rank"),
    "efficiency": ("SHARE", "0.4", "which share of the peak is reached"),
    "network": ("NAME", "transformer", " or ".join(NETWORKS)),
    "layers": ("N", None, "the network's layers (default: from --params)"),
    "width": ("N", None, "a layer's width (default: from --params and --layers)"),
    "tokens-per-sample": ("N", None, "vectors in a sample (default: dense 1, transformer 2048)"),
    "batch": ("N", "1024", "samples in a step, over all ranks"),
    "micro-batches": ("N", None, "parts of a replica's share (default: the fastest number)"),
    "optimizer": ("NAME", "adam", ", ".join(STATES)),
    "precision": ("NAME", "mixed", " or ".join(PRECISIONS)),
    "activations": ("SIZE", None, "what one sample keeps for backward (default: estimated)"),
    "show": ("N", "10", "how many of the fastest layouts are listed"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print what fits and what is fastest; 1 if nothing fits, otherwise 0."""
    parser = Parser(
        prog="minigrad plan",
        description="Which computers do I need? Memory per rank and time of a step under data, "
        "ZeRO, tensor and pipeline parallelism, predicted by a cost model.",
        epilog="for example: minigrad plan --params 7e9 --ranks 1024 --bandwidth 50GB/s "
        "--memory 80GB. The exit code is 1 if nothing fits.",
    )
    parser.add_argument("--params", required=True, metavar="N", help="parameters: 7e9, 7B")
    parser.add_argument("--ranks", required=True, metavar="N", help="processes, one a device")
    parser.add_argument(
        "--bandwidth", required=True, metavar="RATE", help="of a rank: 50GB/s, 400Gbit/s"
    )
    parser.add_argument("--memory", required=True, metavar="SIZE", help="of a rank: 80GB, 80GiB")
    for name, (metavar, default, text) in _OPTIONS.items():
        shown = f"{text} (default: {default})" if default else text
        parser.add_argument(f"--{name}", metavar=metavar, default=default, help=shown)
    given = {name: text for name, text in vars(parser.parse_args(argv)).items() if text is not None}
    ranks, show = _whole(given, "ranks"), _whole(given, "show")
    job = job_of(given)
    found = options(job, ranks)
    print(report.text(job, ranks, found, smallest(job), show))
    return 0 if found[0].fits else 1


def job_of(given: dict[str, str]) -> Job:
    """The job that the options' texts describe; what is not given follows from the rest."""

    def measure(name: str, kind: str) -> float:
        return quantity(f"--{name.replace('_', '-')}", given[name], kind)

    network = given["network"]
    layers, width = shape(
        network,
        measure("params", "number"),
        _whole(given, "layers") if "layers" in given else None,
        _whole(given, "width") if "width" in given else None,
    )
    bandwidth = measure("bandwidth", "bandwidth")
    tokens = "tokens_per_sample"
    return Job(
        parameters=measure("params", "number"),
        layers=layers,
        width=width,
        tokens=_whole(given, tokens) if tokens in given else NETWORKS[network].tokens,
        batch=_whole(given, "batch"),
        memory=measure("memory", "memory"),
        bandwidth=bandwidth,
        node_bandwidth=(
            measure("node_bandwidth", "bandwidth") if "node_bandwidth" in given else bandwidth
        ),
        latency=measure("latency", "time"),
        flops=measure("flops", "speed"),
        efficiency=measure("efficiency", "number"),
        ranks_per_node=_whole(given, "ranks_per_node"),
        network=network,
        optimizer=given["optimizer"],
        precision=given["precision"],
        activations=measure("activations", "memory") if "activations" in given else None,
        micro_batches=_whole(given, "micro_batches") if "micro_batches" in given else None,
    )


def _whole(given: dict[str, str], name: str) -> int:
    option = f"--{name.replace('_', '-')}"
    value = quantity(option, given[name], "number")
    if value != int(value):
        raise InputError(f"{option} {given[name]}: give a whole number")
    return int(value)
