"""Files that are replaced whole or not at all, and the folders they go to."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path

from minigrad.errors import InputError

__all__ = ["make_folder", "write_whole"]


def make_folder(folder: str | os.PathLike[str], what: str, option: str = "--out") -> None:
    """Make the ``folder`` that a ``what`` will go to, unless it is there.

    Raises :class:`InputError`, which names the ``option`` to give another with, where nothing can
    be written to it: before the work whose result would be lost.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "it is read-only"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise InputError(
            f"the folder '{folder}' for the {what} cannot be written ({reason}); name another "
            f"with {option}"
        )


def write_whole(path: str | os.PathLike[str], data: bytes | bytearray) -> None:
    """Write ``data`` to ``path``; a file that is there is replaced in one step.

    It is written beside ``path`` under a name of its own, synced and renamed: whatever fails, a
    full disk or an interrupt, the old file stays as it was and nothing else remains. Raises
    :class:`InputError` for what the system refuses.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise InputError(
            f"{path} could not be written ({error.strerror}), and whatever was there before is "
            f"unchanged; {'make room, or ' * full}name a folder that exists and can be written to"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    # The rename lasts through a power cut once the folder is synced, which not every system can
    # do; by now the new file is whole and in place, so a refusal is no failure.
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
