"""States of a model that several ranks hold together: put together for a checkpoint, and taken
apart again. A checkpoint knows nothing of the layout it came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.distributed.communicator import Communicator
from minigrad.nn import Module
from minigrad.nn.module import Shard

__all__ = ["ShardOf", "own_part", "put_together", "shards_of", "undivided"]

ShardOf: TypeAlias = Callable[[str], Shard | None]
"""The name of an entry of a state -> which part of the whole it is, or ``None`` for all of it."""


def shards_of(model: Module) -> ShardOf:
    """For the states of ``model`` and of its optimizer, whose entries end with a parameter's name:
    "layers.0.weight", "m/layers.0.weight"."""
    shards = {name: p.shard for name, p in model.named_parameters().items()}
    return lambda name: shards.get(name.rpartition("/")[2])


def put_together(
    state: Mapping[str, Array], shard_of: ShardOf, comm: Communicator
) -> dict[str, Array]:
    """The whole state, on every rank of ``comm``, which hold it together.

    An entry is on one rank or more; its parts are joined along their axis, and of copies the first
    is taken. Called by all ranks.
    """
    mine = {name: (array.dtype.str, array.shape, shard_of(name)) for name, array in state.items()}
    known = [json.loads(text) for text in comm.all_gather_text(json.dumps(mine))]
    whole: dict[str, Array] = {}
    for name in dict.fromkeys(name for entries in known for name in entries):
        parts: dict[int, np.ndarray[Any, Any]] = {}
        axis = 0
        for rank, entries in enumerate(known):
            if name not in entries:
                continue
            dtype, shape, shard = entries[name]
            axis, start = shard[:2] if shard else (0, 0)
            if start in parts:
                continue  # a copy
            part = np.empty(shape, dtype)
            if rank == comm.rank:
                part[...] = to_numpy(state[name])
            comm.broadcast(part, rank)
            parts[start] = part
        ordered = [parts[start] for start in sorted(parts)]
        whole[name] = ordered[0] if len(ordered) == 1 else np.concatenate(ordered, axis)
    return whole


def own_part(
    whole: Mapping[str, Array], own: Mapping[str, Array], shard_of: ShardOf
) -> dict[str, Array]:
    """Of a whole state, the entries and parts that this rank's state, ``own``, has."""
    found = {}
    for name in own:
        if name in whole:
            shard = shard_of(name)
            found[name] = whole[name][shard.slices].copy() if shard else whole[name]
    return found


def undivided(model: Module) -> dict[str, Array]:
    """What all ranks that share this model's layers hold alike."""
    shard_of = shards_of(model)
    return {name: array for name, array in model.state_dict().items() if shard_of(name) is None}
