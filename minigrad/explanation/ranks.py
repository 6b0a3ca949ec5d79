"""A data-parallel step explained: each rank's gradient, its weight, and their sum (D3 §3.1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from minigrad.autograd import Tensor, grad
from minigrad.backend import Array, array_module, to_numpy
from minigrad.distributed.data_parallel import DataParallel
from minigrad.errors import InputError, unknown
from minigrad.explanation.story import shown
from minigrad.explanation.texts import say
from minigrad.language import language
from minigrad.train.together import together

__all__ = ["RanksExplanation", "Shared", "explain_ranks"]


class Shared(NamedTuple):
    """One parameter's gradient on all ranks.

    ``of_ranks`` are the means over each rank's own samples, in rank order, ``total`` is what the
    reducer left on this rank, and ``distance`` how far that is from Σ weight · gradient, relative
    to the sum's size. ``mean_of_means`` leaves the weights out: wrong where shares are uneven.
    """

    of_ranks: list[Array]
    total: Array
    distance: float
    mean_of_means: Array


class RanksExplanation(Mapping[str, Shared]):
    """How the ranks' gradients became one: a mapping from the names of parameters.

    ``samples`` are the ranks' numbers of samples, and ``weights`` their shares of all of them.
    """

    def __init__(self, samples: list[int], shared: Mapping[str, Shared], lang: str) -> None:
        self.samples, self.lang = samples, lang
        self.weights = [n / sum(samples) for n in samples]
        self._shared = dict(shared)

    def __getitem__(self, name: str) -> Shared:
        if name not in self._shared:
            raise unknown("parameter", name, self._shared)
        return self._shared[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._shared)

    def __len__(self) -> int:
        return len(self._shared)

    def __str__(self) -> str:
        lines = [say("ranks", self.lang, ranks=len(self.samples), samples=sum(self.samples))]
        for name, one in self.items():
            lines += ["", name]
            for rank, (n, weight, g) in enumerate(zip(self.samples, self.weights, one.of_ranks)):
                said = say("of rank", self.lang, rank=rank, samples=n, weight=f"{weight:.6g}")
                lines.append(f"  {said}: {shown(g, self.lang)}")
            said = say("reduced", self.lang, distance=f"{one.distance:.2g}")
            lines.append(f"  {said}: {shown(one.total, self.lang)}")
            if len(set(self.samples)) > 1:
                label = say("mean of means", self.lang)
                lines.append(f"  {label}: {shown(one.mean_of_means, self.lang)}")
        return "\n".join(lines)

    __repr__ = __str__


def explain_ranks(
    parallel: DataParallel, losses: Tensor, *, lang: str | None = None
) -> RanksExplanation:
    """Run the backward of one data-parallel step, and show what each rank put into it.

    Called by all ranks, in the place of zero_grad and backward: ``losses`` (n,) are those of this
    rank's samples (``reduction="none"``), and n may differ by rank. Afterwards the gradients are
    as a step leaves them, ready for ``parallel.step()``. A rank's gradient is the mean over its
    own samples and its weight is its share of all samples, so the sum is the mean over all. Raises
    :class:`InputError` where ranks hold parts of the model or of the gradient (tensor and pipeline
    parallelism, ZeRO), or average parameters instead, and where a rank has no losses of samples.
    """
    lang = language(lang)
    if parallel.mesh.model.size > 1 or parallel.reducer.over is not None:
        raise InputError(
            "explain_ranks shows replicas that sum whole gradients in every step, which "
            f"{parallel.reducer!r} on {parallel.mesh!r} does not: use Naive, Flat or Bucketed, and "
            "a mesh that is data parallel alone"
        )
    comm = parallel.replicas
    with together(comm):  # the shapes may differ by rank
        if losses.ndim != 1 or not losses.size:
            raise InputError(
                f"explain_ranks needs the losses of each rank's samples, of shape (n,) with n at "
                f"least 1, but rank {comm.rank} has shape {losses.shape}: compute them with "
                "reduction='none', and give every rank a sample"
            )
    samples = [int(n) for (n,) in comm.all_gather(np.array([losses.size]))]
    parameters = parallel.model.named_parameters()
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    loss = losses.sum()
    own = grad(loss, list(trained.values()), retain_graph=True)
    of_ranks = {
        name: comm.all_gather(np.ascontiguousarray(to_numpy(g.data / losses.size))[None])
        for name, g in zip(trained, own)
    }
    parallel.zero_grad()
    parallel.backward(loss, 1 / sum(samples))
    return RanksExplanation(
        samples,
        {
            name: _shared([part[0] for part in of_ranks[name]], samples, p.grad)
            for name, p in trained.items()
        },
        lang,
    )


def _shared(of_ranks: list[Array], samples: list[int], total: Array | None) -> Shared:
    assert total is not None
    total = np.array(to_numpy(total))
    whole = np.zeros(total.shape)
    for n, g in zip(samples, of_ranks):
        whole += n / sum(samples) * g.astype(np.float64)
    size = float(abs(whole).max(initial=0.0))
    distance = float(abs(total - whole).max(initial=0.0)) / size if size else 0.0
    mean = array_module(total).mean(np.stack(of_ranks), axis=0)
    return Shared(of_ranks, total, distance, mean)
