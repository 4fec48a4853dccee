"""Events as arrays, and the files they come in.

An address event says that pixel (x, y) saw the logarithm of its light change by one step, up (p = 1, ON) or down
(p = 0, OFF), at time t. A recording is one structured array of such events, sorted in time:

    x, y   int16   column and row, from the top left corner
    p      int8    1 = ON, 0 = OFF
    t      int64   µs since the start of the recording

Explained in chapter 04.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spikelab.events.aer import decode_aer, encode_aer
from spikelab.events.array import EVENT, check_events, make_events
from spikelab.files import write_atomically

_TEXT_HEADER = "# x y p t_us"


def read_events(path: str | Path, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a recording; the suffix says how.

    ``.bin`` is the 5-byte format of N-MNIST and ATIS (``decode_aer``); ``.txt`` has one event per line, ``x y p t``,
    with ``#`` before remarks; ``.npz`` holds one array for each of x, y, p and t.

    Args:
        path: the file.
        size: (height, width) of the sensor; when given, events outside are an error.

    Returns:
        The events ``[E]``, of dtype ``EVENT``, sorted in time.

    Raises:
        ValueError: for an unknown suffix, and for content that is damaged, out of range or runs backwards in time. The
            message names the file.
        FileNotFoundError: if there is no such file.
    """
    path = Path(path)
    reader = _by_suffix(path, _READERS)
    return reader(path, size)


def write_events(path: str | Path, events: np.ndarray) -> None:
    """Write a recording in the format of its suffix (``.bin``, ``.txt`` or ``.npz``): the whole file or nothing.

    Args:
        path: the file; one that is there is replaced, a missing folder made.
        events: sorted events ``[E]`` of dtype ``EVENT``.

    Raises:
        ValueError: for an unknown suffix, for events that are not sorted, and for values that the format cannot hold.
    """
    path = Path(path)
    writer = _by_suffix(path, _WRITERS)
    check_events(events, source=f"events for {path}")

    def write(part: Path) -> None:
        with part.open("wb") as file:
            writer(file, events)

    write_atomically(path, write)


def _by_suffix(path: Path, table: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    suffix = path.suffix.lower()
    if suffix not in table:
        raise ValueError(f"{path}: unknown suffix {path.suffix!r}; event files end in {', '.join(table)}")
    return table[suffix]


def _read_bin(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    return decode_aer(path.read_bytes(), size=size, source=str(path))


def _read_txt(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    rows = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            fields = line.split("#")[0].replace(",", " ").split()
            if fields:
                rows.append(_text_event(fields, f"{path}, line {number}"))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return check_events(make_events(*columns, source=str(path)), size=size, source=str(path))


def _text_event(fields: list[str], where: str) -> list[int]:
    try:
        x, y, p, t = (int(field) for field in fields)
    except ValueError:
        raise ValueError(
            f"{where}: expected four whole numbers 'x y p t', got {' '.join(fields)[:60]!r}; "
            "mend the line or put # before it"
        ) from None
    return [x, y, p, t]


def _read_npz(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
        except FileNotFoundError:
            raise
        except Exception as error:  # zipfile, zlib, struct and numpy each raise their own kind
            raise ValueError(f"{path}: no readable npz archive ({error}); fetch or write it again") from None
    missing = [name for name in EVENT.names if name not in found]
    if missing:
        raise ValueError(
            f"{path}: array {', '.join(missing)} missing (found {', '.join(found) or 'none'}); need x, y, p, t"
        )
    events = make_events(*(found[name] for name in EVENT.names), source=str(path))
    return check_events(events, size=size, source=str(path))


def _write_bin(file: Any, events: np.ndarray) -> None:
    file.write(encode_aer(events))


def _write_txt(file: Any, events: np.ndarray) -> None:
    file.write(f"{_TEXT_HEADER}\n".encode())
    np.savetxt(file, np.stack([events[name].astype(np.int64) for name in EVENT.names], axis=1), fmt="%d")


def _write_npz(file: Any, events: np.ndarray) -> None:
    np.savez_compressed(file, **{name: np.ascontiguousarray(events[name]) for name in EVENT.names})


_READERS = {".bin": _read_bin, ".txt": _read_txt, ".npz": _read_npz}
_WRITERS = {".bin": _write_bin, ".txt": _write_txt, ".npz": _write_npz}
