"""Address events as bytes: the 5-byte record of the ATIS camera, in which N-MNIST is stored."""

from __future__ import annotations

import numpy as np

from spikelab.events.array import EVENT, check_events

RECORD_BYTES = 5
OVERFLOW_ROW = 240  # one below the sensor's 240 rows: no event can have it
OVERFLOW_US = 2**13
_TIME_LIMIT_US = 2**23  # 23 bits


def decode_aer(raw: bytes, *, size: tuple[int, int] | None = (34, 34), source: str = "bytes") -> np.ndarray:
    """Read address events of 5 bytes each.

    Byte 0 is x, byte 1 is y, the top bit of byte 2 is the polarity, and the other 23 bits are the time in µs, most
    significant first: ``0a 1e 80 03 a9`` is x = 10, y = 30, ON, t = 3·256 + 169 = 937 µs. A record with y = 240 is no
    event: the time of all that follow grows by 2¹³ µs.

    Args:
        raw: the bytes of a file.
        size: (height, width) of the sensor; None accepts every address.
        source: what error messages call the bytes, say a file's name.

    Returns:
        The events ``[E]``, of dtype ``EVENT``.

    Raises:
        ValueError: if the bytes are no whole number of records, an address lies outside ``size`` or time runs
            backwards.

    Explained in chapter 04. Source: Orchard et al. 2015 (N-MNIST); overflow records as ``tonic`` reads them.
    """
    records = np.frombuffer(raw, dtype=np.uint8)
    left_over = len(records) % RECORD_BYTES
    if left_over:
        raise ValueError(
            f"{source}: {len(records)} bytes are no whole number of {RECORD_BYTES}-byte events "
            f"({left_over} left over): the file is cut short or in another format; fetch it again"
        )
    x, y, high, middle, low = np.ascontiguousarray(records.reshape(-1, RECORD_BYTES).T)
    t = (high & 127).astype(np.int64) << 16 | middle.astype(np.int64) << 8 | low
    overflow = y == OVERFLOW_ROW
    if overflow.any():
        t += OVERFLOW_US * np.cumsum(overflow)
        x, y, high, t = (column[~overflow] for column in (x, y, high, t))
    events = np.empty(len(t), dtype=EVENT)
    events["x"], events["y"], events["p"], events["t"] = x, y, high >> 7, t
    return check_events(events, size=size, source=source)


def encode_aer(events: np.ndarray) -> bytes:
    """Write events as 5-byte records; ``decode_aer`` reads them back.

    Times of 2²³ µs (8.4 s) and more do not fit into 23 bits: overflow records before them carry the rest.

    Args:
        events: sorted events ``[E]`` of dtype ``EVENT``, with x up to 255 and y up to 255 but not 240.

    Returns:
        The bytes.

    Raises:
        ValueError: if the events are not valid or an address does not fit.

    Explained in chapter 04.
    """
    check_events(events)
    for name in ("x", "y"):
        fault = events[name] > 255
        if fault.any():
            first = int(np.argmax(fault))
            raise ValueError(
                f"events: event {first} has {name} = {events[name][first]}, which does not fit into a byte (0..255); "
                "write .txt or .npz instead"
            )
    if (events["y"] == OVERFLOW_ROW).any():
        first = int(np.argmax(events["y"] == OVERFLOW_ROW))
        raise ValueError(
            f"events: event {first} has y = {OVERFLOW_ROW}, which marks an overflow of time in this format; "
            "write .txt or .npz instead"
        )
    t = events["t"]
    carried = np.maximum(0, (t - _TIME_LIMIT_US) // OVERFLOW_US + 1)  # overflow records before each event
    t = t - OVERFLOW_US * carried
    records = np.empty((len(events), RECORD_BYTES), dtype=np.uint8)
    records[:, 0], records[:, 1] = events["x"], events["y"]
    records[:, 2] = (t >> 16) | (events["p"].astype(np.int64) << 7)
    records[:, 3], records[:, 4] = (t >> 8) & 255, t & 255
    new = np.diff(carried, prepend=0)
    if new.any():
        overflow = np.array([0, OVERFLOW_ROW, 0, 0, 0], dtype=np.uint8)
        records = np.insert(records, np.repeat(np.arange(len(events)), new), overflow, axis=0)
    return records.tobytes()
