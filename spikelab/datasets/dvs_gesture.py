"""DVS128 Gesture in its original files: AEDAT 3.1 recordings with a table of gestures beside each."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from spikelab.datasets.errors import DataError
from spikelab.datasets.places import require_folder
from spikelab.events import EVENT, check_events
from spikelab.validation import require_choice

FOLDER = "dvs-gesture"
CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter clockwise",
    "left arm clockwise",
    "left arm counter clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
TRIALS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
VERSION_LINE, HEADER_END = b"#!AER-DAT3.1\r\n", b"#!END-HEADER\r\n"
POLARITY = 1  # the type of the packets that hold events of pixels
PACKET = np.dtype(
    [
        ("type", "<i2"),
        ("source", "<i2"),
        ("size", "<i4"),
        ("ts_offset", "<i4"),
        ("ts_overflow", "<i4"),
        ("capacity", "<i4"),
        ("number", "<i4"),
        ("valid", "<i4"),
    ]
)
RECORD = np.dtype([("data", "<u4"), ("t", "<i4")])


class Gesture(NamedTuple):
    """One gesture of one recording: class 0 to 10, from start to stop in µs."""

    path: Path
    label: int
    start_us: int
    stop_us: int


class DVSGesture:
    """DVS128 Gesture: 29 people before a DVS128 make eleven gestures, under three lights.

    Reads ``dvs-gesture/DvsGesture``: the recordings ``userNN_LIGHT.aedat``, for each a ``userNN_LIGHT_labels.csv``, and
    the lists ``trials_to_train.txt`` and ``trials_to_test.txt``. Its page lets only people download it:
    ``spikelab data fetch dvs-gesture`` says how, checks the archive and unpacks it.

    Args:
        split: ``"train"`` or ``"test"``, by people.
        root: folder that holds ``dvs-gesture``; if not given, ``$SPIKELAB_DATA`` and the cache folder.

    Attributes:
        gestures: a :class:`Gesture` for each item.
        labels: the classes ``[N]``, int64, 0 to 10 (the files count from 1).
        classes: their names.
        size: (128, 128).

    Raises:
        ValueError: for an unknown split.
        DataError: if files are missing or damaged.

    Explained in chapter 04. Source: Amir et al., "A low power, fully event-based gesture recognition system", CVPR
    2017.
    """

    size = (128, 128)
    classes = CLASSES

    def __init__(self, split: str = "train", *, root: str | os.PathLike | None = None) -> None:
        self.split = require_choice("split", split, tuple(TRIALS))
        found = require_folder(FOLDER, f"spikelab data fetch {FOLDER} says how to get it", root)
        self.folder = found / "DvsGesture" if (found / "DvsGesture").is_dir() else found
        trials = self.folder / TRIALS[split]
        if not trials.is_file():
            raise DataError(f"no file {trials}: unpack DvsGesture.tar.gz again")
        names = trials.read_text(encoding="utf-8").split()
        self.gestures = [gesture for name in names for gesture in read_labels(self.folder / name)]
        self.labels = torch.tensor([gesture.label for gesture in self.gestures], dtype=torch.int64)
        self.label = f"DVS128 Gesture, {len(self.gestures):,} gestures"
        self._last: tuple[Path, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.gestures)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return the events of one gesture, with times from its start, and its class.

        The recording that was read last is remembered, since its gestures mostly follow each other.
        """
        gesture = self.gestures[index]
        if self._last is None or self._last[0] != gesture.path:
            self._last = (gesture.path, read_aedat(gesture.path, size=self.size))
        events = self._last[1]
        first, stop = np.searchsorted(events["t"], (gesture.start_us, gesture.stop_us))
        part = events[first:stop].copy()
        part["t"] -= gesture.start_us
        return part, gesture.label

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return (self[index] for index in range(len(self)))


