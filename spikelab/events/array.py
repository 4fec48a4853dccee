"""The structured array that holds a recording, and its checks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("p", np.int8), ("t", np.int64)])
"""One address event: column, row, polarity (1 = ON, 0 = OFF) and time in µs."""


def make_events(x: ArrayLike, y: ArrayLike, p: ArrayLike, t: ArrayLike, *, source: str = "events") -> np.ndarray:
    """Put four columns into one array of events.

    Args:
        x: columns ``[E]``, whole numbers.
        y: rows ``[E]``.
        p: polarities ``[E]``, 1 = ON and 0 = OFF (booleans will do).
        t: times ``[E]`` in µs.
        source: what error messages call the events.

    Returns:
        Events ``[E]`` of dtype ``EVENT``, in the order given (``check_events`` says whether that is the order of time).

    Raises:
        ValueError: if the columns differ in length, hold fractions or do not fit into their field.

    Explained in chapter 04.
    """
    columns = {name: np.asarray(column) for name, column in zip(EVENT.names, (x, y, p, t), strict=True)}
    lengths = {name: column.shape for name, column in columns.items()}
    if any(column.ndim != 1 for column in columns.values()) or len(set(lengths.values())) > 1:
        raise ValueError(f"{source}: x, y, p and t must be four columns of one length, got shapes {lengths}")
    events = np.empty(len(columns["x"]), dtype=EVENT)
    for name, column in columns.items():
        events[name] = _fitting(name, column, source)
    return events


def check_events(events: np.ndarray, *, size: tuple[int, int] | None = None, source: str = "events") -> np.ndarray:
    """Return ``events``, or raise if they are no valid recording.

    Args:
        events: array ``[E]`` of dtype ``EVENT``.
        size: (height, width) of the sensor in pixels; None checks no upper bound.
        source: what error messages call the events, say a file's name.

    Returns:
        The same array.

    Raises:
        ValueError: naming ``source``, the first offending event and its value, if the dtype is another one, a
            polarity is neither 0 nor 1, a place or time is negative, a place lies outside ``size`` or time runs
            backwards.

    Explained in chapter 04.
    """
    if not isinstance(events, np.ndarray) or events.dtype != EVENT or events.ndim != 1:
        found = f"{events.dtype} {events.shape}" if isinstance(events, np.ndarray) else type(events).__name__
        raise ValueError(
            f"{source}: must be one array [E] of dtype spikelab.events.EVENT, got {found}; use make_events"
        )
    if not len(events):
        return events
    height, width = check_size(size) if size is not None else (None, None)
    column = {name: np.ascontiguousarray(events[name]) for name in EVENT.names}  # fields are far apart in memory
    _refuse(source, "p", column["p"], 0, 1, "a polarity is 1 (ON) or 0 (OFF)", "a polarity is 1 (ON) or 0 (OFF)")
    for name, limit, side in (("x", width, "columns"), ("y", height, "rows")):
        last = np.iinfo(EVENT[name]).max if limit is None else limit - 1
        beyond = f"the sensor has {limit} {side}; is size=(height, width) right?"
        _refuse(source, name, column[name], 0, last, "places count from 0", beyond)
    _refuse(source, "t", column["t"], 0, np.iinfo(EVENT["t"]).max, "times count from 0 µs", "")
    t = column["t"]
    if (t[1:] < t[:-1]).any():
        backwards = np.flatnonzero(t[1:] < t[:-1])
        first = int(backwards[0])
        before, after = int(t[first]), int(t[first + 1])
        raise ValueError(
            f"{source}: time runs backwards at event {first + 1}, from {before} to {after} µs ({len(backwards)} such "
            "places); if the order does not matter, sort with events[np.argsort(events['t'], kind='stable')]"
        )
    return events


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) as two ints, or raise if they are not two whole numbers of at least 1."""
    try:
        height, width = (int(side) for side in size)
        whole = all(int(side) == side for side in size)
    except (TypeError, ValueError):
        raise ValueError(f"size must be (height, width) in pixels, got {size!r}") from None
    if not whole or height < 1 or width < 1:
        raise ValueError(f"size must be (height, width), whole numbers of at least 1, got {size!r}")
    return height, width


def sort_events(events: np.ndarray) -> np.ndarray:
    """Return the events in the order of time; those of one µs keep their order."""
    return events[np.argsort(events["t"], kind="stable")]


def _fitting(name: str, column: np.ndarray, source: str) -> np.ndarray:
    if not len(column):
        return column
    if column.dtype.kind not in "iubf" or (column.dtype.kind == "f" and not (column == np.floor(column)).all()):
        raise ValueError(f"{source}: {name} must hold whole numbers, got {column.dtype}, say {column.flat[0]!r}")
    limits = np.iinfo(EVENT[name])
    fault = (column < limits.min) | (column > limits.max)
    if fault.any():
        value = column[np.argmax(fault)]
        raise ValueError(f"{source}: {name} must lie in {limits.min}..{limits.max}, got {value} at {np.argmax(fault)}")
    return column


def _refuse(source: str, name: str, column: np.ndarray, low: int, high: int, below: str, above: str) -> None:
    if column.min() >= low and column.max() <= high:
        return
    fault = (column < low) | (column > high)
    first = int(np.argmax(fault))
    because = below if column[first] < low else above
    raise ValueError(
        f"{source}: event {first} has {name} = {column[first]}, but {because} ({int(fault.sum())} such events)"
    )
