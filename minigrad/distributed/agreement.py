"""Whether all ranks run the same thing, at the start and later on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import minigrad
from minigrad.backend import Array, device_of, to_numpy
from minigrad.distributed.communicator import Communicator
from minigrad.distributed.mesh import Mesh
from minigrad.distributed.pipeline import Pipeline
from minigrad.distributed.reducers import Reducer
from minigrad.distributed.whole import undivided
from minigrad.errors import SharedError
from minigrad.kernels import kernel
from minigrad.nn import Module
from minigrad.optim import Optimizer

__all__ = [
    "ReplicasDiffer",
    "agree",
    "all_alike",
    "compare_replicas",
    "refuse_what_does_not_fit",
    "same_model",
]


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


def refuse_what_does_not_fit(model: Module, optimizer: Optimizer, mesh: Mesh) -> None:
    """Raise :class:`SharedError` for what would train something else than was meant, without a
    word."""
    named = model.named_parameters()
    mine = {id(parameter._node) for parameter in named.values()}
    leaves = [leaf for arena in optimizer.arenas for leaf in arena.leaves.values()]
    if any(id(leaf) not in mine for leaf in leaves):
        raise SharedError(
            "the optimizer holds parameters that this model does not have: make it of the same "
            "model, on a mesh of what arrange(model, mesh) returned"
        )
    _, tensor, stages = mesh.sizes
    split = any(parameter.shard is not None for parameter in named.values())
    if (split and tensor == 1) or (isinstance(model, Pipeline) and stages == 1):
        raise SharedError(
            "this rank's model is a part of the whole, and DataParallel was given the communicator "
            "of all ranks as if they were replicas: pass the mesh"
        )
    if optimizer.per_span and mesh.tensor.size > 1:
        raise SharedError(
            f"{type(optimizer).__name__} needs the norm of whole weights, and tensor parallelism "
            "leaves each rank a part of them: take another optimizer, such as AdamW, or another "
            "layout"
        )


def agree(model: Module, optimizer: Optimizer, mesh: Mesh, reducer: Reducer) -> None:
    """Raise :class:`SharedError`, on all ranks, unless all run the same program on the same kind
    of device, and replicas the same model, trained in the same way."""
    arenas = optimizer.arenas
    all_alike(
        mesh.comm,
        {
            "minigrad": minigrad.__version__,
            "device": device_of(arenas[0].data).partition(":")[0],
            "reducer": repr(reducer),
            "layout": repr(mesh),
            "optimizer": type(optimizer).__name__,
            "learning rate": str(optimizer.lr),
        },
        "all ranks of a job must run alike; install the same minigrad, choose the same --device "
        "and options for all",
    )
    all_alike(
        mesh.data,
        {"hyper-parameters": _settings(optimizer)},
        "replicas are trained alike: give every rank's optimizer the same settings",
    )
    all_alike(
        mesh.data,
        {"update form": optimizer.form},
        "in the last bits they would drift apart: 'minigrad doctor', run on both machines, says "
        "why; or give every rank's optimizer form='in_place'",
    )
    norm = "compiled" if kernel("norm_record", like=arenas[0].data) else "formula"
    all_alike(
        mesh.comm,
        {"gradient norm by": norm},
        "clipping would differ in the last bits: 'minigrad doctor', run on both machines, says "
        "why; or set MINIGRAD_CPU_KERNELS=0 for all",
    )
    trained = [span.name for arena in arenas for span in arena.spans]
    same_model(mesh.data, model.state_dict(), trained)
    layers = _layers(model)
    all_alike(mesh.data, {"layers": str(len(layers))}, _BUILD)
    all_alike(mesh.data, {f"layer {i}": layer for i, layer in enumerate(layers)}, _BUILD)
    compare_replicas(mesh.tensor, undivided(model))


_OURS = ("minigrad.nn.layers", "minigrad.nn.dropout", "minigrad.nn.normalisation")
_BUILD = "replicas are the same model; build it alike on all ranks"


def _settings(optimizer: Optimizer) -> str:
    """All groups' hyper-parameters; of a schedule, its class."""
    return "; ".join(
        f"{group} {key}={type(value).__name__ if callable(value) else value}"
        for group, settings in optimizer.groups.items()
        for key, value in settings.items()
    )


def _layers(model: Module) -> list[str]:
    """What has no state and yet must agree: each layer's class, with the options of ours."""
    return [
        f"{path} {module!r}" if type(module).__module__ in _OURS else type(module).__name__
        for path, module in model.named_modules()
        if not any(isinstance(value, Module) for _, value in module._members())
    ]