def read_labels(recording: Path) -> list[Gesture]:
    """Read the table of gestures of a recording: ``class,startTime_usec,endTime_usec``, classes from 1 to 11.

    Args:
        recording: the ``.aedat`` file; the table is ``NAME_labels.csv`` beside it.

    Raises:
        DataError: if a file is missing, or a line holds something else.
    """
    table = recording.with_name(f"{recording.stem}_labels.csv")
    for file in (recording, table):
        if not file.is_file():
            raise DataError(f"no file {file}: unpack DvsGesture.tar.gz again")
    with open(table, newline="", encoding="utf-8") as opened:
        rows = list(csv.reader(opened))
    gestures = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        try:
            kind, start, stop = (int(field) for field in row)
        except ValueError:
            raise DataError(
                f"{table}, line {number}: {','.join(row)!r} is not class,start,end in whole numbers"
            ) from None
        if not (1 <= kind <= len(CLASSES) and 0 <= start < stop):
            raise DataError(
                f"{table}, line {number}: class {kind} from {start} to {stop} µs; a class is 1 to {len(CLASSES)}, "
                f"and its end comes after its start"
            )
        gestures.append(Gesture(recording, kind - 1, start, stop))
    return gestures


def read_aedat(path: str | os.PathLike, *, size: tuple[int, int] | None = (128, 128)) -> np.ndarray:
    """Read the polarity events of an AEDAT 3.1 file.

    After header lines that begin with ``#`` come packets: 28 bytes that say what and how many events follow, then the
    events. An event of a pixel is 8 bytes, little-endian: bit 0 valid, bit 1 polarity, bits 2 to 16 y, bits 17 to 31 x;
    then 31 bits of time in µs, to which the packet adds its count of overflows. Other kinds of packets are passed over,
    and so are events marked as not valid. Events of different packets that overlap in time are put in order.

    Args:
        path: the file.
        size: (height, width) of the sensor; when given, events outside are an error.

    Returns:
        The events ``[E]``, of dtype ``EVENT``, sorted in time.

    Raises:
        DataError: if the file is missing, of another version, cut short or inconsistent. The message names the byte.
        ValueError: if an event lies outside ``size``.

    Explained in chapter 04. Source: iniVation, AEDAT 3.1 file format.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"no file {path}") from None
    place, parts = _end_of_header(raw, path), []
    while place < len(raw):
        if len(raw) - place < PACKET.itemsize:
            raise DataError(
                f"{path} is cut short: {len(raw) - place} bytes of a packet's head are left at byte {place:,}"
            )
        head = np.frombuffer(raw, PACKET, 1, place)[0]
        number, step = int(head["number"]), int(head["size"])
        place += PACKET.itemsize
        if number < 0 or step < 1 or (head["type"] == POLARITY and step != RECORD.itemsize):
            raise DataError(f"{path} is damaged: a packet at byte {place:,} claims {number} events of {step} bytes")
        if len(raw) - place < number * step:
            raise DataError(
                f"{path} is cut short: the packet at byte {place:,} claims {number:,} events of {step} bytes, but "
                f"{len(raw) - place:,} bytes are left; unpack or download it again"
            )
        if head["type"] == POLARITY:
            parts.append(_polarity(np.frombuffer(raw, RECORD, number, place), int(head["ts_overflow"])))
        place += number * step
    events = np.concatenate(parts) if parts else np.empty(0, dtype=EVENT)
    if (np.diff(events["t"]) < 0).any():
        events = events[np.argsort(events["t"], kind="stable")]
    return check_events(events, size=size, source=str(path))


def _end_of_header(raw: bytes, path: Path) -> int:
    if not raw.startswith(VERSION_LINE):
        raise DataError(f"{path} does not begin with {VERSION_LINE!r} but {raw[:14]!r}: it is no AEDAT 3.1 file")
    end = raw.find(HEADER_END)
    if end < 0:
        raise DataError(f"{path} has no line {HEADER_END!r}: it is cut short, or no AEDAT 3.1 file")
    return end + len(HEADER_END)


def _polarity(records: np.ndarray, overflow: int) -> np.ndarray:
    data = records["data"]
    events = np.empty(len(records), dtype=EVENT)
    events["x"] = data >> 17 & 0x7FFF
    events["y"] = data >> 2 & 0x7FFF
    events["p"] = data >> 1 & 1
    events["t"] = records["t"].astype(np.int64) + (overflow << 31)
    return events[(data & 1).astype(bool)]
