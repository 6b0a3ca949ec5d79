"""The cache of compiled kernels, which many processes share: whole files or none, made once."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

__all__ = [
    "SEAL",
    "CompileError",
    "cache_folder",
    "cached",
    "digest",
    "one_at_a_time",
    "own_folder",
]

SEAL = 20  # bytes of a digest, at the end of each file in the cache
_REMEMBERED = 600  # seconds for which what failed is not tried again


class CompileError(RuntimeError):
    """What a compiler said when it failed."""


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``$MINIGRAD_CACHE``, or minigrad in the user's cache.

    Entries for older texts and compilers stay until the folder is deleted, which does no harm: what
    is needed is compiled again.
    """
    given = os.environ.get("MINIGRAD_CACHE")
    if given:
        return Path(given).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "minigrad").absolute()


def cached(name: str, make: Callable[[], bytes], again: bool = False) -> Path:
    """The cache's file ``name``, made where it is absent or damaged.

    Where the cache cannot be written, the file is one of this process alone. What could not be made
    is remembered beside it for a while, so that not every process tries; but ``again`` tries.
    """
    content = b""
    for folder in (cache_folder, own_folder):
        with contextlib.suppress(OSError):  # no such user, no rights, a full disk
            file = folder() / name
            if _whole(file):
                return file
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with one_at_a_time(file.with_suffix(".lock")):
                if not _whole(file):
                    content = content or _made(make, file.with_suffix(".failed"), again)
                    _write(file, content + digest(content))
            return file
    raise OSError(f"neither {cache_folder()} nor a temporary folder can be written")


def _made(make: Callable[[], bytes], failed: Path, again: bool) -> bytes:
    """What ``make`` makes; where it fails, ``failed`` keeps the compiler's words."""
    with contextlib.suppress(FileNotFoundError):
        if not again and abs(time.time() - failed.stat().st_mtime) < _REMEMBERED:
            raise CompileError(failed.read_text(encoding="utf-8", errors="replace"))
    try:
        content = make()
    except CompileError as error:
        with contextlib.suppress(OSError):
            _write(failed, str(error).encode(errors="replace"))
        raise
    failed.unlink(missing_ok=True)
    return content


def _write(file: Path, content: bytes) -> None:
    """Write to a name of our own, then rename: whoever looks finds all of it or nothing."""
    handle, part = tempfile.mkstemp(dir=file.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(part, file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _whole(file: Path) -> bool:
    """Whether nothing is missing or changed: to load a part of a library can end the process."""
    try:
        content = file.read_bytes()
    except OSError:
        return False
    return content[-SEAL:] == digest(content[:-SEAL])


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """While one process compiles, those that want the same wait for it, where files can be locked;
    elsewhere each compiles, which is slow but right."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            while True:
                handle = stack.enter_context(path.open("w"))
                fcntl.flock(handle, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                        break  # else it was removed by whoever held it before: its name is free
                handle.close()
            stack.callback(path.unlink, missing_ok=True)  # still locked: nobody else holds it
        yield


@cache
def own_folder() -> Path:
    """A temporary folder of this process alone, removed when it ends."""
    place = tempfile.mkdtemp(prefix="minigrad-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)


def digest(*parts: str | bytes) -> bytes:
    """A hash of ``parts`` that tells apart what their concatenation would not."""
    whole = hashlib.blake2b(digest_size=SEAL)
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.digest()
