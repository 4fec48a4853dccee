"""Unpacking archives that others made, without trusting them: every member is looked at before the first is written."""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple

from spikelab.datasets.errors import FetchError
from spikelab.datasets.files import require_room


class _Member(NamedTuple):
    name: str
    kind: str  # "file", "folder", or what else it is
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, kind: Literal["zip", "tar"]) -> list[str]:
    """Unpack an archive's files into an empty folder.

    Args:
        archive: a zip archive or a (compressed) tar archive.
        folder: where to; must exist.
        kind: ``"zip"`` or ``"tar"``.

    Returns:
        The names directly below ``folder`` that it wrote.

    Raises:
        FetchError: if the archive is damaged, holds an absolute path, ``..``, a link, a device or the same file twice,
            or if its files do not fit on the disk. Nothing outside ``folder`` is ever written.
    """
    try:
        with (_zip if kind == "zip" else _tar)(archive) as found:
            members = [member._replace(name=_safe_name(archive, member)) for member in found]
            files = [member for member in members if member.kind == "file"]
            name, times = max(Counter(file.name for file in files).items(), key=lambda item: item[1], default=("", 0))
            if times > 1:
                raise FetchError(f"{archive} holds {name} {times} times; nothing was unpacked")
            require_room(folder, sum(file.size for file in files), f"unpacking {archive.name}")
            for member in members:
                place = folder / member.name
                if member.kind == "folder":
                    place.mkdir(parents=True, exist_ok=True)
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    _copy(archive, member, place)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError) as error:
        raise FetchError(f"{archive} is damaged ({error}): remove it and fetch it again") from error
    return sorted({member.name.split("/")[0] for member in members})


def _copy(archive: Path, member: _Member, place: Path) -> None:
    with member.open() as source, open(place, "xb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    if place.stat().st_size != member.size:
        raise FetchError(
            f"{archive} is damaged: {member.name} has {place.stat().st_size:,} bytes instead of {member.size:,}; "
            f"remove it and fetch it again"
        )


def _safe_name(archive: Path, member: _Member) -> str:
    """Return a member's name below the folder, or raise if it leads elsewhere or is neither file nor folder."""
    if member.kind not in ("file", "folder"):
        raise FetchError(f"{archive} holds a {member.kind} ({member.name!r}), which is not safe; nothing was unpacked")
    name = member.name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in parts or "\0" in name or not parts:
        raise FetchError(
            f"{archive} holds {member.name!r}, which leads out of the folder; nothing was unpacked. "
            f"Do not use this archive: report where it came from"
        )
    return "/".join(parts)


@contextlib.contextmanager
def _zip(archive: Path) -> Iterator[list[_Member]]:
    with zipfile.ZipFile(archive) as opened:
        yield [
            _Member(info.filename, _zip_kind(info), info.file_size, lambda info=info: opened.open(info))
            for info in opened.infolist()
        ]


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "device file"
    return "folder" if info.is_dir() else "file"


@contextlib.contextmanager
def _tar(archive: Path) -> Iterator[list[_Member]]:
    with tarfile.open(archive) as opened:
        members = [
            _Member(info.name, _tar_kind(info), info.size, lambda info=info: opened.extractfile(info))
            for info in opened.getmembers()
        ]
        # A tar made with "tar czf X.tar.gz ." begins with its own folder.
        yield [member for member in members if not (member.kind == "folder" and member.name in (".", "./"))]
        # The compressed stream ends with a checksum, which is only looked at by who reads to the end.
        while opened.fileobj.read(1 << 20):
            pass


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "link"
    if info.isdir():
        return "folder"
    return "file" if info.isreg() else "device file"
