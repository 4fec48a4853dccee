"""Downloading data sets: mirrors in order, going on where a download broke off, checksums, safe unpacking.

A file appears under its name only when it is whole and its checksum is right. Until then it is ``.NAME.part`` beside
it, from which the next attempt goes on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spikelab.datasets.archives import unpack
from spikelab.datasets.errors import DataError, FetchError, require_package
from spikelab.datasets.files import disk_errors, locked, read_json, require_room, whole_folder, write_json
from spikelab.datasets.manifest import DataSet, RemoteFile, data_set
from spikelab.datasets.places import data_root

NOTE = ".fetched.json"  # in a data set's folder: the checksums of what it was made from
TRIES = 3  # per mirror, each from where the last one broke off
PAUSE_S = 2.0  # before the second try, and twice as long before the third
TIMEOUT_S = (10, 60)  # to connect; between two pieces
PIECE = 1 << 16  # a broken connection loses less than this


def fetch(
    name: str | DataSet,
    *,
    root: str | os.PathLike | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
    pause_s: float = PAUSE_S,
) -> Path:
    """Download a data set and unpack it, or go on with what is missing of it.

    Args:
        name: as ``spikelab data list`` gives it, or an entry of one's own.
        root: folder that is to hold the data set's folder; if not given, the data folder.
        progress: show a bar on a terminal.
        say: called with one line per event: where it downloads from, which mirror failed, what was measured.
        pause_s: seconds to wait after a try that failed.

    Returns:
        The data set's folder.

    Raises:
        ValueError: if there is no such data set.
        ImportError: if pooch is not installed.
        FetchError: if every mirror fails, a checksum is wrong, an archive is damaged or unsafe, or the set has to be
            downloaded by hand. The message says what to do.
        DataError: if the disk is full or may not be written.

    Explained in chapter 04.
    """
    entry = name if isinstance(name, DataSet) else data_set(name)
    say = say or (lambda line: None)
    if entry.make:
        raise FetchError(f"{entry.name} is not downloaded but made: spikelab data make {entry.make}")
    folder = (Path(root) if root is not None else data_root()) / entry.name
    with disk_errors(folder), locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file in entry.files:
            if missing(folder, file):
                _bring(entry, file, folder, progress, say, pause_s)
            else:
                say(f"{file.name}: there already ({', '.join(file.holds)})")
    return folder


def missing(folder: Path, file: RemoteFile) -> list[str]:
    """Return what of a file's content the data set's folder lacks."""
    return [name for name in file.holds if not (folder / name).exists()]


def checksum(path: Path, kind: str = "sha256") -> str:
    """Return the checksum of a file in hexadecimal digits."""
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, kind).hexdigest()


def _bring(
    entry: DataSet, file: RemoteFile, folder: Path, progress: bool, say: Callable[[str], None], pause_s: float
) -> None:
    """Download, check and unpack one file."""
    path = folder / file.name
    if path.exists():
        _check(path, file, say)
    elif not file.urls:
        raise FetchError(f"{entry.name} cannot be fetched. {entry.by_hand}, put it at {path}, and run this again")
    else:
        _download(file, path, progress, say, pause_s)
    measured = checksum(path)
    if file.unpack:
        with whole_folder(folder / f".{file.name}.unpacked") as part:
            found = unpack(path, part, file.unpack)
        unpacked = folder / f".{file.name}.unpacked"
        try:
            wanted = unpacked / file.inside
            absent = [name for name in file.holds if not (wanted / name).exists()]
            if absent:
                places = ", ".join(str(Path(file.inside, name)) for name in absent)
                raise FetchError(f"{path} holds {', '.join(found)}, but no {places}: is it the right file?")
            found = sorted(entry.name for entry in wanted.iterdir())
            _join(wanted, folder, [wanted / name for name in file.holds])
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        path.unlink()
        say(f"{file.name}: unpacked {', '.join(found)}")
    note = folder / NOTE
    write_json(note, (read_json(note) if note.is_file() else {}) | {file.name: {"sha256": measured}})


def _join(source: Path, target: Path, last: list[Path]) -> None:
    """Move a folder's content into another, in which what is there already stays.

    What tells that all is there moves last, so that a run that breaks off is done again.
    """
    places = sorted(source.iterdir(), key=lambda place: (any(mark.is_relative_to(place) for mark in last), place))
    for place in places:
        new = target / place.name
        if not new.exists():
            os.replace(place, new)
        elif place.is_dir() and new.is_dir():
            _join(place, new, last)


def _check(path: Path, file: RemoteFile, say: Callable[[str], None]) -> None:
    """Raise if a checksum of a file differs, and say what was measured where none is published."""
    for kind in ("sha256", "md5"):
        published = getattr(file, kind)
        if published is not None and checksum(path, kind) != published:
            raise FetchError(
                f"{path} has the wrong {kind}: {checksum(path, kind)} instead of {published}. "
                f"It is damaged or another version: remove it and fetch it again"
            )
    if file.sha256 is None:
        known = "its MD5 is right" if file.md5 else "no checksum is published, compare it with one that you trust"
        say(f"{file.name}: sha256 {checksum(path)} measured; {known}")


def _download(file: RemoteFile, path: Path, progress: bool, say: Callable[[str], None], pause_s: float) -> None:
    require_package("pooch")
    import pooch

    pooch.get_logger().setLevel("ERROR")  # pooch would repeat on stderr what say() and the errors tell
    known = f"sha256:{file.sha256}" if file.sha256 else f"md5:{file.md5}" if file.md5 else None
    part = path.with_name(f".{file.name}.part")
    failures = []
    for url in file.urls:
        for fresh in (False, True):
            resumed = part.exists() and part.stat().st_size > 0
            say(f"{file.name}: {'going on' if resumed else 'downloading'} from {url}")
            downloader = _Resuming(part, file, progress, pause_s)
            try:
                pooch.retrieve(url, known, fname=path.name, path=path.parent, downloader=downloader)
                _check(path, file, say)
                return
            except _MirrorFailed as error:
                failures.append(f"{url}: {error}")
                break
            except DataError:
                path.unlink(missing_ok=True)
                raise
            except ValueError:  # pooch's word for a wrong checksum; what it downloaded is gone
                failures.append(f"{url}: wrong checksum, expected {known}")
                if not (resumed and not fresh):
                    break
                say(f"{file.name}: wrong checksum after going on; once more from the start")
        say(failures[-1])
    half = f" What has come so far is kept in {part}; the same command goes on." if part.exists() else ""
    raise FetchError(
        f"{file.name} could not be downloaded:\n  " + "\n  ".join(failures) + f"\nCheck the network, or download it "
        f"with a browser and put it at {path}.{half}"
    )


class _MirrorFailed(Exception):
    """This address did not give the whole file."""


class _Resuming:
    """A downloader for pooch that keeps what came in ``part`` and asks for the rest of it (HTTP Range)."""

    def __init__(self, part: Path, file: RemoteFile, progress: bool, pause_s: float) -> None:
        self.part, self.file, self.progress, self.pause_s = part, file, progress, pause_s

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        import requests

        for attempt in range(TRIES):
            try:
                self._ask(url)
                os.replace(self.part, output_file)
                return
            except requests.HTTPError as error:
                code = error.response.status_code
                if code < 500 or attempt == TRIES - 1:
                    raise _MirrorFailed(f"the server answers {code} {error.response.reason}") from error
            except requests.RequestException as error:
                if attempt == TRIES - 1:
                    raise _MirrorFailed(_in_words(error)) from error
            time.sleep(self.pause_s * 2**attempt)

    def _ask(self, url: str) -> None:
        """Append to ``part`` what the server still has of the file."""
        import requests
        from tqdm import tqdm

        have = self.part.stat().st_size if self.part.exists() else 0
        # Encoded (gzipped) answers could not be continued byte by byte.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            if have and answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{have}":
                return  # it came whole, but an earlier run ended before it could say so
            if answer.status_code != 416:
                answer.raise_for_status()
            if have and not _goes_on(answer, have):
                self.part.unlink()
                if answer.status_code != 200:
                    raise requests.ConnectionError(f"the server cannot go on from byte {have:,}")
                have = 0  # it sends the whole file
            rest = answer.headers.get("Content-Length")
            total = have + int(rest) if rest and rest.isdecimal() else self.file.size
            if total is not None:
                require_room(self.part.parent, total - have, f"downloading {self.file.name}")
            bar = tqdm(
                desc=self.file.name,
                total=total,
                initial=have,
                unit="B",
                unit_scale=True,
                disable=None if self.progress else True,
                leave=False,
            )
            try:
                with bar, disk_errors(self.part.parent), open(self.part, "ab" if have else "wb") as out:
                    for piece in answer.iter_content(PIECE):
                        out.write(piece)
                        bar.update(len(piece))
            except DataError:
                self.part.unlink(missing_ok=True)  # give the room on the full disk back
                raise
        got = self.part.stat().st_size
        if total is not None and got != total:
            raise requests.ConnectionError(f"the connection ended after {got:,} of {total:,} bytes")


def _goes_on(answer: Any, have: int) -> bool:
    return answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _in_words(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError) and "Failed to resolve" in str(error):
        return "the address is unknown: is there a network?"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the connection broke off ({error})"
    return f"no connection ({error})"
