"""Where data sets live, and which profile runs. Both are asked of the environment at each call, never remembered."""

from __future__ import annotations

import os
from pathlib import Path

from spikelab.datasets.errors import DataError
from spikelab.validation import require_choice

PROFILES = ("fast", "full")


def cache_folder() -> Path:
    """Return the folder for what spikelab makes or fetches itself, which need not exist yet.

    It is ``$XDG_CACHE_HOME/spikelab``, or ``~/.cache/spikelab`` if that is not set.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "spikelab"


def data_root() -> Path:
    """Return the folder that holds the data sets: ``$SPIKELAB_DATA``, or the cache folder if that is not set.

    Raises:
        DataError: if ``SPIKELAB_DATA`` names something that is not a folder.
    """
    named = os.environ.get("SPIKELAB_DATA")
    if not named:
        return cache_folder()
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataError(f"SPIKELAB_DATA={named} is not a folder: make it, name another one, or unset the variable")
    return folder


def profile() -> str:
    """Return ``"fast"`` (seconds on two CPU cores, the default) or ``"full"`` (the real set at the paper's scale).

    Raises:
        ValueError: if ``SPIKELAB_PROFILE`` is set to something else.
    """
    return require_choice("SPIKELAB_PROFILE", os.environ.get("SPIKELAB_PROFILE") or "fast", PROFILES)


def find_folder(name: str, root: str | os.PathLike | None = None) -> Path | None:
    """Return the folder of a data set, or ``None`` if there is none.

    Args:
        name: the data set's folder, such as ``"nmnist"``.
        root: where to look; if not given, :func:`data_root` and then :func:`cache_folder`.
    """
    places = [Path(root).expanduser()] if root is not None else [data_root(), cache_folder()]
    return next((place / name for place in places if (place / name).is_dir()), None)


def require_folder(name: str, mend: str, root: str | os.PathLike | None = None) -> Path:
    """Return the folder of a data set, or raise :class:`DataError` that says where it was looked for and the mend."""
    folder = find_folder(name, root)
    if folder is None:
        looked = [Path(root)] if root is not None else dict.fromkeys([data_root(), cache_folder()])
        raise DataError(f"no folder {name} in {' or '.join(map(str, looked))}: {mend}, or set SPIKELAB_DATA")
    return folder
