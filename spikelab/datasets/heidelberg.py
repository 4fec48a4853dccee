"""The Heidelberg sets in their original HDF5 files: spoken digits (SHD) and commands (SSC), spikes of 700 channels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from spikelab.datasets.errors import DataError, require_package
from spikelab.datasets.places import require_folder
from spikelab.events import EVENT
from spikelab.validation import require_choice

NUM_CHANNELS = 700


class _Heidelberg:
    """What SHD and SSC share; see :class:`SHD`."""

    name: str
    title: str
    files: ClassVar[dict[str, str]]
    num_classes: int
    size = (1, NUM_CHANNELS)

    def __init__(self, split: str = "train", *, root: str | os.PathLike | None = None) -> None:
        require_package("h5py")
        self.split = require_choice("split", split, tuple(self.files))
        folder = require_folder(self.name, f"spikelab data fetch {self.name}", root)
        self.path = folder / self.files[split]
        self._file: Any = None
        labels = np.asarray(self._array("labels")[:]).astype(np.int64)
        for name in ("spikes/times", "spikes/units"):
            if len(self._array(name)) != len(labels):
                raise DataError(f"{self.path}: {len(self._array(name))} items in {name}, but {len(labels)} labels")
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise DataError(
                f"{self.path}: labels from {labels.min()} to {labels.max()}, not 0 to {self.num_classes - 1}"
            )
        self.labels = torch.from_numpy(labels)
        self.label = f"{self.title}, {len(labels):,} recordings"

    @property
    def classes(self) -> tuple[str, ...]:
        """The words, in the order of the labels."""
        return tuple(word.decode() if isinstance(word, bytes) else str(word) for word in self._array("extra/keys")[:])

    @property
    def speakers(self) -> torch.Tensor:
        """Who speaks, ``[N]``, int64."""
        return torch.from_numpy(np.asarray(self._array("extra/speaker")[:]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return the spikes of one recording as events (x: channel, y: 0, p: 1, t: µs, sorted) and its label.

        Raises:
            IndexError: if there is no such recording.
            DataError: if a time or a channel is out of range.
        """
        index = int(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"recording {index} of {len(self)} in {self.path}")
        index %= len(self)
        try:
            times = np.asarray(self._array("spikes/times")[index], dtype=np.float64)
            units = np.asarray(self._array("spikes/units")[index], dtype=np.int64)
        except OSError as error:
            raise DataError(f"{self.path}: recording {index} cannot be read ({error}); fetch the file again") from None
        where = f"{self.path}: recording {index}"
        if times.shape != units.shape:
            raise DataError(f"{where} has {len(times)} times, but {len(units)} channels")
        if not (np.isfinite(times) & (times >= 0)).all():
            raise DataError(f"{where} has a time that is negative, infinite or no number (times are seconds)")
        if len(units) and not 0 <= units.min() <= units.max() < NUM_CHANNELS:
            raise DataError(f"{where} has channels from {units.min()} to {units.max()}, not 0 to {NUM_CHANNELS - 1}")
        order = np.argsort(times, kind="stable")
        events = np.zeros(len(times), dtype=EVENT)
        events["x"], events["p"] = units[order], 1
        events["t"] = np.rint(times[order] * 1e6)
        return events, int(self.labels[index])

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}  # an open file belongs to one process

    def _array(self, name: str) -> Any:
        if self._file is None:
            self._file = _open(self.path, self.name)
        if name not in self._file:
            raise DataError(f"{self.path} has no {name}: it is not one of the {self.title} files")
        return self._file[name]


class SHD(_Heidelberg):
    """Spiking Heidelberg Digits: the digits 0 to 9 in English and German, through a model of the cochlea.

    Reads ``shd/shd_train.h5`` and ``shd_test.h5``: ragged arrays ``spikes/times`` (seconds) and ``spikes/units``
    (channels 0 to 699), ``labels`` (0 to 19), ``extra/keys`` and ``extra/speaker``.

    Args:
        split: ``"train"`` or ``"test"``.
        root: folder that holds ``shd``; if not given, ``$SPIKELAB_DATA`` and the cache folder.

    Attributes:
        labels: ``[N]``, int64.
        classes: the words.
        speakers: who speaks, ``[N]``.
        size: (1, 700), so that the event tools take its recordings.

    Raises:
        ValueError: for an unknown split.
        DataError: if the file is missing, no HDF5 file or another one.

    Explained in chapter 04. Source: Cramer, Stradmann, Schemmel, Zenke, "The Heidelberg spiking data sets for the
    systematic evaluation of spiking neural networks", IEEE TNNLS, 2022.
    """

    name, title, num_classes = "shd", "Spiking Heidelberg Digits", 20
    files: ClassVar[dict[str, str]] = {"train": "shd_train.h5", "test": "shd_test.h5"}


class SSC(_Heidelberg):
    """Spiking Speech Commands: 35 words of many speakers, through a model of the cochlea. See :class:`SHD`.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        root: folder that holds ``ssc``; if not given, ``$SPIKELAB_DATA`` and the cache folder.

    Explained in chapter 04.
    """

    name, title, num_classes = "ssc", "Spiking Speech Commands", 35
    files: ClassVar[dict[str, str]] = {"train": "ssc_train.h5", "validation": "ssc_valid.h5", "test": "ssc_test.h5"}


def _open(path: Path, name: str) -> Any:
    import h5py

    if not path.is_file():
        raise DataError(f"no file {path}: spikelab data fetch {name}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is no whole HDF5 file ({error}): remove it and fetch it again") from None
