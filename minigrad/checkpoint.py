"""Checkpoints: one safetensors file with a SHA-256 of itself, replaced whole or not at all.

Never a pickle: reading a checkpoint runs no code. The file is an ordinary safetensors file. Its
metadata has one entry, ``minigrad``, a JSON text with ``version``, ``sha256`` (of the whole file,
with zeros where the digest stands) and ``meta``; it comes first, so that it can be read and
checked before anything else in the file is believed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.errors import InputError, require
from minigrad.files import write_whole

__all__ = ["FORMAT_VERSION", "load", "save"]

FORMAT_VERSION = 1
"""The version of the format, written into each file and asked for when it is read."""

_DTYPES = {
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}
_HEAD = re.compile(
    rb'.{8}\{"__metadata__":\{"minigrad":"\{\\"version\\":(\d{1,9}),\\"sha256\\":\\"([0-9a-f]{64})',
    re.DOTALL,
)
_NO_DIGEST = "0" * 64


def save(path: str | PathLike[str], tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write ``tensors`` and ``meta`` to ``path``; a file that is there is replaced in one step.

    Arrays of any shape, on any device, are written contiguous and little-endian; float16 to
    float64, integers and booleans. ``meta`` is what JSON can hold, integers of any size included;
    arrays in it, such as those in the state of some random generators, become lists, tuples too.
    Whatever fails, a full disk or an interrupt, the old file stays as it was.

    Raises :class:`InputError` for what cannot be written and for a NaN or infinity in ``meta``,
    :class:`MissingExtra` without safetensors.

    >>> checkpoint.save("run.safetensors", {"w": np.array([1.0, 2.0])}, {"epoch": 3})
    >>> checkpoint.load("run.safetensors")
    ({'w': array([1., 2.])}, {'epoch': 3})
    """
    arrays = {name: _storable(name, array) for name, array in tensors.items()}
    if "__metadata__" in arrays:
        raise InputError("no tensor can be called '__metadata__' in a safetensors file; rename it")
    head = {"version": FORMAT_VERSION, "sha256": _NO_DIGEST, "meta": _plain(meta, "meta")}
    text = json.dumps(head, allow_nan=False, separators=(",", ":"))
    data = bytearray(require("safetensors.numpy", "checkpoint").save(arrays, {"minigrad": text}))
    match = _HEAD.match(data)
    assert match is not None, "safetensors no longer writes its metadata first"
    data[slice(*match.span(2))] = hashlib.sha256(data).hexdigest().encode()
    write_whole(path, data)


def load(path: str | PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """``(tensors, meta)`` as they were given to :func:`save`; the arrays are NumPy's, and writable.

    Raises :class:`InputError` where there is no such file, where a single byte of it is not as it
    was written, and where it is anything other than a checkpoint of :data:`FORMAT_VERSION`.

    >>> checkpoint.save("run.safetensors", {}, {})
    >>> with open("run.safetensors", "ab") as file:
    ...     _ = file.write(b"!")
    >>> checkpoint.load("run.safetensors")
    Traceback (most recent call last):
        ...
    minigrad.errors.InputError: checkpoint run.safetensors is damaged: ...
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"checkpoint {path} cannot be read ({error.strerror}); give the path of a checkpoint "
            "file that minigrad has saved"
        ) from error
    match = _HEAD.match(data)
    if match is None:
        raise InputError(f"{path} {_what_it_is(data)}; give a checkpoint that minigrad has saved")
    version, (start, stop) = int(match[1]), match.span(2)
    if version != FORMAT_VERSION:
        raise InputError(
            f"checkpoint {path} has format version {version}, and this minigrad reads version "
            f"{FORMAT_VERSION}; load it with the minigrad that saved it"
        )
    digest = hashlib.sha256(data[:start] + _NO_DIGEST.encode())
    digest.update(memoryview(data)[stop:])
    if digest.hexdigest().encode() != match[2]:
        raise InputError(
            f"checkpoint {path} is damaged: it was cut short or altered after it was saved (its "
            "SHA-256 does not match); use an older checkpoint or another copy"
        )
    tensors: dict[str, Array] = require("safetensors.numpy", "checkpoint").load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    meta: dict[str, Any] = json.loads(header["__metadata__"]["minigrad"])["meta"]
    return tensors, meta


def _storable(name: str, array: Array) -> Array:
    array = np.asarray(to_numpy(array))
    if array.dtype.name not in _DTYPES:
        raise InputError(
            f"tensor '{name}' is of dtype {array.dtype}, which a checkpoint cannot hold; convert "
            "it to a float, an integer or a boolean dtype"
        )
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def _plain(value: Any, where: str) -> Any:
    """``value`` in the types that JSON has, or the sentence that says where it cannot be."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), where)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}['{key}']") for key, item in value.items()}
    raise InputError(
        f"{where} is {value!r}, which JSON cannot hold; give strings, finite numbers, booleans, "
        "None, or lists and dicts (keyed by strings) of them"
    )


def _what_it_is(data: bytes) -> str:
    if not data:
        return "is empty"
    if data[8:10] == b'{"':
        return "is a safetensors file but no checkpoint of minigrad, or its beginning is damaged"
    if data.startswith((b"\x80", b"PK")):
        return (
            "looks like a pickle or an archive of pickles, as PyTorch writes them; minigrad never "
            "loads one, because loading a pickle can run any code"
        )
    return "is no checkpoint of minigrad, or its beginning is damaged"
