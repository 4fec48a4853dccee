"""Files that are whole or not there: written beside their place under another name, then moved into it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

_MARK = ".part-"


class WriteError(OSError):
    """A file could not be written; what was there before is untouched."""

    def __str__(self) -> str:
        return self.strerror


def write_atomically(
    path: str | os.PathLike, content: bytes | str | Callable[[Path], None], *, sync: bool = True
) -> Path:
    """Write a file so that a reader, a kill or a full disk never sees half of it.

    Args:
        path: the file; its folder is made if it is missing.
        content: bytes, text (written as UTF-8), or a function that writes to the path it is given.
        sync: wait until the disk has it, so that even a power cut leaves a whole file; for thousands of small files
            that is slow, and False still keeps readers and kills from half of one.
    Returns:
        ``path``.
    Raises:
        WriteError: naming the file and what to do. The file that was there before, if any, stays as it was.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}{_MARK}{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(part)
        else:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
        if sync:
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise WriteError(
            error.errno, f"{path} could not be written: {error.strerror or error}. {_mend(error)}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def make_folder(folder: Path) -> None:
    """Make a folder, or remove from one that is there what a killed run left half-written.

    Raises:
        WriteError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob(f".*{_MARK}*"):
            part.unlink(missing_ok=True)
    except OSError as error:
        said = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise WriteError(error.errno, f"{folder} cannot be used as a folder: {said}. {_mend(error)}") from error


def _mend(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space and run the same command again; what was there before is untouched."
    return "Give another folder, or make this one writable."
