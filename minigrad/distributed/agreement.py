"""Whether all ranks run the same thing, at the start and later on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from minigrad.backend import Array, to_numpy
from minigrad.distributed.communicator import Communicator
from minigrad.errors import SharedError

__all__ = ["ReplicasDiffer", "all_alike", "compare_replicas", "same_model"]


class ReplicasDiffer(RuntimeError):
    """The ranks' copies of the model are no longer the same; the message says where."""


def all_alike(comm: Communicator, facts: Mapping[str, str], why: str) -> None:
    """Raise :class:`SharedError`, on all ranks, where one of the ``facts`` differs between them."""
    texts = comm.all_gather_text("\n".join(facts.values()))
    for rank, text in enumerate(texts):
        for name, mine, first in zip(facts, text.split("\n"), texts[0].split("\n")):
            if mine != first:
                raise SharedError(f"rank {rank} has {name} '{mine}', rank 0 '{first}': {why}")


def same_model(comm: Communicator, state: Mapping[str, Array], trained: Sequence[str]) -> None:
    """Raise :class:`SharedError`, on all ranks, unless they built the same model: ``state`` is its
    ``state_dict``, ``trained`` the names of what an optimizer updates."""
    mine = "\n".join(
        [f"{name} {array.dtype}{list(array.shape)}" for name, array in state.items()]
        + [f"{name} is trained" for name in trained]
    )
    texts = comm.all_gather_text(mine)
    for rank, text in enumerate(texts):
        if text != texts[0]:
            only = "; ".join(sorted(set(text.split("\n")) ^ set(texts[0].split("\n"))))
            raise SharedError(
                f"rank {rank} built another model than rank 0: they differ in "
                f"{only or 'the order of parameters'}; all ranks must build the same one"
            )


def compare_replicas(comm: Communicator, state: Mapping[str, Array]) -> None:
    """Compare a hash of all arrays in ``state`` over the ranks; all raise
    :class:`ReplicasDiffer` where they differ."""
    if comm.size == 1:
        return
    if len(set(comm.all_gather_text(_digest(*state.values())))) == 1:
        return
    mine = "\n".join(f"{name} {_digest(array)}" for name, array in state.items())
    theirs = [text.split("\n") for text in comm.all_gather_text(mine)]
    found = [
        f"'{line.split()[0]}' on rank {rank}"
        for rank, lines in enumerate(theirs)
        for line, first in zip(lines, theirs[0], strict=True)
        if line != first
    ]
    raise ReplicasDiffer(
        f"the replicas have drifted apart: compared with rank 0, different numbers in "
        f"{', '.join(found)}; something changed them on one rank only"
    )


def _digest(*arrays: Array) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for array in arrays:
        hashed.update(to_numpy(array).tobytes())
    return hashed.hexdigest()
