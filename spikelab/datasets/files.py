"""Writing whole files or none, locks between processes, and short hashes that name the data of a result."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spikelab.datasets.errors import DataError
from spikelab.files import write_atomically

MARGIN_BYTES = 50_000_000  # left free on a disk beyond what is asked for


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one, the new one, but never a part of it."""
    with disk_errors(path.parent):
        write_atomically(path, content, sync=False)  # thousands of recordings


def write_json(path: Path, content: Any) -> None:
    """Write JSON with :func:`write_atomic`."""
    write_atomic(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON; a file that holds something else is a :class:`DataError` that says to remove it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}): remove it and run the command again") from None


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the name ``path`` only if the block ends without an error.

    Hold :func:`locked` on ``path`` around it: what an earlier process left of the same temporary folder is removed.
    """
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        with disk_errors(path.parent):
            yield part
            if path.exists():
                shutil.rmtree(path)
            os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time make ``path``. A process that dies gives the lock back."""
    from filelock import FileLock

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into a :class:`DataError` with the mend."""
    try:
        yield
    except OSError as error:
        mend = "Free some space, or name a folder on another disk in SPIKELAB_DATA or XDG_CACHE_HOME"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"the disk of {folder} is full ({error.strerror}). {mend}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise DataError(f"{error.filename or folder} cannot be written ({error.strerror}). {mend}") from error
        raise


def require_room(folder: Path, num_bytes: int, what: str) -> None:
    """Raise :class:`DataError` before a long job if the disk has no room for its result."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if num_bytes + MARGIN_BYTES > free:
        raise DataError(
            f"{what} needs {num_bytes / 1e6:,.0f} MB, but the disk of {there} has {free / 1e6:,.0f} MB free. "
            f"Free some space, or name a folder on another disk in SPIKELAB_DATA or XDG_CACHE_HOME"
        )


def data_hash(files: Iterable[str | os.PathLike], *, root: str | os.PathLike | None = None) -> str:
    """Return 16 hexadecimal digits that change whenever a file, its name or the order of the files does.

    Result files carry it, so that a number can be traced to the data that it was measured on.

    Args:
        files: paths, in the order in which a data set gives them.
        root: if given, the names that count are the paths below it (for N-MNIST they hold the digit); otherwise only
            the last part of each path counts. A copy of the data elsewhere has the same hash.

    Raises:
        DataError: if a file cannot be read.
    """
    paths = [Path(file) for file in files]
    names = [path.relative_to(root).as_posix() if root is not None else path.name for path in paths]
    digest = hashlib.sha256()
    for path, name in zip(paths, names, strict=True):
        try:
            content = path.read_bytes() if path.stat().st_size < 1 << 26 else None
            inner = hashlib.sha256(content).digest() if content is not None else _hash_large(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        digest.update(name.encode() + b"\0" + inner)
    return digest.hexdigest()[:16]


def _hash_large(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
