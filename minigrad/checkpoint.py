"""Checkpoints: one safetensors file with a SHA-256 of itself, replaced whole or not at all.

Never a pickle: reading a checkpoint runs no code. The file is an ordinary safetensors file. Its
metadata has one entry, ``minigrad``, a JSON text with ``version``, ``sha256`` (of the whole file,
with zeros where the digest stands) and ``meta``; it comes first, so that it can be read and
checked before anything else in the file is believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.errors import InputError, require

__all__ = ["FORMAT_VERSION", "check_names", "load", "save"]

FORMAT_VERSION = 1

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
    The file is written under a temporary name, synced and renamed: whatever fails, a full disk
    or an interrupt, the old file stays as it was and nothing else remains.

    Raises :class:`InputError` for what cannot be written and for a NaN or infinity in ``meta``,
    :class:`MissingExtra` without safetensors.
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
    _replace(Path(path), data)


def load(path: str | PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """``(tensors, meta)`` as they were given to :func:`save`; the arrays are NumPy's, and writable.

    Raises :class:`InputError` where there is no such file, where a single byte of it is not as it
    was written, and where it is anything other than a checkpoint of :data:`FORMAT_VERSION`.
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


def check_names(expected: Mapping[str, Array], given: Mapping[str, Array], what: str) -> None:
    """Raise :class:`InputError` unless ``given`` has the names, shapes and dtypes of ``expected``.

    ``what`` is how the sentence calls the given tensors. All that differs is listed: names that
    are missing, names that are not expected, and tensors of another shape or dtype.
    """
    faults = []
    if missing := [name for name in expected if name not in given]:
        faults.append(f"missing {', '.join(missing)}")
    if unexpected := [name for name in given if name not in expected]:
        faults.append(f"unexpected {', '.join(unexpected)}")
    for name, array in expected.items():
        if name in given and _form(array) != _form(given[name]):
            faults.append(f"{name} is {_form(given[name])} instead of {_form(array)}")
    if faults:
        raise InputError(
            f"{what} does not fit: {'; '.join(faults)}; use one saved from the same model and "
            "settings"
        )


def _form(array: Array) -> str:
    return f"{array.dtype} {tuple(array.shape)}"


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


def _replace(path: Path, data: bytearray) -> None:
    try:
        with _temporary(path) as temporary:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"checkpoint {path} could not be written ({error.strerror}), and whatever was there "
            "before is unchanged; make room, or give a folder that can be written to"
        ) from error
    _sync_folder(path.parent)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside ``path`` that nobody else uses, and that is gone afterwards."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the rename last through a power cut, where the system can sync a folder.

    Not all can, and by now the new file is whole and in place, so a refusal is no failure.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
