"""The error that everything in ``spikelab.datasets`` raises about data: what is wrong, where, and the mend."""

from __future__ import annotations


class DataError(ValueError):
    """A data set, a file of one, or the room to keep it is missing, broken or not what was asked for."""


class FetchError(DataError):
    """A download failed: no network, no mirror that answers, a wrong checksum, a full disk, an unsafe archive."""


def require_package(package: str) -> None:
    """Raise ``ImportError`` with the mend if an optional package of the extra ``data`` is missing."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ImportError(f"reading or fetching data needs {package}: pip install 'spikelab[data]'")
