"""Arrays that take long to make, kept in the cache folder: made once by one process, memory-mapped by all."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from spikelab.datasets.files import locked, read_json, require_room, whole_folder, write_json
from spikelab.datasets.places import cache_folder

Item = TypeVar("Item")


def kept_array(
    name: str,
    about: dict[str, Any],
    shape: tuple[int, ...],
    fill: Callable[[np.ndarray], None],
    *,
    what: str,
    cache: bool = True,
    mode: str = "r",
) -> np.ndarray:
    """Return an array of uint8 from the cache folder; make it if it is not there or damaged.

    Args:
        name: what it holds, such as ``"frames"``: the folder in the cache, and the file.
        about: everything that the array depends on, as JSON can hold it; another content is another array.
        shape: the array's shape.
        fill: called with an array of zeros to fill.
        what: what a full disk had no room for, such as ``"the cache of 1,000 recordings"``.
        cache: if false, nothing is read or written.
        mode: ``"r"`` (read only) or ``"c"`` (changes stay in memory), as for :class:`numpy.memmap`.

    Returns:
        The array, memory-mapped if it is kept.

    Raises:
        DataError: if the disk is full. Where the cache folder cannot be written there is only a warning.
    """
    if not cache:
        made = np.zeros(shape, dtype=np.uint8)
        fill(made)
        return made
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:20]
    folder = cache_folder() / name / key
    found = _read(folder, name, about, shape, mode)
    if found is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder.parent).close()
    except OSError as error:
        mend = "set XDG_CACHE_HOME to a folder that can be written"
        warnings.warn(f"{name} are not kept: {folder.parent} cannot be written ({error}); {mend}", stacklevel=3)
        return kept_array(name, about, shape, fill, what=what, cache=False)
    with locked(folder):
        found = _read(folder, name, about, shape, mode)
        if found is None:
            require_room(folder.parent, int(np.prod(shape, dtype=np.int64)), what)
            with whole_folder(folder) as part:
                path = part / f"{name}.npy"
                made = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
                fill(made)
                made.flush()
                del made
                write_json(part / "about.json", about)
            found = _read(folder, name, about, shape, mode)
    return found


def with_bar(items: Iterable[Item], progress: bool, *, desc: str, unit: str) -> Iterable[Item]:
    """Return the items, with a bar on a terminal if ``progress`` is true."""
    if not progress:
        return items
    from tqdm import tqdm

    return tqdm(items, desc=desc, unit=unit, disable=None, leave=False)


def _read(folder: Path, name: str, about: dict, shape: tuple[int, ...], mode: str) -> np.ndarray | None:
    """Return the array of the cache, or ``None`` if it is absent or damaged."""
    if not (folder / "about.json").is_file():
        return None
    try:
        found = np.load(folder / f"{name}.npy", mmap_mode=mode, allow_pickle=False)
        kept = read_json(folder / "about.json")
    except (OSError, ValueError):
        return None
    return found if kept == about and found.shape == tuple(shape) and found.dtype == np.uint8 else None
